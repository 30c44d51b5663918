"""One colour per emotion, wherever one is shown."""

import colorsys
import zlib
from typing import Final

__all__ = ["COLOURS", "RGB", "colour_of"]

RGB = tuple[int, int, int]

# Bright enough for a dark ground, and told apart by lightness or along blue-yellow too, which red-green
# blindness leaves intact (a test measures it). Still the name always stands beside the colour.
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
    """The colour of an emotion, half of it grey if uncertain; white for a face that was only detected.

    A class of one's own has a hue that its name decides, the same everywhere; two may come near each other.
    """
    if emotion is None:
        return (255, 255, 255)
    colour = COLOURS.get(emotion) or _own_colour(emotion)
    if not uncertain:
        return colour
    red, green, blue = ((part + grey) // 2 for part, grey in zip(colour, _MUTED, strict=True))
    return red, green, blue


def _own_colour(name: str) -> RGB:
    """As bright as the emotions' colours are."""
    hue = zlib.crc32(name.encode("utf-8", "replace")) / 2**32
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.68, 0.62))
    return red, green, blue
