"""Reads any common image file as (H, W, 3) uint8 RGB, upright, with a size limit that is checked before decoding.

Pillow decodes because it opens files lazily: size, colour mode and orientation are known before any pixel.
"""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from mien.errors import InputError, LimitError
from mien.media.formats import PREFIX, image_format
from mien.results import Frame, FrameResult

# Allows cameras of 100 and phones of 200 megapixels, and panoramas; decoding so many takes about 2 GB for a moment.
MAX_PIXELS: Final = 200_000_000

# The path that means standard input, and the source of the frame that is read from it.
STANDARD_INPUT: Final = "-"
_STDIN: Final = "stdin"

# The largest size of a pixel in a file (four channels of 16 bits, uncompressed), and space for what is not pixels: no
# more of a stream is read into memory.
_BYTES_PER_PIXEL, _BYTES_BESIDES, _CHUNK = 8, 64 * 2**20, 2**20

# Formats in which further images are an animation or pages; in a JPEG (MPO) they are previews and depth maps.
_SEVERAL: Final = {"GIF": "frames", "PNG": "frames", "WEBP": "frames", "AVIF": "frames", "TIFF": "pages"}

# Values without a fixed range, or in a colour space that Pillow does not convert to RGB.
_32_BITS: Final = "32-bit pixels of unknown range, expected 8 or 16 bits"
_UNREAD_MODES: Final = {"I": _32_BITS, "F": _32_BITS, "LAB": "L*a*b* pixels, expected grey, RGB or CMYK"}


