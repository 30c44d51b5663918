"""Boxes that overlap: intersection over union, and one box a face out of many."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["iou", "surest"]

_TINY: Final = 1e-9


def iou(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union (N, M) of boxes (N, 4) with boxes (M, 4), xyxy; 0 where both are empty."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, _TINY), np.float64)


def surest(overlaps: NDArray[np.floating], scores: NDArray[np.floating], same: float) -> NDArray[np.int64]:
    """Non-maximum suppression: indices of the boxes that no surer kept one overlaps, surest first.

    Args:
        overlaps: (N, N) IoU of the boxes among themselves.
        scores: (N,).
        same: IoU from which two boxes are of one face.
    """
    rivals = overlaps >= same
    free = np.ones(len(scores), bool)
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if free[index]:
            kept.append(index)
            free &= ~rivals[index]
    return np.asarray(kept, np.int64)
