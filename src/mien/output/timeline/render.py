"""Timelines as files: an HTML page without scripts or requests, or a PNG image; and as an output of an analysis."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.errors import ConfigError
from mien.files import new_file, replacing, writable, write_errors
from mien.names import printable
from mien.output.console import exact_clock
from mien.output.drawing.palette import RGB, typeface
from mien.output.timeline.layout import BACK, WIDTH, Area, Box, Item, Text, Thumbnail, clock, timeline
from mien.output.timeline.measures import Summary, summaries
from mien.output.timeline.series import Collector, Recording
from mien.results import FrameResult

SUFFIXES: Final = (".html", ".png")

# An image is drawn this many times larger and then reduced, which smooths all edges; the file has twice the size.
_FINE, _SCALE = 4, 2
# The most pixels of an image: more lanes are drawn smaller.
_MOST_PIXELS: Final = 120_000_000

_STYLE: Final = """
body { margin: 0; background: #14161c; color: #eceef4; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 0 12px 48px; }
svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; margin: 8px 16px 24px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 14px 4px 0; text-align: right; }
th { color: #9ea4b2; font-weight: 500; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tbody tr { border-top: 1px solid #363a46; }
h2 { margin: 28px 16px 0; font-size: 17px; font-weight: 600; }
p { margin: 4px 16px; color: #9ea4b2; }
details { margin: 4px 16px; } summary { cursor: pointer; color: #9ea4b2; }
@media print { body { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


def check_suffix(target: Path) -> None:
    """Refuses a file whose suffix is none of `SUFFIXES`.

    Raises:
        ConfigError: The message names the suffixes.
    """
    if target.suffix.lower() not in SUFFIXES:
        expected = " or ".join(SUFFIXES)
        found = f"'{target.suffix}'" if target.suffix else "none"
        raise ConfigError(
            f"no format of timelines for '{target}': expected the suffix {expected}, found {found}",
            hint=f"for example {target.with_suffix('.html')}",
        )


def write_timeline(target: Path, recordings: Sequence[Recording]) -> None:
    """Writes the timeline of some videos, in the format that the suffix names.

    Raises:
        ConfigError: There is no such format.
        OutputError: The file cannot be written.
    """
    check_suffix(target)
    if target.suffix.lower() == ".html":
        with new_file(target, "w", encoding="utf-8") as file, write_errors(target):
            file.write(page(recordings))
    else:
        with replacing(target) as partial, write_errors(target):
            Image.fromarray(image(recordings)).save(partial, "PNG", optimize=True)


class Timeline:
    """An output that draws the emotions over time of all people of the videos that are analyzed.

    Args:
        target: An .html or .png file; it is written at the end, also after an error, with what there is until then.

    Attributes:
        has_frames: Whether there was a frame of a video; if not, no file is written, and an older one stays.

    Raises:
        ConfigError: There is no such format.
        OutputError: On entering, nothing can be written there; at the end, the file cannot be written.
    """

    def __init__(self, target: str | Path) -> None:
        self.target = Path(target)
        check_suffix(self.target)
        self._collector: Collector | None = None
        self.has_frames = False

    def __enter__(self) -> Self:
        writable(self.target)
        self._collector, self.has_frames = Collector(), False
        return self

    def write(self, result: FrameResult) -> None:
        """Adds one result; only those of videos are drawn.

        Raises:
            ValueError: This output is not open.
        """
        if self._collector is None:
            raise ValueError("the output is not open: use it in a with statement")
        self._collector.add(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        collector, self._collector = self._collector, None
        found = collector.recordings() if collector else []
        self.has_frames = bool(found)
        if found:
            write_timeline(self.target, found)


def page(recordings: Sequence[Recording]) -> str:
    """The HTML page: the picture, and the numbers of each person."""
    found = summaries(list(recordings))
    title = html.escape(", ".join(printable(Path(each.source).name) for each in recordings)[:200])
    said = html.escape("; ".join(dict.fromkeys(each.probabilities for each in recordings)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{svg(recordings)}
<h2>Shares of time</h2>
<p>The share of the time in which an emotion is the most probable. Probabilities: {said}.</p>
{_table(*_shares(found))}
<h2>Changes and movement</h2>
{_table(*_movement(found))}
{_episodes(found)}
<p>Expressions are not feelings: people do not always show what they feel, nor feel what they show.</p>
</main>
</body>
</html>
"""


def _shares(found: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    emotions = list(dict.fromkeys(name for each in found for name in each.shares))
    heads = ["video", "person", "seen", *(name.replace("_", " ") for name in emotions)]
    rows = [
        [
            *_name(each),
            clock(each.seconds),
            *(f"{each.shares[name]:.0%}" if name in each.shares else "" for name in emotions),
        ]
        for each in found
    ]
    return heads, rows


def _movement(found: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    heads = ["video", "person", "changes/min", "blinks/min", "head °/s", "yaw range °", "pitch range °"]
    rows = [
        [
            *_name(each),
            f"{each.changes_per_minute:.1f}",
            _or_dash(each.blinks_per_minute),
            _or_dash(each.head_movement),
            *(map(_or_dash, each.head_range or (None, None))),
        ]
        for each in found
    ]
    return heads, rows


def _name(found: Summary) -> list[str]:
    return [printable(Path(found.source).name), "–" if found.track is None else str(found.track)]


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _episodes(found: Sequence[Summary]) -> str:
    """The episodes of each person, closed until they are wanted."""
    parts = []
    for each in found:
        rows = [
            [exact_clock(one.begin), exact_clock(one.end), one.emotion, f"{one.confidence:.0%}"]
            for one in each.episodes
        ]
        video, person = _name(each)
        name = html.escape(f"{video}, person {person}: {len(rows)} episode{'' if len(rows) == 1 else 's'}")
        parts.append(f"<details><summary>{name}</summary>{_table(['from', 'to', 'emotion', 'mean'], rows)}</details>")
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def svg(recordings: Sequence[Recording]) -> str:
    """The picture as SVG."""
    height, items = timeline(recordings)
    root = ElementTree.Element("svg", {"viewBox": f"0 0 {WIDTH} {height}", "role": "img"})
    ElementTree.SubElement(root, "title").text = "Emotions over time"
    for number, item in enumerate(items):
        element = _element(root, item, number)
        if isinstance(item, (Area, Box)) and item.title:
            ElementTree.SubElement(element, "title").text = item.title
    return ElementTree.tostring(root, encoding="unicode")


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


def image(recordings: Sequence[Recording]) -> NDArray[np.uint8]:
    """The picture, (H, W, 3) uint8 RGB, at twice the size of the layout or, if it is very long, smaller."""
    height, items = timeline(recordings)
    fine = _FINE
    while fine > 1 and WIDTH * height * fine**2 > _MOST_PIXELS:
        fine -= 1
    canvas = Image.new("RGB", (WIDTH * fine, height * fine), BACK)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for item in items:
        _draw(canvas, draw, item, fine)
    scale = min(_SCALE, fine)
    return np.array(canvas.resize((WIDTH * scale, height * scale), Image.Resampling.BOX))


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
