"""What kind of image a file is, from its first bytes; and what to say of the kinds that are not read.

A kind is what Pillow calls a format. Its plugins do the telling, except for the family of ISO files (AVIF, HEIF),
whose first name alone does not tell a image's coding.
"""

import struct
from typing import Final

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow before 11.3
    AvifImagePlugin = None  # type: ignore[assignment]

from mien.errors import InputError

__all__ = ["FORMATS", "PREFIX", "image_format"]

# Pillow's names of the formats that are read; importing their plugins is what registers them with Pillow.
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

# Bytes that suffice to tell a kind.
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
        InputError: It is empty, no image, or of a kind that is not read here (HEIF; AVIF where Pillow was built
            without it), with what to do instead.
    """
    if not prefix:
        raise InputError(f"'{name}' is empty: 0 bytes")
    brands = _brands(prefix)
    if brands & _HEIF and not brands & _AVIF:
        raise InputError(
            f"'{name}' is a HEIF image, which is not read: its coding, HEVC, is none that Pillow decodes",
            hint="convert it first: heif-convert photo.heic photo.jpg; or let the telephone store JPEG",
        )
    if brands & _AVIF and "AVIF" not in FORMATS:
        raise InputError(
            f"'{name}' is in the format AVIF, which the installed Pillow does not read",
            hint="pip install --upgrade 'pillow>=11.3'",
        )
    for kind in FORMATS:
        accepts = Image.OPEN[kind][1]
        answer = accepts(prefix) if accepts is not None else False
        if answer is True:
            return kind
        if answer:  # a sentence, which says that this Pillow was built without the decoder
            raise InputError(
                f"'{name}' is in the format {kind}, which the installed Pillow was built without",
                hint="pip install --force-reinstall --upgrade pillow",
            )
    raise InputError(f"'{name}' is not a image", hint=f"these are read: {', '.join(FORMATS)}")


def _brands(prefix: bytes) -> frozenset[bytes]:
    """The major and the compatible brands of an ISO file (ISO/IEC 14496-12, 4.3); nothing for any other file."""
    if prefix[4:8] != b"ftyp":
        return frozenset()
    length = min(struct.unpack(">I", prefix[:4])[0], len(prefix))
    return frozenset({prefix[8:12], *(prefix[place : place + 4] for place in range(16, length - 3, 4))})
