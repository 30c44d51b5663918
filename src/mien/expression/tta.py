"""Several tta of one face, whose probabilities are averaged: a little more accuracy for twice or ten times the work.

Averaging over mirrored and shifted tta at test time goes back to Krizhevsky et al. 2012 (section 4.1).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["TTA", "tta_images"]

# Ways to look at a face, and how many tta each has.
TTA: Final = {"single": 1, "flip": 2, "ten-crop": 10}

# Ten-crop shows this share of each side: 44 of FER2013's 48 pixels.
_SHOWN: Final = 11 / 12


def tta_images(image: NDArray[np.uint8], tta: str) -> list[NDArray[np.uint8]]:
    """The tta of a face that `tta` names.

    Args:
        image: (H, W) grey or (H, W, 3) RGB, uint8.
        tta: "single": as it is. "flip": and its mirror image. "ten-crop": its four corners and its centre, each
            11/12 of a side, and their mirror images; the network's input size enlarges them.

    Raises:
        ValueError: There are no tta of that name.
    """
    if tta not in TTA:
        raise ValueError(f"tta: expected one of {', '.join(TTA)}, got '{tta}'")
    if tta == "single":
        return [image]
    upright = [image] if tta == "flip" else _crops(image)
    return [*upright, *(crop[:, ::-1] for crop in upright)]


def _crops(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The four corners and the centre."""
    height, width = (max(1, round(side * _SHOWN)) for side in image.shape[:2])
    down, right = image.shape[0] - height, image.shape[1] - width
    places = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    return [image[top : top + height, left : left + width] for top, left in places]
