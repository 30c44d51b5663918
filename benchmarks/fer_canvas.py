"""FER2013's faces as they would stand in a photograph: enlarged, with something around them.

FER2013's pictures are faces already, cut too close for a detector. Padded and enlarged they go through the
detector and the crop function, and what comes back can be laid over the original.
"""

from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["BORDERS", "MARGIN", "SIDE", "Border", "from_canvas", "on_canvas", "public_test", "to_canvas"]

SIDE: Final = 48
# Pixels of FER2013 added on each side; the canvas is twice as wide as the face.
MARGIN: Final = 24
# Rows of `publictest.png` hold this many faces.
TILES: Final = 60
COUNT: Final = 3589

Border = Literal["grey", "reflect", "replicate"]
BORDERS: Final[dict[Border, int]] = {
    "grey": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
}


def public_test(shared: Path) -> NDArray[np.uint8]:
    """PublicTest's faces (3589, 48, 48) uint8 grey, in the official order, from the mosaic in `shared`."""
    mosaic = np.asarray(Image.open(shared / "data" / "fer2013" / "publictest.png"))
    tiles = mosaic.reshape(-1, SIDE, TILES, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    return np.ascontiguousarray(tiles[:COUNT])


def on_canvas(face: NDArray[np.uint8], scale: float = 4, border: Border = "reflect") -> NDArray[np.uint8]:
    """A FER2013 face in the middle of a larger picture.

    Args:
        face: (48, 48) uint8, grey.
        scale: Pixels of the picture per pixel of the face.
        border: What surrounds the face: plain grey, its mirror image, or its outermost pixels drawn on.

    Returns:
        (S, S, 3) uint8 RGB, S = 96 * scale, rounded; `to_canvas` says where a point of the face lies in it.
    """
    padded = cv2.copyMakeBorder(face, MARGIN, MARGIN, MARGIN, MARGIN, BORDERS[border], value=128)
    side = round(len(padded) * scale)
    enlarged = cv2.resize(padded, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(enlarged, cv2.COLOR_GRAY2RGB), np.uint8)


def to_canvas(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Where points (..., 2) of the 48x48 frame lie on a canvas."""
    return (points + MARGIN) * (len(canvas) / (SIDE + 2 * MARGIN))


def from_canvas(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Where points (..., 2) of a canvas lie in the 48x48 frame."""
    return points / (len(canvas) / (SIDE + 2 * MARGIN)) - MARGIN
