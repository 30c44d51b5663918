"""Any common image file to (H, W, 3) uint8 RGB, upright, with a limit that holds before decoding.

Pillow decodes, because its opening is lazy: size, colour mode and orientation are known before a pixel is.
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

__all__ = ["MAX_PIXELS", "STANDARD_INPUT", "as_rgb", "read_frame", "read_frames", "read_image"]

# Passes cameras of 100 and telephones of 200 megapixels, and panoramas; decoding that many takes about 2 GB for
# a moment.
MAX_PIXELS: Final = 200_000_000

# The path that stands for standard input, and the source of the frame that was read from it.
STANDARD_INPUT: Final = "-"
_STDIN: Final = "stdin"

# The most that one pixel takes in a file (four channels of 16 bits, uncompressed), and room for what is not pixels:
# more of a stream is not taken into memory.
_BYTES_PER_PIXEL, _BYTES_BESIDES, _CHUNK = 8, 64 * 2**20, 2**20

# Formats whose further images are an animation, or pages; those of a JPEG (MPO) are previews and depth maps.
_SEVERAL: Final = {"GIF": "frames", "PNG": "frames", "WEBP": "frames", "AVIF": "frames", "TIFF": "pages"}

# Values of no fixed range, or of a colour space that Pillow does not turn into RGB.
_32_BITS: Final = "32-bit pixels of unknown range, expected 8 or 16 bits"
_UNREAD_MODES: Final = {"I": _32_BITS, "F": _32_BITS, "LAB": "L*a*b* pixels, expected grey, RGB or CMYK"}


def read_image(source: str | Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads one image as (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit images are converted, transparent ones laid on white, and the EXIF
    orientation is applied. Of an animation or of several pages the first is read.

    Args:
        source: A path ("-" is standard input), a file's content, or an open binary file.
        max_pixels: The largest width times height that is decoded.

    Raises:
        LimitError: The image's header announces more than `max_pixels`; nothing was decoded.
        InputError: The file is missing, empty, damaged, cut short, no image, a folder, or may not be read.
    """
    return read_frame(source, max_pixels=max_pixels).image


def read_frame(source: str | Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Frame:
    """Reads one image, as `read_image` does, with where it came from and a note where not all of it was read."""
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
    """Reads images one after the other, in order; memory does not grow with their number.

    While the caller works on one image the next is decoded on a thread.

    Yields:
        A `Frame`, or for a image that cannot be read a `FrameResult` with its `error`.
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
    """A user's array as (H, W, 3) uint8 RGB; one that already is that is returned as it is, not copied.

    Args:
        array: uint8 of shape (H, W) or (H, W, 1) grey, (H, W, 3) RGB, or (H, W, 4) RGBA, to be laid on
            white. The colour order is RGB; `cv2.imread` gives BGR: turn it with `array[..., ::-1]`.

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
    """What to do with an array of another type, where its customary range is known."""
    if dtype == np.uint16:
        return "; of 16 bits take the upper ones: (array >> 8).astype('uint8')"
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
    """The file at `path`, open; every way in which that can fail has its own words."""
    try:
        if os.path.isdir(path):
            raise InputError(f"'{path}' is a folder, not a image", hint="name the images inside it")
        if os.path.exists(path) and not os.path.isfile(path):  # a named pipe would wait for ever
            raise InputError(f"'{path}' is not a regular file", hint="of a pipe: mien analyze - < PIPE")
        file = open(path, "rb")  # noqa: SIM115  (closed below; only the opening may be caught here)
    except FileNotFoundError:
        raise InputError(f"'{path}' does not exist") from None
    except PermissionError:
        raise InputError(f"'{path}' may not be read: permission denied") from None
    except (OSError, ValueError) as error:  # a name too long, or with a null byte
        raise InputError(f"'{path}' cannot be opened: {getattr(error, 'strerror', error)}") from None
    with file:
        yield file


def _standard_input(max_pixels: int) -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input is a terminal, expected a image", hint="mien analyze - < photo.jpg")
    return _seekable(sys.stdin.buffer, _STDIN, max_pixels)


def _seekable(file: BinaryIO, name: str, max_pixels: int) -> BinaryIO:
    """The file itself, or of a stream its content: a pipe cannot go back to its beginning, which headers ask for.

    What is no image is refused from its first bytes, and what is longer than a image can be is not read on:
    a stream may never end.
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
                f"'{name}' holds more than {limit:,} bytes",
                hint="scale the image down, or read it with a higher max_pixels",
            )
        part = file.read(_CHUNK)
    return content


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Frame:
    """The image in `file`, a seekable one; `name` is for messages."""
    file.seek(0)
    kind = image_format(file.read(PREFIX), name)
    try:
        # Image.open would judge the size by Image.MAX_IMAGE_PIXELS, which belongs to the whole process, and
        # with warnings. The registry that it uses opens the header likewise and leaves the limit to us.
        file.seek(0)
        image = Image.OPEN[kind][0](file, name)
        _check_size(image, name, max_pixels)
        note = _note(image, kind)
        ImageOps.exif_transpose(image, in_place=True)
        return Frame(_to_rgb(image, name), source=name, note=note)
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise LimitError(f"'{name}' holds more pixels than can be decoded here") from None
    except Exception as error:
        # Pillow's decoders meet damaged files with nearly every exception there is: OSError, SyntaxError,
        # ValueError, IndexError, struct.error, zlib.error ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"'{name}' is a {kind} file that is damaged or cut short: {reason}") from error


def _check_size(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise LimitError(
            f"'{name}' holds {image.width} x {image.height} = {pixels:,} pixels, the limit is {max_pixels:,}",
            hint="scale the image down, or read it with a higher max_pixels",
        )


def _note(image: ImageFile.ImageFile, kind: str) -> str | None:
    """That there is more in the file than the first image, which is all that is read."""
    count = getattr(image, "n_frames", 1)
    return f"only the first of {count} {_SEVERAL[kind]} was read" if kind in _SEVERAL and count > 1 else None


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow itself takes it from 16-bit colour.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _UNREAD_MODES:
        raise InputError(f"'{name}' has {_UNREAD_MODES[image.mode]}", hint="save it as PNG or JPEG with a image editor")
    return np.array(_on_white(image))


def _on_white(image: Image.Image) -> Image.Image:
    """The image in RGB, what is transparent laid on white."""
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return image.convert("RGB")
