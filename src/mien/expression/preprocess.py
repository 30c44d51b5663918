"""Images of faces in the form that a network wants; training and reading share it."""

from collections.abc import Iterable
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import InputSpec

__all__ = ["LEAST_SPREAD", "fitted", "normalised"]

LEAST_SPREAD: Final = 1e-3  # of a normalise_illumination image; less is rounding, not light


def fitted(images: Iterable[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.uint8]:
    """Brings images to the network's size and channels.

    Args:
        images: Each (H, W) grey or (H, W, 3) RGB, uint8. One that is not square is continued at its short sides
            by its outermost pixels, so that nothing is cut off or stretched.
        spec: What the network wants.

    Returns:
        (N, C, size, size) uint8.
    """
    shaped = [_shaped(image, spec) for image in images]
    return np.stack(shaped) if shaped else np.empty((0, spec.depth, spec.size, spec.size), np.uint8)


def _shaped(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """One image as (C, size, size)."""
    shaped: NDArray[Any] = image
    if image.ndim == 3 and spec.channels == "grey":
        shaped = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    elif image.ndim == 2 and spec.channels == "rgb":
        shaped = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    height, width = shaped.shape[:2]
    side = max(height, width)
    if side != spec.size:
        method = cv2.INTER_AREA if side > spec.size else cv2.INTER_CUBIC
        height, width = (max(1, round(length * spec.size / side)) for length in (height, width))
        shaped = cv2.resize(shaped, (width, height), interpolation=method)
    if height != width:  # only now: a long thin image would grow beyond all bounds
        above, left = (spec.size - height) // 2, (spec.size - width) // 2
        below, right = spec.size - height - above, spec.size - width - left
        shaped = cv2.copyMakeBorder(shaped, above, below, left, right, cv2.BORDER_REPLICATE)
    return shaped[None] if shaped.ndim == 2 else np.ascontiguousarray(shaped.transpose(2, 0, 1))


def normalised(images: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """(N, C, H, W) uint8 -> float32: value / 255, illumination normalised if `spec` says so, then (x - mean) / std."""
    mean = np.asarray(spec.mean, np.float32)[:, None, None]
    std = np.asarray(spec.std, np.float32)[:, None, None]
    values = (
        _normalise_illumination(images) if spec.illumination == "plane" else images.astype(np.float32) / np.float32(255)
    )
    scaled: NDArray[np.float32] = (values - mean) / std
    return scaled


def _normalise_illumination(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each channel with its histogram equalised, without the plane that fits it best, and with unit variance.

    As in the preparation of FER+ (Barsoum et al., ICMI 2016, section 4). `mien.training.expression.illumination`
    does the same with torch. A channel of one grey becomes 0.

    Args:
        images: (N, C, H, W) uint8.
    """
    count, depth, height, width = images.shape
    channels = images.reshape(count * depth, height * width)
    equal = np.empty(channels.shape, np.float64)
    for row, values in zip(equal, channels, strict=True):
        row[:] = (np.cumsum(np.bincount(values, minlength=256)) / values.size)[values]  # share of pixels as dark
    maps = equal.reshape(-1, height, width)
    maps -= maps.mean(axis=(1, 2), keepdims=True)
    down = np.linspace(-1, 1, height)[:, None]
    across = np.linspace(-1, 1, width)[None, :]
    for slope in (np.broadcast_to(down, (height, width)), np.broadcast_to(across, (height, width))):
        # On a whole grid the two slopes and the mean are at right angles: each is taken away by itself.
        maps -= (maps * slope).sum(axis=(1, 2), keepdims=True) / (slope**2).sum() * slope
    spread = np.sqrt((maps**2).mean(axis=(1, 2), keepdims=True))
    normalise_illumination: NDArray[np.float32] = (maps / np.maximum(spread, LEAST_SPREAD)).astype(np.float32)
    return normalise_illumination.reshape(images.shape)
