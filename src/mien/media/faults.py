"""Faults of image files that do not make them useless: damaged metadata, a missing end, and Pillow's warnings.

Viewers show such files; here their pixels are read as well, and a note says what was ignored.
"""

import functools
import io
import itertools
import re
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

# The share of complete rows from which an incomplete image is read.
LEAST_ROWS: Final = 0.9

# How many different warnings a note repeats, and how many characters of each.
_MOST_WARNINGS, _MOST_CHARACTERS = 3, 160


class _Collected(threading.local):
    """The warnings of the file that this thread is reading; None while it reads none."""

    messages: list[str] | None = None


_collected: Final = _Collected()


class _PillowWarnings:
    """Stands for the module `warnings` inside Pillow: what Pillow warns of while a file is read goes to its notes.

    `warnings.catch_warnings` replaces the filters of the whole process for a moment. Another thread then loses its
    warnings, or reads another thread's file under the wrong filters. Here everything but the threads that read a file
    keeps its warnings, and the filters do not matter: a file reads the same under `python -W error`.
    """

    def warn(self, message: Any, category: Any = None, stacklevel: int = 1, source: Any = None) -> None:
        if _collected.messages is None:
            warnings.warn(message, category, stacklevel + 1, source)
        else:
            _collected.messages.append(str(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


@functools.cache
def _listen() -> None:
    """Puts `_PillowWarnings` into the modules of Pillow, once; those of the formats are imported by now."""
    for name, module in list(sys.modules.items()):
        if name.startswith("PIL.") and getattr(module, "warnings", None) is warnings:
            module.warnings = _PillowWarnings()  # type: ignore[attr-defined]


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collects what Pillow warns of in this thread."""
    _listen()
    before, _collected.messages = _collected.messages, []
    try:
        yield _collected.messages
    finally:
        _collected.messages = before


def note_of(notes: Iterable[str]) -> str | None:
    """One line of several notes, each once; None for none."""
    different = [_one_line(note) for note in dict.fromkeys(notes)]
    more = len(different) - _MOST_WARNINGS
    return "; ".join(different[:_MOST_WARNINGS] + [f"and {more} more"] * (more > 0)) or None


def reason(error: Exception) -> str:
    """Why Pillow could not read something, on one line."""
    return _one_line(str(error)) or type(error).__name__


# How Pillow says that it does not read pixels of this kind; the file itself may be whole.
_UNREAD_PIXELS: Final = re.compile(
    r"unknown pixel mode|cannot handle \d+-(bit layers|layer images)|unable to determine J2K image mode"
)


def has_unread_pixels(error: Exception) -> bool:
    """Whether Pillow refused a file for the kind of its pixels, such as 32-bit floats, and not for damage."""
    return _UNREAD_PIXELS.search(str(error)) is not None


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


# --- metadata


def without_metadata(content: bytes, kind: str) -> Iterator[bytes]:
    """The file without its metadata, first with and then without its EXIF data, which has the orientation.

    Nothing for a format whose metadata cannot be separated, or if the structure of the file is damaged.
    """
    separate = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp}.get(kind)
    for exif in (True, False):
        try:
            if separate is not None and (found := separate(content, exif)):
                yield found
        except (struct.error, IndexError):
            return


def _png(content: bytes, exif: bool) -> bytes:
    """The chunks of the pixels (PNG specification, third edition, section 5). A chunk that is cut short is closed."""
    kept, place = [content[:8]], 8
    wanted = {b"IHDR", b"PLTE", b"tRNS", b"IDAT"} | ({b"eXIf"} if exif else set())
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        check = content[place + 8 + length : place + 12 + length]
        intact = check == struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
        if not name.isalpha() or name == b"IEND":
            break
        if name == b"IDAT" and len(data) < length:
            check = struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
        if name in wanted and (intact or name != b"eXIf"):
            kept += [struct.pack(">I4s", len(data), name), data, check]
        place += 12 + length
    return b"".join([*kept, struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))])


def _jpeg(content: bytes, exif: bool) -> bytes:
    """The segments of the pixels (ITU-T T.81, annex B), with JFIF's and Adobe's, which say what the colours are."""
    kept, place = [content[:2]], 2
    wanted = {0xE0, 0xEE} | ({0xE1} if exif else set())
    while content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xDA:  # start of scan: only pixels from here on
            return b"".join([*kept, content[place:]])
        if marker == 0xFF:
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE  # APP0 to APP15, and comments
        if not is_metadata or (marker in wanted and length >= _LEAST_SEGMENT):
            kept.append(content[place : place + 2 + length])
        place += 2 + length
    return b""


def _webp(content: bytes, exif: bool) -> bytes:
    """The chunks of the pixels (RFC 9649, section 2.7)."""
    kept, place = [b"WEBP"], 12
    unwanted, flags = ({b"ICCP", b"XMP "}, 0x24) if exif else ({b"ICCP", b"XMP ", b"EXIF"}, 0x2C)
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        data = content[place + 8 : place + 8 + length]
        if len(data) < length and name == b"EXIF":
            break
        if name == b"VP8X":
            data = bytes([data[0] & ~flags]) + data[1:]
        if name not in unwanted:
            kept += [struct.pack("<4sI", name, length), data, b"\0" * (length % 2)]
        place += 8 + length + length % 2
    chunks = b"".join(kept)
    return struct.pack("<4sI", b"RIFF", len(chunks)) + chunks


# The lengths of the segments of JFIF (16) and Adobe (14) are fixed; shorter ones are damaged.
_LEAST_SEGMENT: Final = 14


# --- rows of an incomplete image

_END_OF_JPEG: Final = b"\xff\xd9"
_PROGRESSIVE, _SCAN, _END = 0xC2, 0xDA, 0xD9
_MARKER: Final = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")


def is_incomplete(error: Exception) -> bool:
    """Whether Pillow failed because the file ends too early; damage inside of the file is something else."""
    return isinstance(error, OSError) and "truncated" in str(error).lower()


def decode_incomplete(
    opened: Callable[[BinaryIO], ImageFile.ImageFile], content: bytes, kind: str
) -> tuple[ImageFile.ImageFile, NDArray[np.bool_]]:
    """Decodes what a file that ends too early still has.

    The file is decoded twice, with different values in the place of what is missing. The rows that are equal in both
    do not depend on it: all their pixels are in the file. The process-wide `ImageFile.LOAD_TRUNCATED_IMAGES` is not
    touched.

    Args:
        opened: Opens the image in a file.
        content: The file.
        kind: Its format.

    Returns:
        The image, and (H,) bool: which of its rows are complete. The other rows have no meaning.

    Raises:
        Exception: Whatever Pillow raises for a file of which nothing can be decoded.
    """
    if kind == "JPEG":
        # libjpeg gives out a row some rows late, and a progressive image only at its end. So the missing end is filled.
        one, other = (opened(io.BytesIO(content.rstrip(b"\xff") + filler + _END_OF_JPEG)) for filler in _fillers())
        one.load()
        other.load()
    else:
        one, other = (_decode_over(opened(io.BytesIO(content)), value) for value in (0, 255))
    pixels = np.asarray(one)
    same: NDArray[np.bool_] = (pixels == np.asarray(other)).reshape(len(pixels), -1).all(axis=1)
    if kind == "JPEG":
        # From the first difference on, equal values are chance.
        same = np.logical_and.accumulate(same) & _has_all_scans(content)
    return one, same


def _fillers() -> Iterator[bytes]:
    """Two different random continuations of JPEG's entropy-coded data; without 0xFF, which would begin a marker."""
    return (np.random.default_rng(seed).integers(0, 255, 65536, np.uint8).tobytes() for seed in (1, 2))


def _decode_over(image: ImageFile.ImageFile, value: int) -> ImageFile.ImageFile:
    """Decodes into an image that is filled with a value before; rows that are not in the file keep it."""
    prepare = image.load_prepare

    def prepare_filled() -> None:
        prepare()
        image.im.paste(Image.new(image.im.mode, image.im.size, value).im, (0, 0, *image.im.size))

    image.load_prepare = prepare_filled  # type: ignore[method-assign]
    try:
        image.load()
    except OSError as error:
        if not is_incomplete(error):
            raise
    image.tile = []  # otherwise every access would decode again
    return image


def _has_all_scans(content: bytes) -> bool:
    """Whether a progressive JPEG has at least begun the last scan of every coefficient; true for other JPEGs.

    Each scan of a progressive image adds some coefficients, or one more bit of them (ITU-T T.81, annex G). If a scan is
    missing, all rows are there, but coarse.
    """
    missing: set[tuple[int, int]] = set()
    place = 2
    while found := _MARKER.search(content, place):
        marker, start = found[1][0], found.end()
        if marker == _END:
            break
        segment = content[start + 2 : start + int.from_bytes(content[start : start + 2], "big")]
        place = start + 2 + len(segment)
        if marker == _PROGRESSIVE and len(segment) > 5:
            missing = set(itertools.product(segment[6::3], range(64)))
        if marker == _SCAN and segment and len(segment) >= 4 + 2 * segment[0]:
            first, last, bits = segment[1 + 2 * segment[0] : 4 + 2 * segment[0]]
            if bits & 15 == 0:  # the position of the last bit that the scan has
                missing -= set(itertools.product(segment[1 : 1 + 2 * segment[0] : 2], range(first, last + 1)))
    return not missing
