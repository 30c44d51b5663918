"""Pictures of faces in the form that a network wants; training and reading share it."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import InputSpec

__all__ = ["fitted", "normalised"]


def fitted(pictures: Iterable[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.uint8]:
    """Brings pictures to the network's size and channels.

    Args:
        pictures: Each (H, W) grey or (H, W, 3) RGB, uint8. One that is not square is continued at its short sides
            by its outermost pixels, so that nothing is cut off or stretched.
        spec: What the network wants.

    Returns:
        (N, C, size, size) uint8.
    """
    shaped = [_shaped(picture, spec) for picture in pictures]
    return np.stack(shaped) if shaped else np.empty((0, spec.depth, spec.size, spec.size), np.uint8)


def _shaped(picture: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """One picture as (C, size, size)."""
    shaped: NDArray[Any] = picture
    if picture.ndim == 3 and spec.channels == "grey":
        shaped = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    elif picture.ndim == 2 and spec.channels == "rgb":
        shaped = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    height, width = shaped.shape[:2]
    side = max(height, width)
    if side != spec.size:
        method = cv2.INTER_AREA if side > spec.size else cv2.INTER_CUBIC
        height, width = (max(1, round(length * spec.size / side)) for length in (height, width))
        shaped = cv2.resize(shaped, (width, height), interpolation=method)
    if height != width:  # only now: a long thin picture would grow beyond all bounds
        above, left = (spec.size - height) // 2, (spec.size - width) // 2
        below, right = spec.size - height - above, spec.size - width - left
        shaped = cv2.copyMakeBorder(shaped, above, below, left, right, cv2.BORDER_REPLICATE)
    return shaped[None] if shaped.ndim == 2 else np.ascontiguousarray(shaped.transpose(2, 0, 1))


def normalised(pictures: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """(N, C, H, W) uint8 -> float32, (value / 255 - mean) / std by channel."""
    mean = np.asarray(spec.mean, np.float32)[:, None, None]
    std = np.asarray(spec.std, np.float32)[:, None, None]
    scaled: NDArray[np.float32] = (pictures.astype(np.float32) / np.float32(255) - mean) / std
    return scaled
