"""The format of an image file, from its first bytes, and errors for the formats that cannot be read.

Pillow's plugins recognise the formats, except for ISO files (AVIF, HEIF), whose first brand does not tell the coding.
"""

import struct
from typing import Final

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow before 11.3
    AvifImagePlugin = None  # type: ignore[assignment]

from mien.errors import InputError

# Pillow's names of the formats that can be read; importing their plugins registers them with Pillow.
FORMATS: Final = tuple(
    str(plugin.format)
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        GifImagePlugin.GifImageFile,
        *([AvifImagePlugin.AvifImageFile] if AvifImagePlugin else []),
    )
)

# The number of bytes that are enough to recognise a format.
PREFIX: Final = 64

# Codings that the brands of an ISO file announce (ISO/IEC 23008-12, annex B; AV1 Image File Format, section 7).
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})


def image_format(prefix: bytes, name: str) -> str:
    """The format, one of `FORMATS`, of a file that begins with `prefix`.

    Args:
        prefix: The file's first `PREFIX` bytes, or all of a shorter file.
        name: For messages.

    Raises:
        InputError: The file is empty, not an image, or in a format that cannot be read (HEIF; AVIF if Pillow was built
            without it); the hint says what to do.
    """
    if not prefix:
        raise InputError(f"'{name}' is empty: 0 bytes")
    brands = _brands(prefix)
    if brands & _HEIF and not brands & _AVIF:
        raise InputError(
            f"'{name}' is a HEIF image, which Pillow cannot decode",
            hint="convert it first: heif-convert photo.heic photo.jpg; or set the phone to store JPEG",
        )
    if brands & _AVIF and "AVIF" not in FORMATS:
        raise InputError(
            f"'{name}' is in the format AVIF, which the installed Pillow does not read",
            hint="pip install --upgrade 'pillow>=11.3'",
        )
    for known in FORMATS:
        accepts = Image.OPEN[known][1]
        answer = accepts(prefix) if accepts is not None else False
        if answer is True:
            return known
        if answer:  # text: this Pillow was built without the decoder
            raise InputError(
                f"'{name}' is in the format {known}, which the installed Pillow was built without",
                hint="pip install --force-reinstall --upgrade pillow",
            )
    raise InputError(f"'{name}' is not an image", hint=f"mien reads {', '.join(FORMATS)}")


def _brands(prefix: bytes) -> frozenset[bytes]:
    """The major and the compatible brands of an ISO file (ISO/IEC 14496-12, 4.3); nothing for any other file."""
    if prefix[4:8] != b"ftyp":
        return frozenset()
    length = min(struct.unpack(">I", prefix[:4])[0], len(prefix))
    return frozenset({prefix[8:12], *(prefix[place : place + 4] for place in range(16, length - 3, 4))})
