"""Decodes one image file: upright RGB pixels, and a note of what was ignored.

Pillow decodes because it opens files lazily: size, colour mode and orientation are known before any pixel. What else
can be read of a file that Pillow refuses is in `faults`.
"""

import inspect
import io
import sys
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from mien.errors import InputError, LimitError
from mien.media.faults import (
    LEAST_ROWS,
    collected_warnings,
    decode_incomplete,
    has_unread_pixels,
    is_incomplete,
    note_of,
    reason,
    without_metadata,
)
from mien.media.formats import PREFIX, image_format
from mien.names import printable
from mien.results import Frame

# Allows cameras of 100 and phones of 200 megapixels, and panoramas; decoding so many takes about 2 GB for a moment.
MAX_PIXELS: Final = 200_000_000

# The largest size of a pixel in a file (four channels of 16 bits, uncompressed), and space for what is not pixels: no
# more of a stream is read into memory.
_BYTES_PER_PIXEL, _BYTES_BESIDES = 8, 64 * 2**20

# Formats in which further images are an animation or pages; in a JPEG (MPO) they are previews and depth maps.
_SEVERAL: Final = {"GIF": "frames", "PNG": "frames", "WEBP": "frames", "AVIF": "frames", "TIFF": "pages"}

# Values without a fixed range, or in a colour space that Pillow does not convert to RGB.
_32_BITS: Final = "32-bit pixels of unknown range, expected 8 or 16 bits"
_UNREAD_MODES: Final = {"I": _32_BITS, "F": _32_BITS, "LAB": "L*a*b* pixels, expected grey, RGB or CMYK"}

# Formats whose 16-bit pixels some versions of Pillow read into a 32-bit image.
_AT_MOST_16_BITS: Final = {"PNG", "PPM"}

# 16-bit pixels up to this many bits are stretched: cameras and scanners store 10, 12 or 14 bits in 16.
_LOW_BITS: Final = 14

# TIFF's tag of the kind of an image; its lowest bit marks a preview, with which raw photographs begin.
_SUBFILE: Final = 0x00FE

# EXIF's tag of the orientation, and what turns each upright (EXIF 2.3, 4.6.4).
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# An image as stored, and which of its rows are complete: (H,) bool, None for all.
_Decoded = tuple[Image.Image, NDArray[np.bool_] | None]

# No message repeats more characters of an input.
_MOST_SHOWN: Final = 80


def shown(text: str) -> str:
    """An input as a message repeats it: on one line, a long one without its middle."""
    text = printable(text)
    head, tail = _MOST_SHOWN // 4, _MOST_SHOWN - _MOST_SHOWN // 4 - 1
    return text if len(text) <= _MOST_SHOWN else f"{text[:head]}…{text[-tail:]}"


def decode(file: BinaryIO, source: str, max_pixels: int) -> Frame:
    """The image in a seekable file.

    Args:
        file: The file, at any place.
        source: The source of the frame, and the name in messages.
        max_pixels: The largest width times height that is decoded.

    Raises:
        LimitError: The header of the image gives more than `max_pixels`; nothing was decoded.
        InputError: The file is empty, damaged, incomplete, or not an image.
    """
    name = shown(source)
    try:
        file.seek(0)
        start = first_bytes(file)
    except (TypeError, InputError):
        raise
    except Exception as error:  # of a failing disk or connection, a damaged archive, a file of the caller's own kind
        raise InputError(f"'{name}' cannot be read: {reason(error)}") from error
    kind = image_format(start, name)
    try:
        with collected_warnings() as notes:
            image, complete = _Reader(file, kind, name, max_pixels, notes).read()
            return upright_frame(image, source, notes, complete)
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise LimitError(f"'{name}' needs more memory than is available") from None
    except Exception as error:
        if has_unread_pixels(error):
            raise InputError(
                f"'{name}' is a {kind} file with a kind of pixels that is not read, such as 32-bit floats",
                hint="convert it to PNG or JPEG",
            ) from error
        # For damaged files Pillow raises many kinds of exceptions: OSError, SyntaxError, ValueError, IndexError,
        # struct.error, zlib.error ...
        raise InputError(f"'{name}' is a {kind} file that is damaged or incomplete: {reason(error)}") from error


