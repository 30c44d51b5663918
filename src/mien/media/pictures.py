"""Any common picture file to (H, W, 3) uint8 RGB, upright, with a limit that holds before decoding.

Pillow decodes, because its opening is lazy: size, colour mode and orientation are known before a pixel is.
"""

import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mien.errors import InputError, LimitError
from mien.results import Frame, FrameResult

__all__ = ["FORMATS", "MAX_PIXELS", "as_rgb", "read_frames", "read_picture"]

# Passes cameras of 100 and telephones of 200 megapixels; decoding that many takes about 2 GB for a moment.
MAX_PIXELS: Final = 200_000_000

# Pillow's names of the formats that are read; importing their plugins is what registers them with Pillow.
FORMATS: Final = tuple(
    plugin.format
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        GifImagePlugin.GifImageFile,
        AvifImagePlugin.AvifImageFile,
    )
)


def read_picture(source: str | Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads one picture as (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit pictures are converted, transparent ones laid on white, and the EXIF
    orientation is applied. Of an animation the first frame is read.

    Args:
        source: A path, a file's content, or an open binary file.
        max_pixels: The largest width times height that is decoded.

    Raises:
        LimitError: The picture's header announces more than `max_pixels`; nothing was decoded.
        InputError: The file is missing, empty, damaged, cut short, no picture, a folder, or may not be read.
    """
    if isinstance(source, (str, Path)):
        name = str(source)
        with _opened(name) as file:
            return _decode(file, name, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), "picture in memory", max_pixels)
    # A pipe cannot go back to its beginning, which the header asks for.
    file = source if source.seekable() else io.BytesIO(source.read())
    return _decode(file, str(getattr(source, "name", "picture in a stream")), max_pixels)


def read_frames(paths: Iterable[str | Path], *, max_pixels: int = MAX_PIXELS) -> Iterator[Frame | FrameResult]:
    """Reads pictures one after the other, in order; memory does not grow with their number.

    While the caller works on one picture the next is decoded on a thread.

    Yields:
        A `Frame`, or for a picture that cannot be read a `FrameResult` with its `error`.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mien-read") as thread:
        ahead: Future[Frame | FrameResult] | None = None
        for path in paths:
            current, ahead = ahead, thread.submit(_read_frame, str(path), max_pixels)
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
        raise TypeError(f"picture: expected a numpy array, got {type(array).__name__}")
    if array.dtype != np.uint8:
        raise TypeError(f"picture: expected dtype uint8 with values 0-255, got {array.dtype}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"picture: expected shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, got {array.shape}; "
            "colour order is RGB (cv2.imread gives BGR: pass array[..., ::-1])"
        )
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if channels == 4:
        return np.array(_on_white(Image.fromarray(array)))
    return array


def _read_frame(path: str, max_pixels: int) -> Frame | FrameResult:
    try:
        return Frame(read_picture(path, max_pixels=max_pixels), source=path)
    except InputError as error:
        return FrameResult(path, error=error.message)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The file at `path`, open; every way in which that can fail has its own words."""
    try:
        if os.path.isdir(path):
            raise InputError(f"'{path}' is a folder, not a picture", hint="name the pictures inside it")
        if os.path.exists(path) and not os.path.isfile(path):  # a named pipe would wait for ever
            raise InputError(f"'{path}' is not a regular file")
        file = open(path, "rb")  # noqa: SIM115  (closed below; only the opening may be caught here)
    except FileNotFoundError:
        raise InputError(f"'{path}' does not exist") from None
    except PermissionError:
        raise InputError(f"'{path}' may not be read: permission denied") from None
    except (OSError, ValueError) as error:  # a name too long, or with a null byte
        raise InputError(f"'{path}' cannot be opened: {getattr(error, 'strerror', error)}") from None
    with file:
        yield file


def _decode(file: BinaryIO, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """The picture in `file`, a seekable one; `name` is for messages."""
    file.seek(0)
    prefix = file.read(16)
    if not prefix:
        raise InputError(f"'{name}' is empty: 0 bytes")
    kind = _format(prefix)
    if kind is None:
        raise InputError(f"'{name}' is not a picture", hint=f"these are read: {', '.join(FORMATS)}")
    try:
        # Image.open would judge the size by Image.MAX_IMAGE_PIXELS, which belongs to the whole process, and
        # with warnings. The registry that it uses opens the header likewise and leaves the limit to us.
        file.seek(0)
        image = Image.OPEN[kind][0](file, name)
        _check_size(image, name, max_pixels)
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image, name)
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise LimitError(f"'{name}' holds more pixels than can be decoded here") from None
    except Exception as error:
        # Pillow's decoders meet damaged files with nearly every exception there is: OSError, SyntaxError,
        # ValueError, IndexError, struct.error, zlib.error ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"'{name}' is a {kind} file that is damaged or cut short: {reason}") from error


def _format(prefix: bytes) -> str | None:
    """The format that a file's first 16 bytes announce, by Pillow's own tests; None for none of `FORMATS`."""
    for name in FORMATS:
        accepts = Image.OPEN[name][1]
        # A format that this Pillow was built without answers with a sentence instead of True.
        if accepts is not None and accepts(prefix) is True:
            return name
    return None


def _check_size(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise LimitError(
            f"'{name}' holds {image.width} x {image.height} = {pixels:,} pixels, the limit is {max_pixels:,}",
            hint="scale the picture down or raise the limit",
        )


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow itself takes it from 16-bit colour.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"'{name}' has 32-bit pixels of unknown range, expected 8 or 16 bits")
    return np.array(_on_white(image))


def _on_white(image: Image.Image) -> Image.Image:
    """The picture in RGB, what is transparent laid on white."""
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return image.convert("RGB")
