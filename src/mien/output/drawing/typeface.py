"""The typeface of what is written on images."""

from functools import lru_cache

from PIL import ImageFont

from mien.errors import UnsupportedError

__all__ = ["typeface"]


@lru_cache(maxsize=32)
def typeface(size: float) -> ImageFont.FreeTypeFont:
    """Aileron, which Pillow carries with it."""
    font = ImageFont.load_default(max(size, 1))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UnsupportedError(
            "this Pillow was built without FreeType, which writes text on images",
            hint="pip install --force-reinstall pillow",
        )
    return font