class _Reader:
    """Decodes one file; if that fails, its file without metadata, or what a file that ends too early still has.

    Args:
        file: The file.
        kind: Its format.
        name: For messages.
        max_pixels: The largest width times height that is decoded.
        notes: Gets what was ignored.
    """

    def __init__(self, file: BinaryIO, kind: str, name: str, max_pixels: int, notes: list[str]) -> None:
        self.file, self.kind, self.name, self.max_pixels, self.notes = file, kind, name, max_pixels, notes

    def read(self) -> _Decoded:
        """The decoded image.

        Raises:
            Exception: Whatever Pillow raises for a damaged file.
        """
        try:
            image = self._opened(self.file)
            self._count(image)
            raw = str(image.tile[0][3]) if image.tile else ""  # what is stored: "RGB;16B" for example
            image.load()
            if ";16" in raw and image.mode in {"RGB", "RGBA"}:
                self._stretch_colours(image)
            if not ImageFile.LOAD_TRUNCATED_IMAGES:  # else Pillow fills missing rows without an error
                return image, None
            failure: Exception = OSError("image file is truncated")
        except (InputError, Image.DecompressionBombError, MemoryError):
            raise
        except Exception as error:
            failure = error
        self.file.seek(0)
        content = self.file.read(most_bytes(self.max_pixels))
        if is_incomplete(failure) and (found := self._incomplete(content)):
            return found
        for separated in without_metadata(content, self.kind):
            if found := self._without_metadata(separated):
                self.notes.append(f"damaged or too large metadata was ignored: {reason(failure)}")
                return found
        raise failure

    def _opened(self, file: BinaryIO) -> ImageFile.ImageFile:
        # Image.open would check the size against Image.MAX_IMAGE_PIXELS, which is a setting of the whole process, and
        # issue warnings. Its registry also opens the header, and leaves the limit to us. Without a file name: Pillow
        # would open that file again, to map it into memory, and `file` may be a part of it.
        file.seek(0)
        image: ImageFile.ImageFile = Image.OPEN[self.kind][0](file, "")
        check_size(image, self.name, self.max_pixels)
        return image

    def _count(self, image: ImageFile.ImageFile) -> None:
        """Notes if the file has more images than the first one, which is read, or if this is only a small preview."""
        if self.kind in _SEVERAL and (count := getattr(image, "n_frames", 1)) > 1:
            self.notes.append(f"only the first of {count} {_SEVERAL[self.kind]} was read")
        if self.kind == "TIFF" and int(getattr(image, "tag_v2", {}).get(_SUBFILE, 0)) & 1:
            self.notes.append("only a preview of the image was read; convert raw photographs to JPEG or TIFF first")

    def _stretch_colours(self, image: ImageFile.ImageFile) -> None:
        """Stretches 16-bit colours that use only the low range; Pillow keeps the upper byte of each, nearly nothing."""
        if np.asarray(image)[..., :3].max() >= 1 << (_LOW_BITS - 8):
            return
        # With the other order of bytes, Pillow keeps the lower byte.
        other = self._opened(self.file)
        for number, tile in enumerate(other.tile):
            raw, *rest = (tile[3],) if isinstance(tile[3], str) else tuple(tile[3] or ())
            last = "L" if raw[-1] == "B" or (raw[-1] == "N" and sys.byteorder == "big") else "B"
            arguments = (raw[:-1] + last, *rest) if rest else raw[:-1] + last
            changed: Any = (*tile[:3], arguments)
            other.tile[number] = type(tile)(*changed) if hasattr(tile, "_fields") else changed  # older: a plain tuple
        other.load()
        values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(other)
        values[..., :3] = _to_8_bits(values[..., :3], self.notes)
        values[..., 3:] >>= 8  # transparency has the whole range
        image.paste(Image.fromarray(values.astype(np.uint8)))

    def _without_metadata(self, content: bytes) -> _Decoded | None:
        """The image in a file without its metadata; None if this was not what was damaged."""
        try:
            image = self._opened(io.BytesIO(content))
            image.load()
        except InputError:
            raise
        except Exception as error:
            return self._incomplete(content) if is_incomplete(error) else None
        return image, None

    def _incomplete(self, content: bytes) -> _Decoded | None:
        """The image in a file that ends too early; None if nothing of it can be decoded.

        Raises:
            InputError: It has less than 90% of its rows.
        """
        try:
            image, complete = decode_incomplete(self._opened, content, self.kind)
        except InputError:
            raise
        except Exception:
            return None
        rows, height = int(complete.sum()), len(complete)
        if rows < LEAST_ROWS * height:
            raise InputError(
                f"'{self.name}' is a {self.kind} file that is damaged or incomplete: "
                f"it has {rows} of {height} rows, expected at least {LEAST_ROWS:.0%} of them"
            )
        if rows < height:
            self.notes.append(f"the file ends too early: {rows} of {height} rows were read, the others are black")
        elif not ImageFile.LOAD_TRUNCATED_IMAGES:
            self.notes.append("the file ends too early: all rows were read")
        return image, complete


