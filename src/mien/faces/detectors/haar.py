"""OpenCV's cascade of Haar features for frontal faces (Viola and Jones 2001; Lienhart and Maydt 2002).

On the valid split of the face data (docs/design/geometry.json; IoU 0.4) it finds 47 of 55 faces of 40-60 px,
63 of 67 of 60-100 px and 137 of 152 larger ones, with 4 false alarms in 346 images.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import UnsupportedError
from mien.faces.detectors import Detections, DetectorOptions, FromOptions
from mien.opencv import cv2, resized
from mien.results import Frame

CASCADE: Final = "haarcascade_frontalface_default.xml"
MIN_FACE: Final = 40
MAX_SIDE: Final = 1280
# Chosen on the valid split, by precision / recall of faces of 40 px and more: 0.985 / 0.909 with this step and count;
# the usual 1.1 and 5 neighbours reach 0.911 / 0.934, 1.3 and 5 neighbours 0.984 / 0.854.
STEP: Final = 1.15
# n neighbouring windows give the score n / (n + NEIGHBOURS), so this number is the operating point.
NEIGHBOURS: Final = 6
# Medians over photographs, by `python -m benchmarks.measure_geometry` with OpenCV 4.
MEAN_LANDMARKS: Final = ((0.319, 0.391), (0.685, 0.390), (0.502, 0.612), (0.341, 0.770), (0.661, 0.771))


class HaarDetector(FromOptions):
    """Finds frontal faces of 40 px and more by default; square boxes, wider than the face; no landmarks.

    Images with a longer side than `max_side` are searched at that size.

    Raises:
        UnsupportedError: OpenCV 5 is installed, which has no cascades.
    """

    name = "haar"

    def __init__(self, options: DetectorOptions) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise UnsupportedError(
                f"the detector 'haar' needs OpenCV 4, found {cv2.__version__}, which has no cascades",
                hint="pip install 'opencv-python-headless<5', or use another detector",
            )
        self.options = options
        self.mean_landmarks = np.array(MEAN_LANDMARKS, np.float32)
        self._min_face = options.min_face or MIN_FACE
        self._max_side = options.max_side or MAX_SIDE
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / CASCADE))

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        Frame(image)  # refuses other shapes and types
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        grey, factor = resized(grey, min(1, self._max_side / max(grey.shape)))
        smallest = round(self._min_face * min(factor))
        # minNeighbors=1 keeps every group of at least two windows; `at_least` then filters by score.
        corners, counts = self._cascade.detectMultiScale2(
            grey, scaleFactor=STEP, minNeighbors=1, minSize=(smallest, smallest)
        )
        if not len(corners):
            return Detections.empty()
        corners[:, 2:] += corners[:, :2]  # x, y, width, height -> x0, y0, x1, y1
        boxes = corners / np.tile(factor, 2)
        scores = np.array(counts) / (np.array(counts) + NEIGHBOURS)
        return Detections(boxes.astype(np.float32), scores.astype(np.float32)).at_least(min_score)


load = HaarDetector
