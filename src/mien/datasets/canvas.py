"""Cropped faces placed in a larger image, a canvas, so that a detector can find them as in a photograph.

The images of a store are cropped faces, too tight for a detector. Enlarged and surrounded by a margin, they pass
through the detector and the crop function like the faces of a photograph.
"""

from collections.abc import Iterable
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.faces.align import Aligner

# Side of FER2013's faces, and the margin on each side: a canvas is twice as wide as its face.
SIDE: Final = 48
MARGIN: Final = 24
# Width of the canvases that a detector gets.
_CANVAS: Final = 384

Border = Literal["grey", "reflect", "replicate"]
BORDERS: Final[dict[Border, int]] = {
    "grey": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
}


def on_canvas(face: NDArray[np.uint8], scale: float = 4, border: Border = "reflect") -> NDArray[np.uint8]:
    """Places a face in the centre of a larger image.

    Args:
        face: (H, W) grey or (H, W, 3) RGB, uint8.
        scale: Pixels of the canvas per pixel of the face.
        border: The margin around the face: plain grey, its mirror image, or its repeated outermost pixels.

    Returns:
        (S, S, 3) uint8 RGB with S = 2 * H * scale, rounded, for a square face. `to_canvas` gives the place of a point
        of a 48x48 face.
    """
    margin = max(face.shape[:2]) // 2
    padded = cv2.copyMakeBorder(face, margin, margin, margin, margin, BORDERS[border], value=(128, 128, 128))
    height, width = (round(side * scale) for side in padded.shape[:2])
    enlarged = cv2.resize(padded, (width, height), interpolation=cv2.INTER_CUBIC)
    return rgb(np.asarray(enlarged, np.uint8))


def rgb(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A stored face, (H, W) grey or (H, W, 3) RGB, as RGB."""
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_GRAY2RGB) if face.ndim == 2 else face, np.uint8)


def like(crop: NDArray[np.uint8], faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGB crop in the channels of stored faces: grey for (N, H, W), RGB for (N, H, W, 3)."""
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8) if faces.ndim == 3 else crop


def to_canvas(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Converts points (..., 2) of a 48x48 face to points of its canvas."""
    return (points + MARGIN) * (len(canvas) / (SIDE + 2 * MARGIN))


def from_canvas(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Converts points (..., 2) of a canvas to points of its 48x48 face."""
    return points / (len(canvas) / (SIDE + 2 * MARGIN)) - MARGIN


def placed(canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The box (4,) xyxy of the face on its canvas."""
    height, width = canvas.shape[:2]
    margin = max(height, width) / 4
    return np.array([margin, margin, width - margin, height - margin], np.float32)


def find_and_crop(
    faces: Iterable[NDArray[np.uint8]], aligner: Aligner, border: Border = "reflect"
) -> tuple[list[NDArray[np.uint8]], NDArray[np.bool_]]:
    """Places faces on canvases, finds them there and crops them, as in a photograph.

    Only a face that is found where it was placed counts: the mirrored margins of canvases show faces of their own.

    Args:
        faces: Each (H, W) grey or (H, W, 3) RGB, uint8.
        aligner: Finds and crops the faces.
        border: The margin around a face, as in `on_canvas`.

    Returns:
        For each crop spec of the aligner the crops (N, size, size, 3) uint8 RGB, or (N, size, size) if it is grey;
        black where no face was found; and found (N,) bool.

    Raises:
        ConfigError: The detector does not search for faces.
    """
    if aligner.boxes_are_crops:
        name = aligner.detector.name
        raise ConfigError(f"the detector '{name}' does not search for faces", hint="choose another detector")
    canvases = (on_canvas(face, _CANVAS / (2 * max(face.shape[:2])), border) for face in faces)
    cropped = [aligner.nearest(canvas, placed(canvas)) for canvas in canvases]
    crops = []
    for place, crop_spec in enumerate(aligner.crop_specs):
        side, colours = crop_spec.size, () if crop_spec.grey else (3,)
        stacked = np.zeros((len(cropped), side, side, *colours), np.uint8)
        for row, found in enumerate(cropped):
            if found is not None:
                stacked[row] = found[place]
        crops.append(stacked)
    return crops, np.asarray([found is not None for found in cropped], bool)
