"""A network drawn as SVG: a solid for each layer or block, as wide as its channels and as high as its maps."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from mien.models.blocks.counting import Anatomy, Slab, Stage

__all__ = ["drawn"]

_INK: Final = "#1f2933"
_MUTED: Final = "#6b7785"
# Front, top and side of each kind of solid.
_COLOURS: Final = {
    "input": ("#c9ced6", "#dde1e7", "#aab1bc"),
    "convolution": ("#5b8def", "#8fb3f7", "#3f6fcb"),
    "block": ("#7a6ff0", "#a59df7", "#5a50c9"),
    "pooling": ("#f2a65a", "#f8c793", "#d28436"),
    "average": ("#f2a65a", "#f8c793", "#d28436"),
    "dense": ("#3fb68b", "#7fd3b4", "#2b9470"),
    "head": ("#ef6a78", "#f599a3", "#cf4a59"),
}
_NAMES: Final = {
    "convolution": "convolution",
    "block": "block of branches",
    "pooling": "pooling, average",
    "dense": "dense",
    "head": "classes",
}

_HEIGHT: Final = 190.0  # of the image
_WIDE: Final = 560.0  # of all maps together
_LEAST: Final = 5.0  # of any solid's side
_SLANT: Final = (0.30, 0.22)  # to the right and up, as shares of a solid's height
_GAP: Final = 26.0
_COLUMN: Final = 104.0  # of a stage's words
_LEFT: Final = 44.0
_AXIS: Final = 262.0  # the middle of all fronts
_WORDS: Final = 408.0
_LEGEND: Final = 572.0


@dataclass(frozen=True)
class _Solid:
    kind: str
    wide: float
    high: float

    @property
    def reach(self) -> float:
        """How far its side goes to the right."""
        return self.high * _SLANT[0]


def drawn(name: str, anatomy: Anatomy, note: str = "") -> str:
    """The drawing of a network as an SVG document.

    Args:
        name: Its title.
        anatomy: What it consists of.
        note: A second line under the title.
    """
    widest = sum(slab.shape[0] for stage in anatomy.stages for slab in stage.slabs if _is_map(slab))
    scale = _WIDE / max(widest, 1)
    side = anatomy.input.size
    columns: list[tuple[str, list[_Solid], list[str], Stage | None]]
    columns = [("input", [_Solid("input", 3.0, _HEIGHT)], [f"{side}x{side}", anatomy.input.channels], None)]
    columns += [
        (
            re.sub(r"(?<=[a-z])(\d+)$", r" \1", stage.name) or f"stage {number}",
            [_solid(slab, scale, side) for slab in stage.slabs],
            list(_words(stage)),
            stage,
        )
        for number, stage in enumerate(anatomy.stages)
    ]
    parts, x = [], _LEFT
    for number, (title, solids, words, stage) in enumerate(columns):
        own = sum(solid.wide for solid in solids) + max(solid.reach for solid in solids)
        across = max(own, _COLUMN)
        start = x + (across - own) / 2
        if number:
            parts.append(_arrow(x - _GAP + 3, x - 10 + max(0.0, (across - own) / 2 - 8)))
        for solid in solids:
            parts.append(_cuboid(start, solid))
            start += solid.wide
        if stage is None:
            parts.append(_face(start, solids[0]))
        parts += _column(x + across / 2, title, words, stage, anatomy)
        x += across + _GAP
    parts.append(_arrow(x - _GAP + 4, x - 4))
    parts += _heads(x + 6, anatomy)
    return _page(x + 150, name, anatomy, note, parts)


def _is_map(slab: Slab) -> bool:
    return len(slab.shape) == 3


def _solid(slab: Slab, scale: float, side: int) -> _Solid:
    if _is_map(slab):
        channels, height, _ = slab.shape
        wide = 5.0 if slab.kind == "pooling" else max(_LEAST, channels * scale)
        return _Solid(slab.kind, wide, max(_LEAST, _HEIGHT * height / side))
    return _Solid(slab.kind, 11.0, max(14.0, min(_HEIGHT, 3.6 * slab.shape[0] ** 0.5)))


def _words(stage: Stage) -> Iterator[str]:
    """What a stage has, in lines: its last shape, then its layers, like ones counted together."""
    shape = stage.slabs[-1].shape
    inner = [slab.shape for slab in stage.slabs if slab.kind in ("convolution", "block", "dense")]
    chosen = inner[-1] if inner else shape
    yield f"{chosen[0]:,} @ {chosen[1]}x{chosen[2]}" if len(chosen) == 3 else f"{chosen[0]:,}"
    runs: list[tuple[str, int]] = []
    for slab in stage.slabs:
        title = f"dense {slab.shape[0]:,}" if slab.kind == "dense" else slab.title
        if runs and runs[-1][0] == title:
            runs[-1] = (title, runs[-1][1] + 1)
        else:
            runs.append((title, 1))
    for title, count in runs:
        yield f"{count} x {title}" if count > 1 else title


def _cuboid(x: float, solid: _Solid) -> str:
    front, top, right = _COLOURS[solid.kind]
    low, high = _AXIS + solid.high / 2, _AXIS - solid.high / 2
    over, up = solid.reach, solid.high * _SLANT[1]
    end = x + solid.wide
    faces = [
        (front, [(x, low), (x, high), (end, high), (end, low)]),
        (top, [(x, high), (x + over, high - up), (end + over, high - up), (end, high)]),
        (right, [(end, low), (end, high), (end + over, high - up), (end + over, low - up)]),
    ]
    return "".join(
        f'<path d="M{" L".join(f"{a:.1f} {b:.1f}" for a, b in corners)} Z" fill="{colour}" stroke="#fff" '
        'stroke-width=".8" stroke-linejoin="round"/>'
        for colour, corners in faces
    )


def _face(x: float, solid: _Solid) -> str:
    """Two eyes, brows and a smile on the slanted side of the image, drawn on a square of side 1."""
    up, top = solid.high * _SLANT[1], _AXIS - solid.high / 2
    slanted = f"matrix({solid.reach:.1f} {-up:.1f} 0 {solid.high:.1f} {x:.1f} {top:.1f})"
    return (
        f'<g transform="{slanted}" fill="none" stroke="#5d6774" stroke-width=".045" stroke-linecap="round">'
        '<ellipse cx=".5" cy=".52" rx=".36" ry=".4" stroke-width=".03"/>'
        '<path d="M.34 .4 v.05 M.66 .4 v.05 M.28 .31 q.07 -.05 .13 0 M.59 .31 q.07 -.05 .13 0"/>'
        '<path d="M.33 .66 q.17 .17 .34 0"/></g>'
    )


def _arrow(start: float, end: float) -> str:
    return (
        f'<path d="M{start:.1f} {_AXIS} H{end:.1f}" stroke="{_MUTED}" stroke-width="1.4" fill="none"/>'
        f'<path d="M{end + 5:.1f} {_AXIS} l-6 -3.5 v7 z" fill="{_MUTED}"/>'
    )


def _text(x: float, y: float, text: str, size: float = 11, colour: str = _MUTED, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {extra}>{escape(text)}</text>'


def _column(middle: float, title: str, words: list[str], stage: Stage | None, anatomy: Anatomy) -> Iterator[str]:
    centred = 'text-anchor="middle"'
    yield _text(middle, _WORDS, title, 12.5, _INK, f'{centred} font-weight="600"')
    for line, word in enumerate(words):
        yield _text(middle, _WORDS + 18 + 15 * line, word, 11, _INK if line == 0 else _MUTED, centred)
    if stage is None:
        return
    operations = max(1, sum(layer.operations for layer in anatomy.layers))
    shares = [(stage.parameters / max(1, anatomy.parameters), "#3f6fcb"), (stage.operations / operations, "#d28436")]
    for line, (share, colour) in enumerate(shares):
        y = _WORDS + 104 + 16 * line
        yield f'<rect x="{middle - 36:.1f}" y="{y}" width="44" height="6" rx="3" fill="#e6e9ee"/>'
        if share >= 0.005:
            bar = f'width="{max(3, 44 * share):.1f}" height="6" rx="3" fill="{colour}"'
            yield f'<rect x="{middle - 36:.1f}" y="{y}" {bar}/>'
        told = "<0.1%" if 0 < share < 0.001 else f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"
        yield _text(middle + 13, y + 6.5, told, 10)


def _heads(x: float, anatomy: Anatomy) -> Iterator[str]:
    top = _AXIS - 24 * len(anatomy.heads) + 4
    for number, (name, classes) in enumerate(anatomy.heads.items()):
        y = top + 48 * number
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="112" height="40" rx="9" fill="{_COLOURS["head"][0]}"/>'
        yield _text(x + 56, y + 17, name, 12, "#fff", 'text-anchor="middle" font-weight="600"')
        yield _text(x + 56, y + 32, f"{classes} classes", 10.5, "#fff", 'text-anchor="middle"')


def _page(wide: float, name: str, anatomy: Anatomy, note: str, parts: list[str]) -> str:
    high = _LEGEND + 24
    counted = f"{anatomy.parameters:,} parameters"
    if anatomy.trained != anatomy.parameters:
        counted += f", {anatomy.trained:,} of them learn"
    counted += f"  ·  {anatomy.fused_operations / 1e6:,.1f} million multiply-adds a face"
    lines = [
        _text(_LEFT, 44, name, 22, _INK, 'font-weight="700"'),
        _text(_LEFT, 66, counted, 12.5),
        _text(_LEFT, 84, note, 12.5),
        _text(_LEFT, _WORDS + 110.5, "parameters", 10.5),
        _text(_LEFT, _WORDS + 126.5, "operations", 10.5),
    ]
    shown = {slab.kind for stage in anatomy.stages for slab in stage.slabs} | {"head"}
    x = _LEFT
    for kind, title in _NAMES.items():
        if kind in shown or (kind == "pooling" and "average" in shown):
            lines.append(
                f'<rect x="{x:.1f}" y="{_LEGEND - 9}" width="11" height="11" rx="2.5" fill="{_COLOURS[kind][0]}"/>'
            )
            lines.append(_text(x + 17, _LEGEND, title, 11))
            x += 34 + 6.2 * len(title)
    meaning = "width: channels; height: side of the maps; of vectors, the root of their length"
    lines.append(_text(x + 10, _LEGEND, meaning, 11))
    body = "\n".join([*lines, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" '
        f'height="{high:.0f}" font-family="Inter, Helvetica, Arial, DejaVu Sans, sans-serif">\n'
        f"<title>{escape(name)}</title>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )
