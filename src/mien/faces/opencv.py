"""What several modules do through OpenCV: change the size of images, and keep it from logging.

Coordinates are continuous: pixel i covers [i, i + 1), and x becomes factor * x.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray


def resized(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An image at `scale` times its size, at least one pixel each way.

    Shrinking averages over the area of each new pixel, so that nothing aliases; enlarging is cubic.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        scale: New pixels per old pixel, above 0.

    Returns:
        The image, and the exact factors (2,) of x and y after rounding to whole pixels.
    """
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image, np.ones(2)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    result = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    return result, np.array(size) / (width, height)


def shrunk(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Like `resized`, but faster for strong reductions: an image of 12 megapixels takes 4 ms instead of 40.

    The image is first sampled linearly at twice the final size and then averaged. Each new pixel thus depends on 16
    pixels of the image, which is enough for a detector but too few for a crop.

    Args:
        image: (H, W, 3) uint8.
        scale: New pixels per old pixel, above 0 and at most 1.
    """
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale < 0.5:
        twice = 2 * size[0], 2 * size[1]
        image = np.asarray(cv2.resize(image, twice, interpolation=cv2.INTER_LINEAR), np.uint8)
        result = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return result, np.array(size) / (width, height)
    return resized(image, scale)


@contextmanager
def silent_opencv() -> Iterator[None]:
    """OpenCV logs nothing inside the `with` block: its exceptions already say what went wrong."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.13 moved the function
    level = logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)
