"""A network drawn as SVG: a solid for each layer or block, as wide as its channels and as high as its maps.

This module places the solids and words; `network.svg.jinja` has the markup and the colours.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import jinja2

from mien.models.blocks.counting import Anatomy, Layer

_HEIGHT: Final = 190.0  # of the input, in units of the drawing, as all below
_WIDTH: Final = 560.0  # of all maps together
_SMALLEST: Final = 5.0  # side of a solid
_SLANT: Final = (0.30, 0.22)  # to the right and up, relative to the height of a solid
_GAP: Final = 26.0  # between columns
_COLUMN: Final = 104.0  # smallest width of a column, for its words
_LEFT: Final = 44.0
_AXIS: Final = 262.0  # y of the middle of all fronts


def draw_network(title: str, anatomy: Anatomy, note: str = "") -> str:
    """Draws a network as an SVG document.

    Args:
        title: The title.
        anatomy: The network.
        note: A second line below the title.
    """
    parts = [part for stage in anatomy.stages for part in stage.parts]
    scale = _WIDTH / max(1, sum(part.shape[0] for part in parts if len(part.shape) == 3))
    side = anatomy.input.size
    images = "images" in anatomy.inputs
    what = [f"{side}x{side}", anatomy.input.channels] * images + ["68 points"] * ("keypoints" in anatomy.inputs)
    columns = [_column(_LEFT, "input", what, [("input", 3.0, _HEIGHT if images else 0.2 * _HEIGHT)])]
    for number, stage in enumerate(anatomy.stages):
        name = re.sub(r"(?<=[a-z])(\d+)$", r" \1", stage.name) or f"stage {number}"
        sizes = [_size(part, scale, side) for part in stage.parts]
        column = _column(columns[-1]["end"], name, _lines(stage.parts), sizes)
        column["parameters"] = stage.parameters / max(1, anatomy.parameters)
        column["operations"] = stage.operations / max(1, anatomy.operations)
        columns.append(column)
    frozen = anatomy.trained != anatomy.parameters
    learning = f", {anatomy.trained:,} of them trained" if frozen else ""
    over, up = (share * _HEIGHT for share in _SLANT)
    template = Path(__file__).with_name("network.svg.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(template).render(
        title=title,
        counted=f"{anatomy.parameters:,} parameters{learning}  ·  "
        f"{anatomy.fused_operations / 1e6:,.1f} million multiply-adds a face",
        note=note,
        columns=columns,
        kinds={"pooling" if part.kind == "average" else part.kind for part in parts} | {"head"},
        heads=anatomy.heads,
        side=f"matrix({over:.1f} {-up:.1f} 0 {_HEIGHT} {columns[0]['start'] + 3} {_AXIS - _HEIGHT / 2})",
        axis=_AXIS,
        left=_LEFT,
        end=round(columns[-1]["end"]),
    )


def _column(x: float, title: str, lines: list[str], sizes: list[tuple[str, float, float]]) -> dict[str, Any]:
    """A column from `x` on: solids side by side, given as kind, width and height, with words below."""
    own = sum(width for _, width, _ in sizes) + max(height for _, _, height in sizes) * _SLANT[0]
    across = max(own, _COLUMN)
    start = round(x + (across - own) / 2, 1)
    solids, left = [], start
    for kind, width, height in sizes:
        solids.append((kind, _cuboid(left, left + width, height)))
        left += width
    middle, end = round(x + across / 2, 1), round(x + across + _GAP, 1)
    return {"x": x, "start": start, "middle": middle, "end": end, "title": title, "lines": lines, "solids": solids}


def _size(part: Layer, scale: float, side: int) -> tuple[str, float, float]:
    """Kind, width and height of the solid of a layer."""
    if len(part.shape) == 3:
        width = 5.0 if part.kind == "pooling" else max(_SMALLEST, part.shape[0] * scale)
        return part.kind, width, max(_SMALLEST, _HEIGHT * part.shape[1] / side)
    return part.kind, 11.0, max(14.0, min(_HEIGHT, 3.6 * part.shape[0] ** 0.5))


def _cuboid(left: float, right: float, height: float) -> list[str]:
    """The corners of front, top and side, in oblique projection; the front stands across the axis."""
    low, high = _AXIS + height / 2, _AXIS - height / 2
    over, up = height * _SLANT[0], height * _SLANT[1]
    faces = (
        [(left, low), (left, high), (right, high), (right, low)],
        [(left, high), (left + over, high - up), (right + over, high - up), (right, high)],
        [(right, low), (right, high), (right + over, high - up), (right + over, low - up)],
    )
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in face) for face in faces]


def _lines(parts: Sequence[Layer]) -> list[str]:
    """The words below a stage: its last shape, then its layers, equal neighbours counted together."""
    last = ([part for part in parts if part.kind in ("convolution", "block", "dense")] or parts)[-1].shape
    titles = [f"dense {part.shape[0]:,}" if part.kind == "dense" else part.title.partition(",")[0] for part in parts]
    runs = [(title, len(list(group))) for title, group in groupby(titles)]
    return [
        f"{last[0]:,} @ {last[1]}x{last[2]}" if len(last) == 3 else f"{last[0]:,}",
        *(f"{count} x {title}" if count > 1 else title for title, count in runs),
    ]
