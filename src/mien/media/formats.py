"""The formats of images: which the installed Pillow can read, how each is recognised, and errors for all others.

Pillow's plugins recognise most formats by the first bytes of a file, whatever its suffix. The exceptions are ISO files
(AVIF, HEIF), whose first brand does not tell the coding, and Netpbm and TGA, whose plugins accept too much.
"""

import struct
from importlib.util import find_spec
from pathlib import PurePath
from typing import Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow before 11.3
    AvifImagePlugin = None  # type: ignore[assignment]

from mien.errors import InputError
from mien.media import kinds

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
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        PpmImagePlugin.PpmImageFile,
        TgaImagePlugin.TgaImageFile,  # the last: it has no signature
    )
)

# The suffixes of each format, also of those that need another Pillow or a plugin: a folder with such files is read, and
# each of them gives an error that names what is missing.
SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
}

# The number of bytes that are enough to recognise a format, or a kind of file that is not read.
PREFIX: Final = 264

# The names of contents without one.
MEMORY, STREAM = "image in memory", "image in a stream"

# What to do with a video where an image is expected, in Python.
ALONE: Final = "analyze it on its own, mien.analyze(PATH), or with mien.media.open_frames"

# The same for the content of a file.
AS_FILE: Final = (
    "write it to a file first, such as tempfile.NamedTemporaryFile(), and give its name: mien.analyze(PATH)"
)

# Libraries that Pillow may have been built without, by format.
_LIBRARIES: Final = {"JPEG": "jpg", "PNG": "zlib", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
_REBUILT: Final = "pip install --force-reinstall --upgrade pillow"
_NEWER: Final = "pip install --upgrade 'pillow>=11.3'"

# Codings that the brands of an ISO file announce (ISO/IEC 23008-12, annex B; AV1 Image File Format, section 7).
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})


def what_is_missing(name: str) -> str:
    """The command that makes a format of `SUFFIXES` readable here; "" if it already is."""
    if name == "HEIF":
        return "" if find_spec("pillow_heif") else "pip install pillow-heif"
    if name not in FORMATS:
        return _NEWER
    library = _LIBRARIES.get(name)
    return "" if library is None or features.check(library) else _REBUILT


def image_format(prefix: bytes, name: str) -> str:
    """The format, a key of `SUFFIXES`, of a file that begins with `prefix`.

    Args:
        prefix: The file's first `PREFIX` bytes, or all of a shorter file.
        name: For messages, and its suffix to recognise raw photos and TGA.

    Raises:
        InputError: The file is empty, not an image, or in a format that cannot be read here; the message says what it
            is, and the hint what to do.
    """
    if not prefix:
        raise InputError(f"'{name}' is empty: 0 bytes")
    known = _known(prefix, name)
    if known is None:
        raise _refused(prefix, name)
    if missing := what_is_missing(known):
        if known == "HEIF":
            raise InputError(
                f"'{name}' is a HEIF image, which Pillow cannot decode",
                hint=f"{missing}; or convert it first: heif-convert photo.heic photo.jpg",
            )
        lacks = "was built without" if known in FORMATS else "does not read"
        raise InputError(f"'{name}' is in the format {known}, which the installed Pillow {lacks}", hint=missing)
    if known == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return known


def is_image(prefix: bytes, name: str) -> bool:
    """Whether a file that begins with `prefix` is in a format of `SUFFIXES`, readable here or not."""
    return _known(prefix, name) is not None


def _known(prefix: bytes, name: str) -> str | None:
    """The format of a file; None if it has none that Pillow could read."""
    if _is_raw(prefix, name):
        return None
    brands = _brands(prefix)
    if brands & _AVIF:
        return "AVIF"
    if brands & _HEIF:
        return "HEIF"
    for known in FORMATS:
        if known == "PPM":
            answer: bool | str = prefix[:1] == b"P" and prefix[1:2] in b"123456fF" and prefix[2:3] in b" \t\r\n#"
        elif known == "TGA":
            answer = _is_tga(prefix, name)
        else:
            accepts = Image.OPEN[known][1]
            answer = accepts(prefix) if accepts is not None else False
        if answer:  # text, if this Pillow was built without the decoder
            return known
    return None


def _is_raw(prefix: bytes, name: str) -> bool:
    """Whether it is a camera's raw photo; most of them begin as TIFF files, and their suffix tells the difference."""
    content = kinds.by_content(prefix)
    return content is kinds.RAW or (prefix[:4] in (b"II*\0", b"MM\0*") and kinds.by_suffix(name) is kinds.RAW)


def _is_tga(prefix: bytes, name: str) -> bool:
    """Whether the header is one of TGA (Truevision TGA file format specification 2.0, section 3).

    There is no signature: a file without the suffix must have no colour map, or use the one that it has.
    """
    if len(prefix) < 18:
        return False
    has_map, kind, width, height, depth = struct.unpack("<xBB9xHHBx", prefix[:18])
    if has_map > 1 or kind not in (1, 2, 3, 9, 10, 11) or depth not in (1, 8, 15, 16, 24, 32) or not width * height:
        return False
    usual = has_map == 1 if kind in (1, 9) else not any(prefix[1:2] + prefix[3:8])
    return usual or PurePath(name).suffix.lower() in SUFFIXES["TGA"]


def _refused(prefix: bytes, name: str) -> InputError:
    """The error for a file that is in none of the formats."""
    by_content, by_suffix = kinds.by_content(prefix), kinds.by_suffix(name)
    kind = kinds.RAW if _is_raw(prefix, name) else by_content or by_suffix
    if kind is kinds.TEXT and by_suffix in (kinds.VECTOR, kinds.HTML):  # text as well, which says less
        kind = by_suffix
    if kind is kinds.ARCHIVE and by_suffix is kinds.DOCUMENT:  # a ZIP file as well
        kind = by_suffix
    if kind is None:
        return InputError(f"'{name}' is not an image", hint=f"mien reads {', '.join(FORMATS)}")
    return _unread(kind, name)


def _unread(kind: kinds.Kind, name: str) -> InputError:
    hint = kind.advice or f"mien reads {', '.join(FORMATS)}"
    if kind is kinds.VIDEO:
        hint = AS_FILE if name in (MEMORY, STREAM) else f"{ALONE}; or {hint}"
    if kind is kinds.OTHER_IMAGE:
        return InputError(f"'{name}' is an image of a kind that mien does not read", hint=hint)
    if kind.is_image:
        return InputError(f"'{name}' is {kind.one}, which mien does not read", hint=hint)
    return InputError(f"'{name}' is not an image but {kind.one}", hint=hint)


def _brands(prefix: bytes) -> frozenset[bytes]:
    """The major and the compatible brands of an ISO file (ISO/IEC 14496-12, 4.3); nothing for any other file."""
    if prefix[4:8] != b"ftyp":
        return frozenset()
    length = min(struct.unpack(">I", prefix[:4])[0], len(prefix))
    return frozenset({prefix[8:12], *(prefix[place : place + 4] for place in range(16, length - 3, 4))})
