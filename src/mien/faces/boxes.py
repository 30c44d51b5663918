"""Boxes: areas, intersection, intersection over union, non-maximum suppression."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_TINY: Final = 1e-9


def areas(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Areas (N,) of boxes (N, 4), xyxy."""
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))


def iou(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union (N, M) of boxes (N, 4) with boxes (M, 4), xyxy; 0 where both are empty."""
    common = intersection(one, other)
    return np.asarray(common / np.maximum(areas(one)[:, None] + areas(other)[None] - common, _TINY), np.float64)


def intersection(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Areas (N, M) of the intersections of boxes (N, 4) with boxes (M, 4), xyxy."""
    common: NDArray[np.float64] = np.ones((len(one), len(other)))
    for low, high in ((0, 2), (1, 3)):
        common *= np.clip(
            np.minimum(one[:, None, high], other[None, :, high]) - np.maximum(one[:, None, low], other[None, :, low]),
            0,
            None,
        )
    return common


def nms(boxes: NDArray[np.floating], scores: NDArray[np.floating], same: float) -> NDArray[np.int64]:
    """Non-maximum suppression: the boxes that do not overlap a kept box of a higher score.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        same: IoU from which two boxes are of one face.

    Returns:
        Indices of the kept boxes, highest score first.
    """
    rest = np.argsort(-scores, kind="stable")
    kept = []
    while len(rest):
        first, rest = rest[0], rest[1:]
        kept.append(first)
        rest = rest[iou(boxes[first][None], boxes[rest])[0] < same]
    return np.asarray(kept, np.int64)
