"""dlib's frontal face detector: histograms of gradients and a linear SVM (Dalal and Triggs 2005; King 2015).

On the valid split of the face data (docs/design/geometry.json; IoU 0.4) it finds 51 of 55 faces of 40-60 px, 64 of 67
of 60-100 px and 146 of 152 larger ones, without a false alarm in 346 images; without enlarging 9, 57 and 148.
Enlarging three times instead of twice takes twice as long and finds no more. One core takes 50 ms for 640x480, 60 for
1920x1080 and 95 for 12 megapixels.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MissingExtraError
from mien.faces.detectors import Detections, DetectorOptions
from mien.opencv import cv2, resized
from mien.results import Frame

try:
    import dlib
except ImportError:  # an extra
    dlib = None

# Side of the detector's window; smaller faces are found only in an enlarged image.
WINDOW: Final = 80
MIN_FACE: Final = 40
MAX_SIDE: Final = 1600
# The score s of the SVM becomes 1 / (1 + exp(-SLOPE * s)): dlib's operating point, 0, becomes 0.5.
SLOPE: Final = 2.0
# Lower scores of the SVM are not used: there are many, and fewer than one in fifty is a face.
LOWEST: Final = -1.0
# Medians over photographs, by `python -m benchmarks.measure_geometry`.
MEAN_LANDMARKS: Final = ((0.303, 0.299), (0.710, 0.300), (0.505, 0.553), (0.328, 0.731), (0.682, 0.731))


class HogDetector:
    """Finds frontal faces of 40 px and more by default; square boxes, from the brows to the chin; no landmarks.

    An image is searched in grey (the results are as good as in colour, 25% faster), enlarged so that `min_face` fills
    the window, but to a long side of at most `max_side`: 12 megapixels take as long as 2, and only faces of at least
    1/20 of the long side are found. dlib's own pyramid finds the larger ones.

    Raises:
        MissingExtraError: dlib is not installed.
    """

    name = "hog"

    def __init__(self, options: DetectorOptions) -> None:
        if dlib is None:
            raise MissingExtraError("the detector 'hog'", "dlib")
        self.mean_landmarks = np.array(MEAN_LANDMARKS, np.float32)
        self._scale = WINDOW / (options.min_face or MIN_FACE)
        self._max_side = options.max_side or MAX_SIDE
        self._detector = dlib.get_frontal_face_detector()

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        Frame(image)  # refuses other shapes and types
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        grey, factor = resized(grey, min(self._scale, self._max_side / max(grey.shape)))
        rectangles, scores, _ = self._detector.run(grey, 0, max(_logit(min_score) / SLOPE, LOWEST))
        if not rectangles:
            return Detections.empty()
        # dlib's rectangles include their last pixel.
        edges = [[r.left(), r.top(), r.right() + 1, r.bottom() + 1] for r in rectangles]
        boxes = np.array(edges) / np.tile(factor, 2)
        chances = 1 / (1 + np.exp(-SLOPE * np.array(scores)))
        return Detections(boxes.astype(np.float32), chances.astype(np.float32)).at_least(min_score)


def _logit(probability: float) -> float:
    """The inverse of the logistic function, finite at 0 and 1."""
    inner = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(inner / (1 - inner))


load = HogDetector
