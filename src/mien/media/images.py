"""Reads images as (H, W, 3) uint8 RGB, from paths, contents, streams and `data:` URIs.

Each way in which an input can fail to be a readable file has its own message.
"""

import base64
import binascii
import glob
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, LimitError
from mien.media.decode import MAX_PIXELS, decode, first_bytes, most_bytes, shown
from mien.media.faults import reason
from mien.media.find import IMAGE_SUFFIXES
from mien.media.formats import MEMORY, STREAM, image_format
from mien.results import Frame, FrameResult

# The path that means standard input, and the source of the frame that is read from it.
STANDARD_INPUT: Final = "-"
_STDIN: Final = "stdin"

# How much of a stream is read at a time, in bytes.
_CHUNK: Final = 2**20

# A URL, and how pathlib writes it: with one slash. A single letter is a drive of Windows.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(?=[^/])")
# How the formats begin in base64.
_BASE64: Final = re.compile(r"(/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk0|SUkqA|TU0AK)[A-Za-z0-9+/\s]{16,}")
_DATA_URI = "data: URI"

FileSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def read_image(source: FileSource, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads one image as (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit images are converted, transparent pixels become white, and the EXIF orientation is
    applied. Only the first image of an animation or of several pages is read. Metadata that is damaged or too large is
    ignored; a file that ends too early is read if it has at least 90% of its rows, and the missing rows are black.

    Args:
        source: A path ("-" is standard input), a `data:` URI, a file's content, or an open binary file.
        max_pixels: The largest width times height that is decoded.

    Raises:
        LimitError: The header of the image gives more than `max_pixels`; nothing was decoded.
        InputError: The file is missing, empty, damaged, incomplete, not an image, a folder, or not readable.
    """
    return read_frame(source, max_pixels=max_pixels).image


def read_frame(source: FileSource, *, max_pixels: int = MAX_PIXELS) -> Frame:
    """Reads one image like `read_image`, with its source, and a note of what was ignored or not read."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(io.BytesIO(_content(source)), MEMORY, max_pixels)
    if not isinstance(source, (str, os.PathLike)):
        return _read_stream(source, max_pixels)
    path = os.fsdecode(source)
    if path == STANDARD_INPUT:
        return decode(_standard_input(max_pixels), _STDIN, max_pixels)
    if isinstance(source, str) and path[:5].lower() == "data:":
        return decode(io.BytesIO(_data_of(path, max_pixels)), _DATA_URI, max_pixels)
    with opened(path) as file:
        return decode(file, path, max_pixels)


def read_frames(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, max_pixels: int = MAX_PIXELS
) -> Iterator[Frame | FrameResult]:
    """Reads images one after the other, in constant memory; a thread decodes the next one while the caller works.

    Args:
        paths: One or several; an iterable is read as far as it is needed.
        max_pixels: The largest width times height that is decoded.

    Yields:
        A `Frame`, or a `FrameResult` with its `error` for an image that cannot be read.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mien-read") as thread:
        ahead: Future[Frame | FrameResult] | None = None
        for path in paths:
            current, ahead = ahead, thread.submit(_frame_or_error, os.fspath(path), max_pixels)
            if current is not None:
                yield current.result()
        if ahead is not None:
            yield ahead.result()


def _frame_or_error(path: str, max_pixels: int) -> Frame | FrameResult:
    try:
        return read_frame(path, max_pixels=max_pixels)
    except InputError as error:
        return FrameResult(_STDIN if path == STANDARD_INPUT else path, error=str(error))


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The opened file at `path`; each way in which opening can fail has its own message."""
    name = shown(path)
    try:
        if os.path.isdir(path):
            os.scandir(path).close()  # one that cannot be listed has its own error
            raise InputError(
                f"'{name}' is a folder, not an image",
                hint="give the images in it; in Python, analyze(mien.media.open_frames([FOLDER]))",
            )
        if os.path.exists(path) and not os.path.isfile(path):  # a named pipe could block
            raise InputError(f"'{name}' is not a regular file", hint="read a pipe with: mien analyze - < PIPE")
        file = open(path, "rb")  # noqa: SIM115  (closed below; only opening it is inside of `try`)
    except FileNotFoundError:
        raise _not_a_path(path) or _missing(path) from None
    except PermissionError:
        raise InputError(f"'{name}' cannot be read: permission denied") from None
    except (OSError, ValueError) as error:  # a name too long, or with a null byte
        cause = getattr(error, "strerror", None) or reason(error)
        raise _not_a_path(path) or InputError(f"'{name}' cannot be opened: {cause}") from None
    with file:
        yield file


def _missing(path: str) -> InputError:
    """The error for a path at which there is no file."""
    name = shown(path)
    if os.path.islink(path):  # which a listing of the folder shows
        return InputError(f"'{name}' is a link to '{shown(os.readlink(path))}', which does not exist")
    if not glob.has_magic(path):
        return InputError(f"'{name}' does not exist")
    if all(map(os.path.isdir, glob.iglob(path, recursive=True))):
        return InputError(f"no file matches '{name}'")
    return InputError(
        f"'{name}' is a pattern, expected the name of a file",
        hint="in Python, analyze(mien.media.open_frames([PATTERN]))",
    )


def is_address(source: str | os.PathLike[str]) -> bool:
    """Whether this is a URL, which names no file: "https://example.com/photo.jpg"."""
    found = _URL.match(os.fsdecode(source))
    return found is not None and not os.path.isdir(f"{found[1]}:")


def _not_a_path(text: str) -> InputError | None:
    """The error for a text that names no file because it is no path at all."""
    if text[:5].lower() == "data:":
        return InputError(f"'{shown(text)}' is a data: URI, given as a path", hint="pass it as a str, unchanged")
    if found := _URL.match(text):
        if found[1].lower() == "file":
            return InputError(f"'{shown(text)}' is a URL, expected a path", hint="leave out 'file://'")
        url = shown(f"{found[1]}://{text[found.end() :]}")
        if PurePosixPath(text.partition("?")[0]).suffix.lower() in IMAGE_SUFFIXES:
            what = "the address of an image; only videos and streams are read from the network"
        else:
            what = "a URL, expected a path"
        return InputError(f"'{url}' is {what}", hint="download it first, and give the file")
    if _BASE64.match(text):
        return InputError(
            f"'{shown(text)}' looks like an image in base64, expected a path", hint="pass base64.b64decode(TEXT)"
        )
    if text.startswith("~"):
        return InputError(
            f"'{shown(text)}' does not exist", hint="only a shell expands ~; in Python: Path(...).expanduser()"
        )
    return None


def _content(source: bytes | bytearray | memoryview) -> bytes:
    """The bytes themselves; an error for those that are a text in the place of an image."""
    content = bytes(source)
    start = content[:4096].decode("latin-1")
    if _BASE64.match(start):
        raise InputError(f"'{shown(start)}' looks like an image in base64", hint="pass base64.b64decode(BYTES)")
    if len(content) <= 255 and b"\0" not in content and os.path.isfile(os.fsdecode(content)):
        raise InputError(
            f"'{shown(start)}' is a path in bytes, expected the content of an image", hint="pass the path as a str"
        )
    return content


def _data_of(uri: str, max_pixels: int) -> bytes:
    """The content of a `data:` URI (RFC 2397)."""
    head, comma, data = uri.partition(",")
    if not comma:
        raise InputError(f"'{shown(uri)}' is a data: URI without a comma before its data")
    _check_bytes(len(data) * 3 // 4, _DATA_URI, max_pixels)
    content = unquote_to_bytes(data)
    if not head.lower().endswith(";base64"):
        return content
    try:
        content = b"".join(content.split())
        return base64.b64decode(content + b"=" * (-len(content) % 4), altchars=None, validate=True)
    except binascii.Error as error:
        raise InputError(f"'{shown(uri)}' is a data: URI whose base64 is damaged: {reason(error)}") from None


def name_of(file: object) -> str:
    """The path of an open file; empty for a stream, whose name may be missing, None or a number."""
    name = getattr(file, "name", None)
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else ""


def _read_stream(file: BinaryIO, max_pixels: int) -> Frame:
    name = name_of(file) or STREAM
    try:
        seekable = _seekable(file, shown(name), max_pixels)
    except (OSError, ValueError) as error:  # a closed file, or a broken connection
        raise InputError(f"'{shown(name)}' cannot be read: {reason(error)}") from error
    return decode(seekable, name, max_pixels)


def _standard_input(max_pixels: int) -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input is a terminal, expected an image", hint="mien analyze - < photo.jpg")
    return _seekable(sys.stdin.buffer, _STDIN, max_pixels)


def _seekable(file: BinaryIO, name: str, max_pixels: int) -> BinaryIO:
    """The file itself; or the content of a stream, because reading a header needs to go back to the beginning.

    A stream is refused if its first bytes are not an image, or when it becomes longer than an image can be: it may
    never end.
    """
    if hasattr(file, "seekable") and file.seekable():
        return file
    part = first_bytes(file)
    image_format(part, name)
    content = io.BytesIO()
    while part:
        content.write(part)
        _check_bytes(content.tell(), name, max_pixels)
        part = file.read(_CHUNK)
    return content


def _check_bytes(size: int, name: str, max_pixels: int) -> None:
    limit = most_bytes(max_pixels)
    if size > limit:
        raise LimitError(
            f"'{name}' has more than {limit:,} bytes, the limit for an image",
            hint="scale the image down",
        )
