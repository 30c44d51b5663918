"""YuNet through OpenCV's FaceDetectorYN (Wu, Peng and Yu 2023, "YuNet: a tiny millisecond-level face detector").

On the valid split of the face data (docs/design/geometry.json; IoU 0.4) it finds 42 of 43 faces of 20-40 px and all 274
larger ones, with one false alarm in 346 images; most of the labels there come from YuNet itself. The weights do not
ship: `mien models fetch yunet`, or `weights` in the options.
"""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.download import cached
from mien.assets.session import Session
from mien.assets.store import read_weights
from mien.errors import UnsupportedError, WeightsError
from mien.faces.detectors import Detections, DetectorOptions, FromOptions
from mien.opencv import cv2, resized, silent_opencv
from mien.results import Frame

WEIGHTS: Final = "yunet"
# It was trained on faces of 10 to 300 pixels and misses much larger ones.
MAX_SIDE: Final = 640
# YuNet's own score of the operating point, which becomes 0.5.
OPERATING_POINT: Final = 0.6
# Lower scores of its own are not used: there are many, and hardly any is a face.
LOWEST: Final = 0.2
OVERLAP: Final = 0.3  # IoU from which two boxes are of the same face
CANDIDATES: Final = 5000
OUTPUTS: Final = {f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)}
# Medians over photographs, by `python -m benchmarks.measure_geometry`.
MEAN_LANDMARKS: Final = ((0.270, 0.391), (0.739, 0.392), (0.504, 0.597), (0.300, 0.741), (0.708, 0.741))


class YunetDetector(FromOptions):
    """Finds faces of 10 px and more, also in profile; boxes from the hair line to the chin; five landmarks.

    Images with a longer side than `max_side` are searched at that size.
    """

    name = "yunet"

    def __init__(self, options: DetectorOptions, network: bytes, origin: str) -> None:
        found = set(Session(network, origin).outputs)
        if found != OUTPUTS:
            raise WeightsError(
                f"{origin}: is not YuNet: its outputs are {', '.join(sorted(found))}, "
                "expected cls, obj, bbox and kps at strides 8, 16 and 32",
                hint="mien models fetch yunet",
            )
        self.options = options
        self.files = {str(options.weights or f"{WEIGHTS}.onnx"): hashlib.sha256(network).hexdigest()}
        self.mean_landmarks = np.array(MEAN_LANDMARKS, np.float32)
        self._min_face = options.min_face
        self._max_side = options.max_side or MAX_SIDE
        with silent_opencv():  # OpenCV 5 warns that its new engine does not support FaceDetectorYN's target
            self._network = cv2.FaceDetectorYN.create(
                "onnx", np.frombuffer(network, np.uint8), np.empty(0, np.uint8), (32, 32), LOWEST, OVERLAP, CANDIDATES
            )

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        Frame(image)  # refuses other shapes and types
        small, factor = resized(image, min(1, self._max_side / max(image.shape[:2])))
        self._network.setInputSize(small.shape[1::-1])
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return Detections.empty()
        # (N, 15): x, y, width, height; five points x, y, the subject's right first; score.
        faces = np.asarray(rows, np.float32)
        faces = faces[np.isfinite(faces).all(axis=1) & (faces[:, 2:4] > 0).all(axis=1)]  # OpenCV 4.10: infinite boxes
        places = faces[:, :14].reshape(-1, 7, 2)
        places[:, 1] += places[:, 0]  # width, height -> x1, y1
        places = (places / factor).astype(np.float32)
        boxes, landmarks = places[:, :2].reshape(-1, 4), places[:, 2:]
        return Detections(boxes, _scores(faces[:, 14]), landmarks).at_least(min_score, self._min_face)


def _scores(own: NDArray[np.float32]) -> NDArray[np.float32]:
    """YuNet's scores on mien's scale: linear from 0 to the operating point, and from there to 1."""
    return np.interp(own, (0, OPERATING_POINT, 1), (0, 0.5, 1)).astype(np.float32)


def load(options: DetectorOptions) -> YunetDetector:
    """Loads the detector, with the weights of the options or the fetched ones.

    Raises:
        UnsupportedError: OpenCV is older than 4.10, whose FaceDetectorYN reads no network from memory, or finds boxes
            in black images.
        WeightsError: The weights are missing, damaged, or of another network.
    """
    if tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 10):
        raise UnsupportedError(
            f"the detector 'yunet' needs OpenCV 4.10 or newer, found {cv2.__version__}",
            hint="pip install --upgrade 'opencv-python-headless>=4.10', or use another detector",
        )
    if options.weights is not None:
        return YunetDetector(options, read_weights(options.weights), str(options.weights))
    ((name, network),) = cached(WEIGHTS).items()
    return YunetDetector(options, network, f"the fetched weights '{name}'")
