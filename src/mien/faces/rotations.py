"""Images on their side or upside down: a detector that knows upright faces sees them in all four positions."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.faces import tiling as strips
from mien.faces.boxes import nms
from mien.faces.detectors import Detections, Detector

__all__ = ["detect"]

# Faces that do not stand upright are rare and three looks find three times the false alarms: more is asked of them.
TURNED: Final = 0.7
_SAME: Final = 0.4  # IoU from which two positions have found the same face


def detect(detector: Detector, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
    """Finds the faces of a image whichever way up they are, largest box first; takes four times as long.

    Of a face found in several positions the nms finding stays; its landmarks tell which way up it is.

    Args:
        detector: What finds them.
        image: (H, W, 3) uint8, RGB.
        min_score: Lowest score to report, 0-1; of faces that are not upright `TURNED`, if that is higher.
    """
    parts = []
    for quarters in range(4):
        turned = np.ascontiguousarray(np.rot90(image, quarters))
        least = max(min_score, TURNED) if quarters else min_score
        parts.append(_turned_back(strips.detect(detector, turned, min_score=least), turned.shape, quarters))
    boxes, scores = np.concatenate([part.boxes for part in parts]), np.concatenate([part.scores for part in parts])
    kept = nms(boxes, scores, _SAME)
    marked = [part.landmarks for part in parts if part.landmarks is not None]
    landmarks = np.concatenate(marked)[kept] if sum(map(len, marked)) == len(scores) and marked else None
    return Detections(boxes[kept], scores[kept], landmarks).at_least(min_score)


def _turned_back(found: Detections, shape: tuple[int, ...], quarters: int) -> Detections:
    """Detections in a image of `shape`, itself turned so many quarters to the left, in the image as it was."""
    corners = found.boxes.reshape(-1, 2, 2)
    landmarks = found.landmarks
    high, wide = shape[:2]
    for _ in range(quarters):
        corners = _quarter_back(corners, high)
        landmarks = None if landmarks is None else _quarter_back(landmarks, high)
        high, wide = wide, high
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Detections(boxes, found.scores, landmarks)


def _quarter_back(points: NDArray[np.float32], high: int) -> NDArray[np.float32]:
    """Points (..., 2) of a image of that height once it is turned a quarter to the right."""
    x, y = np.moveaxis(points, -1, 0)
    return np.stack([high - y, x], axis=-1).astype(np.float32)
