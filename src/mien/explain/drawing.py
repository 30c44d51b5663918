"""Maps drawn over faces, panels with titles, and sheets of small images."""

import math
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.assets.manifest import CropSpec
from mien.explain.attribution import Maps
from mien.expression.observation import Observation
from mien.faces.crop import similarity
from mien.faces.keypoints import five_of
from mien.output.drawing.canvas import Canvas, shortened
from mien.output.drawing.palette import RGB

SIDE: Final = 288  # of a face in a panel
FOR: Final[RGB] = (214, 64, 28)
AGAINST: Final[RGB] = (32, 96, 208)
_PAPER: Final[RGB] = (255, 255, 255)
_INK: Final[RGB] = (28, 31, 38)
_SOFT: Final[RGB] = (92, 99, 112)
_GAP: Final = 18
_HEAD: Final = 40
TITLE_ROWS: Final = 34  # of a panel; without them it has no title
_FOOT: Final = 34
_OPACITY: Final = 0.78
_STRONG: Final = 99.0  # this percentile of the absolute values has the full colour


def face_image(face: Observation, side: int = SIDE) -> NDArray[np.uint8]:
    """The last crop of a face as an image (side, side, 3) uint8 RGB; white paper where only keypoints are known."""
    if not face.images:
        return np.full((side, side, 3), 244, np.uint8)
    image = Image.fromarray(face.images[-1]).convert("RGB")
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC))


def overlay(face: Observation, maps: Maps, spec: CropSpec | None = None, *, smooth: float = 0.0) -> NDArray[np.uint8]:
    """The maps of a face over its image (SIDE, SIDE, 3): red speaks for the class, blue against it.

    Args:
        face: The face.
        maps: For each input the map (H, W) or the values of keypoints (K,).
        spec: How the face was cropped; None if it is not known.
        smooth: Maps of images are smoothed by this part of the side before they are drawn.
    """
    image = face_image(face).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.75 + 255 * 0.25  # paler, so that colours stand out
    for values in (each for each in maps if each is not None and each.ndim == 2):
        shown = cv2.GaussianBlur(values, (0, 0), values.shape[0] * smooth) if smooth else values
        large = cv2.resize(_scaled(shown), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(-1, 1)[..., None]
        colour = np.where(large > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
        share = _OPACITY * np.abs(large) ** 0.8
        grey = grey * (1 - share) + colour * share
    drawn = Canvas(grey.clip(0, 255).astype(np.uint8))
    for values in (each for each in maps if each is not None and each.ndim == 1):
        _draw_points(drawn, face, _scaled(values), spec)
    return drawn.array()


def _scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """Values -1 to 1, of which the strongest percent has the full colour."""
    most = float(np.percentile(np.abs(values), _STRONG)) or float(np.abs(values).max()) or 1.0
    scaled: NDArray[np.float32] = np.clip(values / most, -1, 1).astype(np.float32)
    return scaled


def _draw_points(canvas: Canvas, face: Observation, values: NDArray[np.float32], spec: CropSpec | None) -> None:
    """Keypoints as discs, larger and more colourful the more they count."""
    if face.keypoints is None or not np.isfinite(face.keypoints[-1]).all():
        return
    points = face.keypoints[-1][: len(values)]
    if face.images and spec is not None:  # points are in pixels of the photograph: they go where the crop has them
        matrix = similarity(five_of(points), spec.points * SIDE / spec.size)
        points = points @ matrix[:, :2].T + matrix[:, 2]
    else:  # the face fills the panel
        low, high = points.min(axis=0), points.max(axis=0)
        points = (points - (low + high) / 2) * 0.8 * SIDE / max(float((high - low).max()), 1e-6) + SIDE / 2
    for (x, y), value in zip(points.tolist(), values.tolist(), strict=True):
        canvas.dot(x, y, 3 + 6 * abs(value), _INK, opacity=0.35)
        canvas.dot(x, y, 2 + 6 * abs(value), FOR if value > 0 else AGAINST, opacity=0.3 + 0.7 * abs(value))


def panel(title: str, tiles: Sequence[tuple[str, NDArray[np.uint8]]], note: str = "") -> NDArray[np.uint8]:
    """Images (SIDE, SIDE, 3) side by side on white paper, each with a caption, below a title."""
    width = len(tiles) * (SIDE + _GAP) + _GAP
    canvas = Canvas(np.full((_HEAD + SIDE + _FOOT + 30, width, 3), _PAPER, np.uint8))
    pixels = canvas.array()
    for number, (_, tile) in enumerate(tiles):
        left = _GAP + number * (SIDE + _GAP)
        pixels[_HEAD : _HEAD + SIDE, left : left + SIDE] = tile
    canvas = Canvas(pixels)
    canvas.text(_GAP, _HEAD / 2, title, 17, _INK, bold=True)
    for number, (caption, _) in enumerate(tiles):
        canvas.text(_GAP + number * (SIDE + _GAP), _HEAD + SIDE + 16, shortened(caption, 14, SIDE), 14, _INK)
    if note:
        canvas.text(_GAP, _HEAD + SIDE + _FOOT + 10, shortened(note, 12, width - 2 * _GAP), 12, _SOFT)
    return canvas.array()


def sheet(images: Sequence[NDArray[np.uint8]], *, side: int, columns: int, gap: int = 2) -> NDArray[np.uint8]:
    """Small images (H, W) or (H, W, 3) as one sheet (…, 3), row by row, each enlarged without smoothing."""
    rows = math.ceil(len(images) / columns)
    whole = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap, 3), 128, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = row * (side + gap), column * (side + gap)
        whole[top : top + side, left : left + side] = enlarged(image, side)
    return whole


def enlarged(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (H, W) or (H, W, 3) as (side, side, 3), each pixel a square."""
    colour = Image.fromarray(image).convert("RGB")
    return np.array(colour.resize((side, side), Image.Resampling.NEAREST))


def grey_of(values: NDArray[np.floating], *, symmetric: bool = False) -> NDArray[np.uint8]:
    """Any values (H, W) as grey levels, from the lowest to the highest; symmetric: 0 is the middle grey."""
    values = np.nan_to_num(values.astype(np.float64))
    if symmetric:
        most = max(float(np.abs(values).max()), 1e-12)
        return np.asarray(np.rint(127.5 + 127.5 * values / most), np.uint8)
    low, high = float(values.min()), float(values.max())
    return np.asarray(np.rint(255 * (values - low) / max(high - low, 1e-12)), np.uint8)


def points_image(
    points: NDArray[np.float32], side: int, values: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Keypoints (K, 2) as dots on white paper (side, side, 3), larger the higher their values (K,) are."""
    canvas = Canvas(np.full((side, side, 3), 244, np.uint8))
    if not np.isfinite(points).all():
        return canvas.array()
    low, high = points.min(axis=0), points.max(axis=0)
    placed = (points - (low + high) / 2) * 0.84 * side / max(float((high - low).max()), 1e-6) + side / 2
    sizes = np.full(len(points), 0.3) if values is None else values / max(float(values.max()), 1e-12)
    for (x, y), size in zip(placed.tolist(), sizes.tolist(), strict=False):
        canvas.dot(x, y, 1.2 + 3 * size, FOR if values is not None and size > 0.25 else _INK, opacity=0.85)
    return canvas.array()
