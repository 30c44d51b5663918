"""FER2013's PublicTest from the data beside the project, and the canvases that its faces are put on."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.datasets.canvas import BORDERS, SIDE, from_canvas, on_canvas, to_canvas

__all__ = ["BORDERS", "SIDE", "from_canvas", "on_canvas", "public_test", "to_canvas"]

# Rows of `publictest.png` hold this many faces.
TILES: Final = 60
COUNT: Final = 3589


def public_test(shared: Path) -> NDArray[np.uint8]:
    """PublicTest's faces (3589, 48, 48) uint8 grey, in the official order, from the mosaic in `shared`."""
    mosaic = np.asarray(Image.open(shared / "data" / "fer2013" / "publictest.png"))
    tiles = mosaic.reshape(-1, SIDE, TILES, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    return np.ascontiguousarray(tiles[:COUNT])
