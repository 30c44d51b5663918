"""Shapes, texts and images in pixels, from which pictures are made, and how they are drawn: as SVG or as an image."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.output.drawing.palette import RGB, typeface

WIDTH: Final = 1240
MARGIN: Final = 28
BACK: Final[RGB] = (20, 22, 28)
PANEL: Final[RGB] = (29, 32, 40)
GRID: Final[RGB] = (54, 58, 70)
TEXT: Final[RGB] = (236, 238, 244)
MUTED: Final[RGB] = (158, 164, 178)

# An image is drawn this many times larger and then reduced, which smooths all edges; the file has twice the size.
_FINE, _SCALE = 4, 2
# The most pixels of an image: a longer picture is drawn smaller.
_MOST_PIXELS: Final = 120_000_000


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon; `title` is what a page shows under the pointer."""

    points: tuple[tuple[float, float], ...]
    colour: RGB
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    colour: RGB
    radius: float = 0.0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `x` is its left end, its middle or its right end, `y` the baseline."""

    x: float
    y: float
    text: str
    size: float
    colour: RGB = TEXT
    align: str = "start"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image (H, W, 3) uint8 RGB in a square with round corners."""

    x: float
    y: float
    side: float
    pixels: NDArray[np.uint8]
    radius: float = 12.0


Item = Area | Box | Text | Thumbnail


def moved(item: Item, down: float) -> Item:
    """The same, lower by that many pixels."""
    if isinstance(item, Area):
        return replace(item, points=tuple((x, y + down) for x, y in item.points))
    return replace(item, y=item.y + down)


def svg(title: str, height: int, items: Sequence[Item]) -> str:
    """A picture of the width `WIDTH` as SVG; `title` says what it shows."""
    root = ElementTree.Element("svg", {"viewBox": f"0 0 {WIDTH} {height}", "role": "img"})
    ElementTree.SubElement(root, "title").text = title
    for number, item in enumerate(items):
        element = _element(root, item, number)
        if isinstance(item, (Area, Box)) and item.title:
            ElementTree.SubElement(element, "title").text = item.title
    return ElementTree.tostring(root, encoding="unicode")


def pixels(height: int, items: Sequence[Item]) -> NDArray[np.uint8]:
    """A picture of the width `WIDTH`, (H, W, 3) uint8 RGB, at twice its size or, if it is very long, smaller."""
    fine = _FINE
    while fine > 1 and WIDTH * height * fine**2 > _MOST_PIXELS:
        fine -= 1
    canvas = Image.new("RGB", (WIDTH * fine, height * fine), BACK)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for item in items:
        _draw(canvas, draw, item, fine)
    scale = min(_SCALE, fine)
    return np.array(canvas.resize((WIDTH * scale, height * scale), Image.Resampling.BOX))


def _element(root: ElementTree.Element, item: Item, number: int) -> ElementTree.Element:
    if isinstance(item, Area):
        points = " ".join(f"{x:g},{y:g}" for x, y in item.points)
        shape = {"points": points, "fill": _css(item.colour), "fill-opacity": f"{item.opacity:g}"}
        return ElementTree.SubElement(root, "polygon", shape)
    if isinstance(item, Box):
        shape = _numbers(x=item.x, y=item.y, width=item.width, height=item.height, rx=item.radius)
        return ElementTree.SubElement(root, "rect", {**shape, "fill": _css(item.colour)})
    if isinstance(item, Text):
        style = {
            "fill": _css(item.colour),
            "text-anchor": item.align,
            "font-family": "system-ui, sans-serif",
            "font-weight": "600" if item.bold else "400",
        }
        element = ElementTree.SubElement(root, "text", {**_numbers(x=item.x, y=item.y, font_size=item.size), **style})
        element.text = item.text
        return element
    clip = ElementTree.SubElement(root, "clipPath", {"id": f"c{number}"})
    square = _numbers(x=item.x, y=item.y, width=item.side, height=item.side)
    ElementTree.SubElement(clip, "rect", {**square, **_numbers(rx=item.radius)})
    buffer = io.BytesIO()
    Image.fromarray(item.pixels).save(buffer, "JPEG", quality=85)
    data = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return ElementTree.SubElement(root, "image", {**square, "href": data, "clip-path": f"url(#c{number})"})


def _numbers(**values: float) -> dict[str, str]:
    return {name.replace("_", "-"): f"{value:.2f}".rstrip("0").rstrip(".") for name, value in values.items()}


def _css(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _draw(canvas: Image.Image, draw: ImageDraw.ImageDraw, item: Item, fine: int) -> None:
    if isinstance(item, Area):
        points = [(x * fine, y * fine) for x, y in item.points]
        draw.polygon(points, (*item.colour, round(255 * item.opacity)))
    elif isinstance(item, Box):
        corners = (item.x * fine, item.y * fine, (item.x + item.width) * fine - 1, (item.y + item.height) * fine - 1)
        if corners[2] > corners[0] and corners[3] > corners[1]:
            radius = min(item.radius, item.width / 2, item.height / 2) * fine
            draw.rounded_rectangle(corners, radius, item.colour)
    elif isinstance(item, Text):
        align = {"start": "ls", "middle": "ms", "end": "rs"}[item.align]
        stroke = round(0.02 * item.size * fine) * item.bold
        draw.text(
            (item.x * fine, item.y * fine),
            item.text,
            item.colour,
            typeface(item.size * fine),
            align,
            stroke_width=stroke,
        )
    elif isinstance(item, Thumbnail):
        side = round(item.side * fine)
        pixels = Image.fromarray(item.pixels).resize((side, side), Image.Resampling.BICUBIC)
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, side - 1, side - 1), item.radius * fine, 255)
        canvas.paste(pixels, (round(item.x * fine), round(item.y * fine)), mask)


def short(text: str, most: int) -> str:
    """The text, without its middle if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"
