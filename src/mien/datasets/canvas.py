"""Cropped faces as they would stand in a photograph: enlarged, with something around them.

The images of a store are faces already, cut too close for a detector. Padded and enlarged they go through the
detector and the crop function, and what comes back is read like any face that was found.
"""

from collections.abc import Iterable
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import CropSpec
from mien.errors import ConfigError
from mien.faces.align import Aligner
from mien.faces.detectors import Detector

__all__ = [
    "BORDERS",
    "MARGIN",
    "SIDE",
    "Border",
    "find_and_crop",
    "find_and_crop_each",
    "from_canvas",
    "on_canvas",
    "to_canvas",
]

# Of FER2013's faces, and what is added to them on each side: a canvas is twice as wide as its face.
SIDE: Final = 48
MARGIN: Final = 24
# A detector is shown canvases about this wide.
_CANVAS: Final = 384

Border = Literal["grey", "reflect", "replicate"]
BORDERS: Final[dict[Border, int]] = {
    "grey": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
}


def on_canvas(face: NDArray[np.uint8], scale: float = 4, border: Border = "reflect") -> NDArray[np.uint8]:
    """A face in the middle of a larger image.

    Args:
        face: (H, W) grey or (H, W, 3) RGB, uint8.
        scale: Pixels of the image per pixel of the face.
        border: What surrounds the face: plain grey, its mirror image, or its outermost pixels drawn on.

    Returns:
        (S, S, 3) uint8 RGB for a square face, S = 2 * H * scale, rounded; of FER2013's, `to_canvas` says where a point
        lies in it.
    """
    margin = max(face.shape[:2]) // 2
    padded = cv2.copyMakeBorder(face, margin, margin, margin, margin, BORDERS[border], value=(128, 128, 128))
    height, width = (round(side * scale) for side in padded.shape[:2])
    enlarged = cv2.resize(padded, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(enlarged, cv2.COLOR_GRAY2RGB) if face.ndim == 2 else enlarged, np.uint8)


def to_canvas(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Where points (..., 2) of the 48x48 frame lie on a canvas."""
    return (points + MARGIN) * (len(canvas) / (SIDE + 2 * MARGIN))


def from_canvas(points: NDArray[np.floating], canvas: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Where points (..., 2) of a canvas lie in the 48x48 frame."""
    return points / (len(canvas) / (SIDE + 2 * MARGIN)) - MARGIN


def find_and_crop(
    faces: Iterable[NDArray[np.uint8]], detector: Detector, crop_spec: CropSpec, border: Border = "reflect"
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Puts faces on canvases, finds them there and crops them, as a photograph's faces are.

    Of several detections the largest counts. A face that is not found has a black crop.

    Args:
        faces: Each (H, W) grey or (H, W, 3) RGB, uint8.
        detector: What finds them.
        crop_spec: Where a crop shall show the landmarks.
        border: What surrounds a face, as in `on_canvas`.

    Returns:
        The crops (N, size, size, 3) uint8 RGB, and which faces were found (N,) bool.
    """
    (crops,), found = find_and_crop_each(faces, Aligner(detector, [crop_spec]), border)
    return crops, found


def find_and_crop_each(
    faces: Iterable[NDArray[np.uint8]], aligner: Aligner, border: Border = "reflect"
) -> tuple[list[NDArray[np.uint8]], NDArray[np.bool_]]:
    """The same with crops for each crop spec of an aligner.

    Raises:
        ConfigError: The detector does not search for faces.
    """
    if aligner.boxes_are_crops:
        name = aligner.detector.name
        raise ConfigError(f"the detector '{name}' does not search for faces", hint="choose another detector")
    missed = tuple(np.zeros((crop_spec.size, crop_spec.size, 3), np.uint8) for crop_spec in aligner.crop_specs)
    crops: list[list[NDArray[np.uint8]]] = [[] for _ in missed]
    found = []
    for face in faces:
        largest = aligner.largest(on_canvas(face, _CANVAS / (2 * max(face.shape[:2])), border))
        found.append(largest is not None)
        for mine, crop in zip(crops, largest or missed, strict=True):
            mine.append(crop)
    stacked = [np.stack(mine) if mine else black[None][:0] for mine, black in zip(crops, missed, strict=True)]
    return stacked, np.asarray(found, bool)
