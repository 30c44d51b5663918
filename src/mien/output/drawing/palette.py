"""What everything drawn has in common: one colour per emotion, and the typeface."""

import colorsys
import zlib
from functools import lru_cache
from typing import Final

from PIL import ImageFont

from mien.errors import UnsupportedError

RGB = tuple[int, int, int]

# Bright enough for a dark background. Any two differ in lightness or along blue-yellow as well, which people with
# red-green blindness see (a test measures it). The name is always written beside the colour.
COLOURS: Final[dict[str, RGB]] = {
    "anger": (240, 78, 62),
    "disgust": (70, 175, 100),
    "fear": (190, 152, 255),
    "happiness": (255, 210, 63),
    "sadness": (56, 128, 240),
    "surprise": (64, 206, 228),
    "neutral": (224, 224, 224),
    "contempt": (238, 120, 176),
    "unknown": (150, 155, 165),
    "not_a_face": (110, 115, 125),
}

_MUTED: Final = (140, 145, 155)


def colour_of(emotion: str | None, uncertain: bool = False) -> RGB:
    """The colour of an emotion, half of it grey if uncertain; white for a face without an expression.

    A class that is not in `COLOURS` (of a model trained on other labels) has a hue computed from its name, the same
    everywhere; two of them may be similar.
    """
    if emotion is None:
        return (255, 255, 255)
    colour = COLOURS.get(emotion) or _computed(emotion)
    if not uncertain:
        return colour
    red, green, blue = ((part + grey) // 2 for part, grey in zip(colour, _MUTED, strict=True))
    return red, green, blue


def _computed(name: str) -> RGB:
    """A colour for another class, as bright as the emotions' colours."""
    hue = zlib.crc32(name.encode("utf-8", "replace")) / 2**32
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.68, 0.62))
    return red, green, blue


@lru_cache(maxsize=32)
def typeface(size: float) -> ImageFont.FreeTypeFont:
    """Aileron, the typeface that comes with Pillow."""
    font = ImageFont.load_default(max(size, 1))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UnsupportedError(
            "this Pillow was built without FreeType, which is needed to write text on images",
            hint="pip install --force-reinstall pillow",
        )
    return font