def read_image(source: str | Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads one image as (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit images are converted, transparent pixels become white, and the EXIF orientation is
    applied. Only the first image of an animation or of several pages is read.

    Args:
        source: A path ("-" is standard input), a file's content, or an open binary file.
        max_pixels: The largest width times height that is decoded.

    Raises:
        LimitError: The header of the image gives more than `max_pixels`; nothing was decoded.
        InputError: The file is missing, empty, damaged, incomplete, not an image, a folder, or not readable.
    """
    return read_frame(source, max_pixels=max_pixels).image


def read_frame(source: str | Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Frame:
    """Reads one image like `read_image`, with its source, and a note if only a part of the file was read."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), "image in memory", max_pixels)
    if not isinstance(source, (str, Path)):
        name = str(getattr(source, "name", "image in a stream"))
        return _decode(_seekable(source, name, max_pixels), name, max_pixels)
    if str(source) == STANDARD_INPUT:
        return _decode(_standard_input(max_pixels), _STDIN, max_pixels)
    with _opened(str(source)) as file:
        return _decode(file, str(source), max_pixels)


def read_frames(paths: Iterable[str | Path], *, max_pixels: int = MAX_PIXELS) -> Iterator[Frame | FrameResult]:
    """Reads images one after the other, in constant memory; a thread decodes the next one while the caller works.

    Yields:
        A `Frame`, or a `FrameResult` with its `error` for an image that cannot be read.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mien-read") as thread:
        ahead: Future[Frame | FrameResult] | None = None
        for path in paths:
            current, ahead = ahead, thread.submit(_frame_or_error, str(path), max_pixels)
            if current is not None:
                yield current.result()
        if ahead is not None:
            yield ahead.result()


def as_rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An array as (H, W, 3) uint8 RGB; one that already has this form is not copied.

    Args:
        array: uint8 of shape (H, W) or (H, W, 1) grey, (H, W, 3) RGB, or (H, W, 4) RGBA, whose transparent pixels
            become white. The colour order is RGB; `cv2.imread` gives BGR: reverse it with `array[..., ::-1]`.

    Raises:
        TypeError: It is not an array of uint8.
        ValueError: It has another shape, or no pixels.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"image: expected a numpy array, got {type(array).__name__}")
    if array.dtype != np.uint8:
        raise TypeError(f"image: expected dtype uint8 with values 0-255, got {array.dtype}{_to_uint8(array.dtype)}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"image: expected shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, got {array.shape}; "
            "colour order is RGB (cv2.imread gives BGR: pass array[..., ::-1])"
        )
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if channels == 4:
        return np.array(_on_white(Image.fromarray(array)))
    return array


def _to_uint8(dtype: np.dtype[np.generic]) -> str:
    """How to convert an array of another type, if its usual range is known."""
    if dtype == np.uint16:
        return "; for 16 bits use the upper byte: (array >> 8).astype('uint8')"
    if np.issubdtype(dtype, np.floating):
        return "; if its values are 0-1: (array * 255).round().astype('uint8')"
    return ""


def _frame_or_error(path: str, max_pixels: int) -> Frame | FrameResult:
    try:
        return read_frame(path, max_pixels=max_pixels)
    except InputError as error:
        return FrameResult(_STDIN if path == STANDARD_INPUT else path, error=str(error))


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The opened file at `path`; each way in which opening can fail has its own message."""
    try:
        if os.path.isdir(path):
            raise InputError(f"'{path}' is a folder, not an image", hint="give the images in it")
        if os.path.exists(path) and not os.path.isfile(path):  # a named pipe could block
            raise InputError(f"'{path}' is not a regular file", hint="read a pipe with: mien analyze - < PIPE")
        file = open(path, "rb")  # noqa: SIM115  (closed below; only opening it is inside of `try`)
    except FileNotFoundError:
        raise InputError(f"'{path}' does not exist") from None
    except PermissionError:
        raise InputError(f"'{path}' cannot be read: permission denied") from None
    except (OSError, ValueError) as error:  # a name too long, or with a null byte
        raise InputError(f"'{path}' cannot be opened: {getattr(error, 'strerror', error)}") from None
    with file:
        yield file


def _standard_input(max_pixels: int) -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input is a terminal, expected an image", hint="mien analyze - < photo.jpg")
    return _seekable(sys.stdin.buffer, _STDIN, max_pixels)


def _seekable(file: BinaryIO, name: str, max_pixels: int) -> BinaryIO:
    """The file itself; or the content of a stream, because reading a header needs to go back to the beginning.

    A stream is refused if its first bytes are not an image, or when it becomes longer than an image can be: it may
    never end.
    """
    if file.seekable():
        return file
    part = file.read(PREFIX)
    image_format(part, name)
    limit = _BYTES_PER_PIXEL * max_pixels + _BYTES_BESIDES
    content = io.BytesIO()
    while part:
        content.write(part)
        if content.tell() > limit:
            raise LimitError(
                f"'{name}' has more than {limit:,} bytes, the limit for an image",
                hint="scale the image down, or read it with a higher max_pixels",
            )
        part = file.read(_CHUNK)
    return content


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Frame:
    """The image in a seekable file; `name` is for messages."""
    file.seek(0)
    kind = image_format(file.read(PREFIX), name)
    try:
        # Image.open would check the size against Image.MAX_IMAGE_PIXELS, which is a setting of the whole process, and
        # issue warnings. Its registry also opens the header, and leaves the limit to us.
        file.seek(0)
        image = Image.OPEN[kind][0](file, name)
        _check_size(image, name, max_pixels)
        note = _note(image, kind)
        ImageOps.exif_transpose(image, in_place=True)
        return Frame(_to_rgb(image, name), source=name, note=note)
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise LimitError(f"'{name}' needs more memory than is available") from None
    except Exception as error:
        # For damaged files Pillow raises many kinds of exceptions: OSError, SyntaxError, ValueError, IndexError,
        # struct.error, zlib.error ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"'{name}' is a {kind} file that is damaged or incomplete: {reason}") from error


def _check_size(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise LimitError(
            f"'{name}' has {image.width} x {image.height} = {pixels:,} pixels, the limit is {max_pixels:,}",
            hint="scale the image down, or read it with a higher max_pixels",
        )


def _note(image: ImageFile.ImageFile, kind: str) -> str | None:
    """What to tell if the file has more images than the first one, which is read."""
    count = getattr(image, "n_frames", 1)
    return f"only the first of {count} {_SEVERAL[kind]} was read" if kind in _SEVERAL and count > 1 else None


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow does with 16-bit colour.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _UNREAD_MODES:
        raise InputError(f"'{name}' has {_UNREAD_MODES[image.mode]}", hint="convert it to PNG or JPEG")
    return np.array(_on_white(image))


def _on_white(image: Image.Image) -> Image.Image:
    """The image in RGB, with transparent pixels on white."""
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return image.convert("RGB")
