"""Long images: a detector that shrinks the long side would lose the faces of a panorama, so it sees it in squares."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.faces.boxes import nms
from mien.faces.detectors import Detections, Detector

__all__ = ["detect"]

# From this ratio of the sides on, a image is searched piece by piece.
LONG: Final = 3.0
# A image with a shorter side, in pixels, holds no face.
THIN: Final = 10
_SAME: Final = 0.4  # IoU from which two pieces have found the same face


def detect(detector: Detector, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
    """Finds the faces of a image of any shape, largest box first.

    A long one is cut into squares that overlap by half, so that every face no larger than half the short side stands
    whole in one of them; the whole image is searched as well, for larger ones. Of a face's boxes the nms stays.

    Args:
        detector: What finds them.
        image: (H, W, 3) uint8, RGB.
        min_score: Lowest score to report, 0-1.
    """
    whole = detector.detect(image, min_score=min_score)
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    if long < LONG * short or short < THIN:
        return whole
    boxes, scores, points = [whole.boxes], [whole.scores], [whole.landmarks]
    for start in _starts(short, long):
        down, across = (start, 0) if height > width else (0, start)
        piece = np.ascontiguousarray(image[down : down + short, across : across + short])
        found = detector.detect(piece, min_score=min_score)
        shift = np.array([across, down], np.float32)
        boxes.append(found.boxes + np.tile(shift, 2))
        scores.append(found.scores)
        points.append(None if found.landmarks is None else found.landmarks + shift)
    together, sure = np.concatenate(boxes), np.concatenate(scores)
    kept = nms(together, sure, _SAME)
    marked = [part for part in points if part is not None]
    landmarks = np.concatenate(marked)[kept] if marked and sum(map(len, marked)) == len(sure) else None
    return Detections(together[kept], sure[kept], landmarks).at_least(min_score)


def _starts(short: int, long: int) -> list[int]:
    """Where the squares begin along the long side; the last one ends with it."""
    return [*range(0, long - short, max(1, short // 2)), long - short]
