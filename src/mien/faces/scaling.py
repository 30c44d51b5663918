"""Pictures at another size. Coordinates are continuous: pixel i covers [i, i + 1), x becomes factor * x."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["resized"]


def resized(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A picture at `scale` times its size, at least one pixel each way.

    Shrinking averages over the area of each new pixel, so that nothing aliases; enlarging is cubic.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        scale: New pixels per old pixel, above 0.

    Returns:
        The picture, and the exact factors (2,) of x and y after rounding to whole pixels.
    """
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image, np.ones(2)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    return picture, np.array(size) / (width, height)
