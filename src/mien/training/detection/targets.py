"""Which cell answers for which face: fixed by size and place alone.

A face belongs to the strides whose range holds its side (the root of its box's area), and there to the cells near its
middle ("centre sampling", Tian et al., "FCOS", ICCV 2019, in the later version's section 3.2). Where several faces
claim a cell, the smallest has it. Cells near the middle of a face that is a little too large or too small for their
stride are left out of the loss, as are those in boxes to ignore.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.signature import STRIDES

__all__ = ["FREE", "IGNORED", "assign"]

FREE: Final = -1
IGNORED: Final = -2
# Sides of the faces, in pixels, that each stride answers for; neighbours overlap.
RANGES: Final = {8: (0.0, 52.0), 16: (38.0, 128.0), 32: (94.0, np.inf)}
SLACK: Final = 1.35  # how far beyond its range a stride is left in peace
RADIUS: Final = 1.5  # of the middle, in cells
SHARE: Final = 0.3  # and at most this share of the face's side, but always the nearest cell


def assign(
    boxes: NDArray[np.float32],
    ignore: NDArray[np.float32],
    centres: NDArray[np.float32],
    strides: NDArray[np.float32],
) -> NDArray[np.int64]:
    """For each cell the face it answers for, `FREE` or `IGNORED`.

    Args:
        boxes: (N, 4) xyxy of faces.
        ignore: (M, 4) boxes that may hold a face.
        centres: (cells, 2) from `grid`.
        strides: (cells,) likewise.

    Returns:
        (cells,) int64.
    """
    face = np.full(len(centres), FREE)
    for box in ignore:
        face[((centres >= box[:2]) & (centres <= box[2:])).all(axis=1)] = IGNORED
    if not len(boxes):
        return face
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    low = np.array([RANGES[stride][0] for stride in STRIDES])
    high = np.array([RANGES[stride][1] for stride in STRIDES])
    level = np.searchsorted(STRIDES, strides)  # (cells,)
    for index in np.argsort(-sides, kind="stable"):  # the smallest last: it takes what it needs
        side = sides[index]
        away = np.abs(centres - middles[index]).max(axis=1)
        near = away <= np.maximum(0.5 * strides, np.minimum(RADIUS * strides, SHARE * side))
        mine = near & (low[level] <= side) & (side < high[level])
        spared = near & ~mine & (low[level] / SLACK <= side) & (side < high[level] * SLACK)
        face[spared & (face == FREE)] = IGNORED
        face[mine] = index
    return face
