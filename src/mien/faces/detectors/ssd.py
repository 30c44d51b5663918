"""OpenCV's res10 SSD for faces: a single-shot detector (Liu et al. 2016) on a small residual network, 300x300.

The weights do not ship: `mien models fetch ssd`, or `weights` in the options. They are in Caffe's format, which only
OpenCV 4 can read. Recall and precision are not measured, because the weights were not available.
"""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.download import cached
from mien.assets.store import read_weights
from mien.errors import UnsupportedError, WeightsError
from mien.faces.detectors import Detections, DetectorOptions, FromOptions
from mien.opencv import cv2, silent_opencv
from mien.results import Frame

WEIGHTS: Final = "ssd"
SIDE: Final = 300
MEAN: Final = (104.0, 177.0, 123.0)  # of blue, green and red
# Not measured, because the weights were not available: those of YuNet, which has similar boxes.
MEAN_LANDMARKS: Final = ((0.270, 0.391), (0.739, 0.392), (0.504, 0.597), (0.300, 0.741), (0.708, 0.741))


class SsdDetector(FromOptions):
    """Finds large faces, also half in profile; boxes from the hair line to the chin; no landmarks.

    Every image is resized to 300x300, so that small faces in large images are missed; `max_side` has no effect. The
    score is the confidence of the network.
    """

    name = "ssd"

    def __init__(self, options: DetectorOptions, definition: bytes, weights: bytes, origin: str) -> None:
        self.options = options
        self.files = {str(options.weights or f"{WEIGHTS}.caffemodel"): hashlib.sha256(weights).hexdigest()}
        self.mean_landmarks = np.array(MEAN_LANDMARKS, np.float32)
        self._min_face = options.min_face
        try:
            with silent_opencv():
                self._network = cv2.dnn.readNetFromCaffe(  # type: ignore[attr-defined]  # OpenCV 4 only
                    np.frombuffer(definition, np.uint8), np.frombuffer(weights, np.uint8)
                )
                shape = self._run(np.zeros((SIDE, SIDE, 3), np.uint8)).shape
        except cv2.error as error:
            reason = str(error.err or error).splitlines()[0]
            raise WeightsError(
                f"{origin}: is not a Caffe network that matches its definition: {reason}", hint="mien models fetch ssd"
            ) from error
        if len(shape) != 4 or shape[3] != 7:
            raise WeightsError(
                f"{origin}: is not a face detector: its output is {shape}, expected (1, 1, N, 7)",
                hint="mien models fetch ssd",
            )

    def _run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The output (1, 1, N, 7): image, class, confidence, x0, y0, x1, y1 as fractions of the image."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        self._network.setInput(cv2.dnn.blobFromImage(bgr, 1.0, (SIDE, SIDE), MEAN))
        return np.asarray(self._network.forward(), np.float32)

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        Frame(image)  # refuses other shapes and types
        rows = self._run(image).reshape(-1, 7)
        rows = rows[(rows[:, 5:] > rows[:, 3:5]).all(axis=1)]  # one row of zeros means no face
        height, width = image.shape[:2]
        boxes = rows[:, 3:] * np.array([width, height, width, height], np.float32)
        return Detections(boxes, rows[:, 2].clip(0, 1)).at_least(min_score, self._min_face)


def load(options: DetectorOptions) -> SsdDetector:
    """Loads the detector, with the weights of the options or the fetched ones.

    `weights` is the .caffemodel, with its definition (.prototxt) in the same folder, or that folder.

    Raises:
        UnsupportedError: OpenCV 5 is installed, which cannot read Caffe networks.
        WeightsError: The weights are missing, damaged, or of another network.
    """
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise UnsupportedError(
            f"the detector 'ssd' needs OpenCV 4, found {cv2.__version__}, which cannot read Caffe networks",
            hint="pip install 'opencv-python-headless<5', or use another detector",
        )
    if options.weights is None:
        files = {Path(name).suffix: data for name, data in cached(WEIGHTS).items()}
        return SsdDetector(options, files[".prototxt"], files[".caffemodel"], f"the fetched weights '{WEIGHTS}'")
    definition, weights = _pair(options.weights)
    return SsdDetector(options, read_weights(definition), read_weights(weights), str(weights))


def _pair(given: Path) -> tuple[Path, Path]:
    """The paths of the definition and of the weights, from that of the weights or of their folder."""
    if not given.exists():
        raise WeightsError(f"{given}: no such weights", hint="check the path of the .caffemodel")
    folder = given if given.is_dir() else given.parent
    weights = [given] if given != folder else sorted(folder.glob("*.caffemodel"))
    definitions = sorted(folder.glob("*.prototxt"))
    same_name = [path for path in definitions if path.stem == weights[0].stem] if weights else []
    definitions = same_name or definitions
    if len(weights) != 1 or len(definitions) != 1:
        found = f"{len(weights)} .caffemodel and {len(definitions)} .prototxt"
        raise WeightsError(
            f"{folder}: expected one file of weights and one of its definition, found {found}",
            hint="mien models fetch ssd fetches both",
        )
    return definitions[0], weights[0]
