"""A small drawn face for each emotion, because a typeface with emoji is not always installed.

All consist of the same few strokes on a disc in the emotion's colour. Eyes, brows and mouth can be recognised at 20
pixels. They are drawn several times larger than needed and then reduced, so that they are smooth at any size. A dark
rim outside a white one separates them from light and from dark images.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from PIL import Image, ImageDraw

from mien.output.drawing.palette import RGB, colour_of, typeface

_INK: Final[RGB] = (38, 34, 46)
_WHITE: Final[RGB] = (255, 255, 255)
_MOUTH: Final[RGB] = (96, 24, 38)
_TONGUE: Final[RGB] = (240, 104, 120)
_TEAR: Final[RGB] = (214, 238, 255)
_RIM: Final[RGB] = (18, 20, 26)

# Radii of the rims and the disc in an image that reaches from -1 to 1.
_OUTER, _WHITE_RIM, _DISC = 0.99, 0.95, 0.86
# Smallest side in pixels at which a face is drawn; smaller ones are reduced from it.
_DRAWN: Final = 384

_Point = tuple[float, float]


def _steps(start: float, end: float) -> list[float]:
    """Numbers from start to end, close enough to each other for a smooth curve."""
    return [start + (end - start) * step / 32 for step in range(33)]


class _Sheet:
    """A transparent square to draw on; x and y reach from -1 to 1, y downwards; lengths are in the same unit."""

    def __init__(self, side: int) -> None:
        self.image = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self.image)
        self._half = side / 2

    def _at(self, point: _Point) -> _Point:
        return (point[0] + 1) * self._half, (point[1] + 1) * self._half

    def disc(self, x: float, y: float, radius: float, colour: RGB, *, high: float | None = None) -> None:
        """A disc, or an ellipse whose half height is `high`."""
        tall = radius if high is None else high
        self._draw.ellipse([self._at((x - radius, y - tall)), self._at((x + radius, y + tall))], colour)

    def shape(self, points: Sequence[_Point], colour: RGB) -> None:
        """A filled polygon."""
        self._draw.polygon([self._at(point) for point in points], colour)

    def letter(self, text: str) -> None:
        """A letter in the middle."""
        self._draw.text((self._half, self._half), text, _INK, typeface(self._half), anchor="mm")

    def stroke(self, points: Sequence[_Point], width: float, colour: RGB = _INK) -> None:
        """A line with round joints and ends."""
        self._draw.line([self._at(point) for point in points], colour, round(width * self._half), joint="curve")
        for x, y in points:
            self.disc(x, y, width / 2, colour)


def _bow(x: float, y: float, wide: float, deep: float) -> list[_Point]:
    """A bow from left to right around (x, y); its middle is `deep` below its ends, or above them if negative."""
    return [(x + wide * at, y + deep * (0.5 - at * at)) for at in _steps(-1, 1)]


def _eyes(sheet: _Sheet, *, y: float = -0.18, wide: float = 0.105, high: float = 0.15) -> None:
    for side in (-1, 1):
        sheet.disc(side * 0.32, y, wide, _INK, high=high)


def _brows(sheet: _Sheet, *, inner: float, outer: float) -> None:
    """Brows; `inner` and `outer` are the heights of their ends."""
    for side in (-1, 1):
        sheet.stroke([(side * 0.16, inner), (side * 0.5, outer)], 0.1)


def _laugh(sheet: _Sheet, y: float, wide: float, deep: float) -> None:
    """A laughing mouth, straight at the top and round at the bottom, with teeth and tongue."""
    outline = [(wide * math.cos(turn), y + deep * math.sin(turn)) for turn in _steps(0, math.pi)]
    sheet.shape(outline, _MOUTH)
    tongue = [(0.62 * wide * math.cos(turn), y + deep * (1.0 - 0.42 * math.sin(turn))) for turn in _steps(0, math.pi)]
    lower = [(0.62 * at, y + deep * math.sqrt(1 - (0.62 * at / wide) ** 2)) for at, _ in outline]
    sheet.shape([*tongue, *lower[::-1]], _TONGUE)
    sheet.shape([point for point in outline if point[1] < y + 0.3 * deep], _WHITE)
    sheet.stroke([*outline, outline[0]], 0.06, _MOUTH)


def _anger(sheet: _Sheet) -> None:
    _eyes(sheet, y=-0.08, high=0.13)
    _brows(sheet, inner=-0.22, outer=-0.44)
    sheet.stroke(_bow(0, 0.42, 0.34, -0.22), 0.11)


def _disgust(sheet: _Sheet) -> None:
    for side in (-1, 1):  # eyes pressed together
        sheet.stroke([(side * 0.5, -0.32), (side * 0.2, -0.2), (side * 0.5, -0.08)], 0.09)
    tip = [(0.2 + 0.15 * math.cos(turn), 0.46 + 0.2 * math.sin(turn)) for turn in _steps(math.pi, 0)]
    sheet.shape([(0.05, 0.36), *tip, (0.35, 0.36)], _TONGUE)
    sheet.stroke([(at, 0.34 + 0.07 * math.sin(10 * at)) for at in _steps(-0.42, 0.42)], 0.1)


def _fear(sheet: _Sheet) -> None:
    _brows(sheet, inner=-0.6, outer=-0.46)
    for side in (-1, 1):
        sheet.disc(side * 0.32, -0.16, 0.21, _WHITE, high=0.24)
        sheet.disc(side * 0.32, -0.12, 0.085, _INK)
    mouth = [*_bow(0, 0.46, 0.36, -0.16), *_bow(0, 0.56, 0.36, -0.04)[::-1]]
    sheet.shape(mouth, _MOUTH)
    sheet.stroke([*mouth, mouth[0]], 0.08)


def _happiness(sheet: _Sheet) -> None:
    for side in (-1, 1):  # eyes that smile
        sheet.stroke(_bow(side * 0.34, -0.2, 0.15, -0.2), 0.1)
    _laugh(sheet, 0.1, 0.52, 0.48)


def _sadness(sheet: _Sheet) -> None:
    _brows(sheet, inner=-0.5, outer=-0.36)
    _eyes(sheet, y=-0.12, high=0.13)
    sheet.stroke(_bow(0, 0.46, 0.3, -0.24), 0.11)
    drop = [(0.4 + 0.115 * math.sin(turn), 0.28 - 0.115 * math.cos(turn)) for turn in _steps(0.9, 2 * math.pi - 0.9)]
    sheet.shape([(0.4, 0.04), *drop], _TEAR)


def _surprise(sheet: _Sheet) -> None:
    for side in (-1, 1):
        sheet.stroke(_bow(side * 0.32, -0.54, 0.15, -0.12), 0.09)
    _eyes(sheet, y=-0.18, wide=0.12, high=0.17)
    sheet.disc(0, 0.4, 0.2, _MOUTH, high=0.26)
    sheet.disc(0, 0.54, 0.12, _TONGUE, high=0.1)


def _neutral(sheet: _Sheet) -> None:
    _eyes(sheet)
    sheet.stroke([(-0.3, 0.36), (0.3, 0.36)], 0.11)


def _contempt(sheet: _Sheet) -> None:
    _eyes(sheet, y=-0.12, high=0.1)
    for side, lift in ((-1, 0.0), (1, 0.16)):  # lids half down, one brow up
        sheet.stroke([(side * 0.17, -0.22), (side * 0.47, -0.22)], 0.08)
        sheet.stroke([(side * 0.17, -0.42 - lift / 2), (side * 0.5, -0.42 - lift)], 0.09)
    sheet.stroke([(-0.3 + 0.66 * part, 0.38 - 0.24 * part**3) for part in _steps(0, 1)], 0.11)
    sheet.stroke([(0.36, 0.04), (0.44, 0.2)], 0.07)


def _unknown(sheet: _Sheet) -> None:
    hook = [(0.24 * math.sin(turn), -0.22 - 0.24 * math.cos(turn)) for turn in _steps(-math.pi / 2, 0.75 * math.pi)]
    sheet.stroke([*hook, (0.02, 0.1), (0.0, 0.22)], 0.14)
    sheet.disc(0, 0.5, 0.095, _INK)


def _not_a_face(sheet: _Sheet) -> None:
    for side in (-1, 1):
        sheet.stroke([(-0.36 * side, -0.36), (0.36 * side, 0.36)], 0.15)


# How the features of each emotion are drawn on its disc.
FACES: Final[dict[str, Callable[[_Sheet], None]]] = {
    "anger": _anger,
    "disgust": _disgust,
    "fear": _fear,
    "happiness": _happiness,
    "sadness": _sadness,
    "surprise": _surprise,
    "neutral": _neutral,
    "contempt": _contempt,
    "unknown": _unknown,
    "not_a_face": _not_a_face,
}


@lru_cache(maxsize=64)
def emoji(emotion: str, side: int, *, uncertain: bool = False) -> Image.Image:
    """The face of an emotion.

    Args:
        emotion: One of `mien.emotions.ALL`; any other class is shown by its first letter.
        side: Width and height in pixels.
        uncertain: Half of the colour is grey, as everywhere, and there is a question mark at the side.

    Returns:
        An RGBA image, transparent around the disc. It is cached: copy it before drawing on it.
    """
    times = max(2, math.ceil(_DRAWN / side))
    sheet = _Sheet(side * times)
    colour = colour_of(emotion, uncertain)
    sheet.disc(0, 0, _OUTER, _RIM)
    sheet.disc(0, 0, _WHITE_RIM, _WHITE)
    sheet.disc(0, 0, _DISC, colour)
    if emotion in FACES:
        FACES[emotion](sheet)
    else:
        sheet.letter(emotion[:1].upper() or "?")
    if uncertain:
        badge = _Sheet(side * times * 3 // 8)
        badge.disc(0, 0, _OUTER, _RIM)
        badge.disc(0, 0, 0.9, _WHITE)
        _unknown(badge)
        sheet.image.alpha_composite(badge.image, (sheet.image.width - badge.image.width, 0))
    return sheet.image.reduce(times)
