"""Turns images of faces into the input of a network, for training and for inference."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import InputSpec
from mien.opencv import cv2

LEAST_SPREAD: Final = 1e-3  # standard deviation after illumination normalisation; less is rounding, not light


def fitted(images: Iterable[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.uint8]:
    """Converts images to the size and the channels of a network.

    Args:
        images: Each (H, W) grey or (H, W, 3) RGB, uint8. An image that is not square is padded with its outermost
            pixels, so that nothing is cut off or stretched.
        spec: The input of the network.

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
    if height != width:  # padded last: padding a long thin image first could need too much memory
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
    """Equalises the histogram of each channel, subtracts the plane that fits it best, and scales it to unit variance.

    As in the preprocessing of FER+ (Barsoum et al., ICMI 2016, section 4);
    `mien.training.expression.augmentation.normalise_illumination` does the same with torch. A channel of one grey level
    becomes 0.

    Args:
        images: (N, C, H, W) uint8.
    """
    count, depth, height, width = images.shape
    channels = images.reshape(count * depth, height * width)
    equal = np.empty(channels.shape, np.float64)
    for row, values in zip(equal, channels, strict=True):
        row[:] = (np.cumsum(np.bincount(values, minlength=256)) / values.size)[values]  # share that is not brighter
    maps = equal.reshape(-1, height, width)
    maps -= maps.mean(axis=(1, 2), keepdims=True)
    down = np.linspace(-1, 1, height)[:, None]
    across = np.linspace(-1, 1, width)[None, :]
    for slope in (np.broadcast_to(down, (height, width)), np.broadcast_to(across, (height, width))):
        # On a full grid the two slopes and the mean are orthogonal: each is subtracted on its own.
        maps -= (maps * slope).sum(axis=(1, 2), keepdims=True) / (slope**2).sum() * slope
    spread = np.sqrt((maps**2).mean(axis=(1, 2), keepdims=True))
    normal: NDArray[np.float32] = (maps / np.maximum(spread, LEAST_SPREAD)).astype(np.float32)
    return normal.reshape(images.shape)