def check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raises LimitError for an image of more than `max_pixels`; `name` is for the message."""
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise LimitError(
            f"'{name}' has {image.width} x {image.height} = {pixels:,} pixels, the limit is {max_pixels:,}",
            hint="scale the image down",
        )


def upright_frame(
    image: Image.Image, source: str, notes: list[str], complete: NDArray[np.bool_] | None = None
) -> Frame:
    """The frame of a decoded image, converted and turned upright.

    Args:
        image: The image, as stored.
        source: The source of the frame.
        notes: What was ignored so far; the frame's note.
        complete: (H,) bool, the rows that the file has; the others become black. None for all.
    """
    turn = _orientation(image, notes)
    rgb = _to_rgb(image, shown(source), notes)
    if complete is not None:
        pixels = np.array(rgb)
        pixels[~complete] = 0
        rgb = Image.fromarray(pixels)
    upright = rgb if turn is None else rgb.transpose(turn)
    return Frame(np.array(upright), source=source, note=note_of(notes))


def _orientation(image: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """What turns the image upright; None if it is upright or does not say."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:
        notes.append(f"the EXIF data was ignored: {reason(error)}")
        return None


def _to_rgb(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _AT_MOST_16_BITS):
        image = Image.fromarray(_to_8_bits(np.asarray(image), notes))
    if image.mode in _UNREAD_MODES:
        raise InputError(f"'{name}' has {_UNREAD_MODES[image.mode]}", hint="convert it to PNG or JPEG")
    return on_white(image)


def _to_8_bits(values: NDArray[np.integer], notes: list[str]) -> NDArray[np.uint8]:
    """The highest 8 of the 16 bits, as Pillow does with 16-bit colour; or of those that are used, if these are few."""
    most = int(values.max())
    bits = max(8, most.bit_length())
    if bits > _LOW_BITS:
        return (values >> 8).astype(np.uint8)
    if most > 0:
        notes.append(f"its 16-bit pixels use only {bits} bits (maximum {most}) and were stretched to the full range")
    return (values >> (bits - 8)).astype(np.uint8)


def on_white(image: Image.Image) -> Image.Image:
    """The image in RGB, with transparent pixels on white."""
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return image.convert("RGB")


def first_bytes(file: BinaryIO) -> bytes:
    """The bytes that tell the format; TypeError for a file in text mode or an asynchronous one."""
    part: object = file.read(PREFIX)
    if isinstance(part, bytes):
        return part
    if inspect.iscoroutine(part):
        part.close()  # else Python warns that it was not awaited
    raise TypeError(f"expected a binary file, whose read() gives bytes; this one gives {type(part).__name__}")


def most_bytes(max_pixels: int) -> int:
    """The most bytes that an image file has: no more of it is read into memory."""
    return _BYTES_PER_PIXEL * max_pixels + _BYTES_BESIDES
