"""Smooth shapes and text on an image: a thin layer over Pillow, whose own shapes have jagged edges."""

import math

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.output.drawing.layout import Rect
from mien.output.drawing.palette import RGB, typeface

# Shapes are drawn this many times larger and then reduced, which smooths their edges; large shapes need less.
_FINE, _COARSE, _LARGE_AREA = 4, 2, 1_000_000

# Pillow before 11.1 draws text with whole strokes only.
_FRACTIONAL_STROKES = tuple(map(int, PIL.__version__.split(".")[:2])) >= (11, 1)


class Canvas:
    """An image to draw on. Coordinates are pixels and may be fractions; what lies outside is cut off.

    Args:
        image: (H, W, 3) uint8 RGB; it is copied, not changed.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._image = Image.fromarray(image).copy()

    def array(self) -> NDArray[np.uint8]:
        """The image as it is now, (H, W, 3) uint8 RGB."""
        return np.array(self._image)

    def rounded(
        self, rect: Rect, radius: float, colour: RGB, *, opacity: float = 1.0, line: float | None = None
    ) -> None:
        """A rectangle with round corners: filled, or an outline of width `line` inside `rect`."""
        width, height = self._image.size
        left, top = max(int(rect.x0) - 1, 0), max(int(rect.y0) - 1, 0)
        right, bottom = min(int(rect.x1) + 2, width), min(int(rect.y1) + 2, height)
        scale = _FINE if (right - left) * (bottom - top) < _LARGE_AREA else _COARSE
        if left >= right or top >= bottom or min(rect.width, rect.height) * scale < 1:
            return  # outside the image, or too thin to draw
        mask = Image.new("L", ((right - left) * scale, (bottom - top) * scale))
        corners = [
            ((rect.x0 - left) * scale, (rect.y0 - top) * scale),
            ((rect.x1 - left) * scale - 1, (rect.y1 - top) * scale - 1),
        ]
        ink = round(255 * opacity)
        draw = ImageDraw.Draw(mask)
        if line is None:
            draw.rounded_rectangle(corners, radius * scale, fill=ink)
        else:
            draw.rounded_rectangle(corners, radius * scale, outline=ink, width=max(round(line * scale), 1))
        self._image.paste(colour, (left, top), mask.reduce(scale))

    def dot(self, x: float, y: float, radius: float, colour: RGB, *, opacity: float = 1.0) -> None:
        """A disc around (x, y)."""
        self.rounded(Rect(x, y, x, y).grown(radius), radius, colour, opacity=opacity)

    def image(self, rect: Rect, image: Image.Image) -> None:
        """An RGBA image with its upper left corner at that of `rect`."""
        self._image.paste(image, (round(rect.x0), round(rect.y0)), image)

    def mosaic(self, rect: Rect, cells: int) -> None:
        """Replaces the inside of `rect`, with rounded corners, by `cells` squares along its longer side.

        Each square has the mean colour of what it covers, so that no finer detail can be recovered.
        """
        width, height = self._image.size
        left, top = max(math.floor(rect.x0), 0), max(math.floor(rect.y0), 0)
        right, bottom = min(math.ceil(rect.x1), width), min(math.ceil(rect.y1), height)
        if left >= right or top >= bottom:
            return
        part = self._image.crop((left, top, right, bottom))
        cell = max(rect.width, rect.height) / cells
        few = max(1, round(part.width / cell)), max(1, round(part.height / cell))
        coarse = part.resize(few, Image.Resampling.BOX).resize(part.size, Image.Resampling.NEAREST)
        mask = Image.new("L", part.size)
        inside = (rect.x0 - left, rect.y0 - top, rect.x1 - left, rect.y1 - top)
        ImageDraw.Draw(mask).rounded_rectangle(inside, 0.32 * min(rect.width, rect.height), 255)
        self._image.paste(coarse, (left, top), mask)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: RGB,
        *,
        right: bool = False,
        bold: bool = False,
    ) -> None:
        """A line of text centred on the height `y` that starts at `x`, or ends there with `right`."""
        # Drawn at its final size, small text would be placed on whole pixels, with uneven gaps. It is anchored at the
        # baseline ("s"), so that words with and without descenders are on one line.
        scale = _FINE
        font = typeface(size * scale)
        left = int(x - font.getlength(text) / scale if right else x) - 2
        top = int(y - size)
        width, height = math.ceil(font.getlength(text) / scale) + 5, math.ceil(2 * size)
        mask = Image.new("L", (width * scale, height * scale))
        stroke = (0.03 if bold else 0.01) * size * scale
        ImageDraw.Draw(mask).text(
            ((x - left) * scale, (y + 0.36 * size - top) * scale),
            text,
            255,
            font,
            "rs" if right else "ls",
            stroke_width=stroke if _FRACTIONAL_STROKES else round(stroke),
        )
        self._image.paste(colour, (left, top), mask.reduce(scale))


def text_width(text: str, size: float) -> float:
    """The width of a line of text in pixels."""
    return typeface(size * _FINE).getlength(text) / _FINE


def shortened(text: str, size: float, width: float, *, keep_end: bool = False) -> str:
    """A line of text that is cut so that it is no wider than `width` pixels.

    Args:
        text: The text.
        size: Of the type, in pixels.
        width: The room.
        keep_end: Cut the start in place of the end: the ends of file names tell them apart.
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[1:] if keep_end else text[:-1]
    return "…" + text if keep_end else text + "…"
