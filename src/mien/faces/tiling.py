"""Finding faces in images of any shape and orientation with a detector that expects neither.

A detector that shrinks the long side of a panorama would lose its faces, so a long image is also searched in square
tiles. A detector trained on upright faces misses a face that lies on its side, so an image can be searched in all four
orientations.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.faces.boxes import nms
from mien.faces.detectors import Detections, Detector

# An image whose sides have at least this ratio is searched in tiles.
LONG: Final = 3.0
# An image whose shorter side has fewer pixels contains no face.
THIN: Final = 10
# Faces that are not upright are rare, and three more searches find three times as many false alarms: their score must
# be higher.
ROTATED: Final = 0.7
_SAME: Final = 0.4  # IoU from which two boxes are of the same face


def find(
    detector: Detector, image: NDArray[np.uint8], *, min_score: float = 0.5, any_rotation: bool = False
) -> Detections:
    """Finds the faces in an image of any shape, largest box first.

    If a face is found in several tiles or orientations, the box with the highest score stays.

    Args:
        detector: The detector. If its `mean_landmarks` is None it does not search, and runs once on the whole image.
        image: (H, W, 3) uint8, RGB.
        min_score: Lowest score to report, 0-1; for faces that are not upright at least `ROTATED`.
        any_rotation: Search the image in all four orientations, which takes four times as long. The landmarks of a
            face then tell which way up it is.
    """
    if detector.mean_landmarks is None:
        return _detected(detector, image, min_score=min_score)
    if not any_rotation:
        return find_in_tiles(detector, image, min_score=min_score)
    parts = []
    for quarters in range(4):
        rotated = np.ascontiguousarray(np.rot90(image, quarters))
        least = max(min_score, ROTATED) if quarters else min_score
        parts.append(_rotated_back(find_in_tiles(detector, rotated, min_score=least), rotated.shape, quarters))
    return _merged(parts, min_score)


def _detected(detector: Detector, image: NDArray[np.uint8], *, min_score: float) -> Detections:
    """What a detector says, which may be of the caller's own making."""
    found = detector.detect(image, min_score=min_score)
    if not isinstance(found, Detections):
        kind = type(found).__name__
        raise TypeError(f"detector: expected Detections from detect(), got {kind}; return Detections(boxes, scores)")
    return found


def find_in_tiles(detector: Detector, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
    """Finds the upright faces in an image of any shape, largest box first.

    A long image is cut into square tiles that overlap by half, so that each face up to half the short side is complete
    in one of them. The whole image is searched as well, for larger faces.
    """
    whole = _detected(detector, image, min_score=min_score)
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    if long < LONG * short or short < THIN:
        return whole
    parts = [whole]
    for start in _starts(short, long):
        down, across = (start, 0) if height > width else (0, start)
        tile = np.ascontiguousarray(image[down : down + short, across : across + short])
        found = _detected(detector, tile, min_score=min_score)
        shift = np.array([across, down], np.float32)
        landmarks = None if found.landmarks is None else found.landmarks + shift
        parts.append(Detections(found.boxes + np.tile(shift, 2), found.scores, landmarks))
    return _merged(parts, min_score)


def _starts(short: int, long: int) -> list[int]:
    """Where the tiles begin along the long side; the last one ends with the image."""
    return [*range(0, long - short, max(1, short // 2)), long - short]


def _merged(parts: Sequence[Detections], min_score: float) -> Detections:
    """The detections of several searches of one image, each face once."""
    boxes, scores = np.concatenate([part.boxes for part in parts]), np.concatenate([part.scores for part in parts])
    kept = nms(boxes, scores, _SAME)
    marked = [part.landmarks for part in parts if part.landmarks is not None]
    landmarks = np.concatenate(marked)[kept] if marked and sum(map(len, marked)) == len(scores) else None
    return Detections(boxes[kept], scores[kept], landmarks).at_least(min_score)


def _rotated_back(found: Detections, shape: tuple[int, ...], quarters: int) -> Detections:
    """Detections in an image of `shape` that was rotated by `quarters` to the left, in the image before."""
    corners = found.boxes.reshape(-1, 2, 2)
    landmarks = found.landmarks
    height, width = shape[:2]
    for _ in range(quarters):
        corners = _quarter_back(corners, height)
        landmarks = None if landmarks is None else _quarter_back(landmarks, height)
        height, width = width, height
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Detections(boxes, found.scores, landmarks)


def _quarter_back(points: NDArray[np.float32], height: int) -> NDArray[np.float32]:
    """Points (..., 2) of an image of that height after rotating it by a quarter to the right."""
    x, y = np.moveaxis(points, -1, 0)
    return np.stack([height - y, x], axis=-1).astype(np.float32)
