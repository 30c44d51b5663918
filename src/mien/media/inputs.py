"""What a caller in Python may pass as an image: frames, files, pixels; and errors for everything else.

An object that can never be an image is refused with the conversion to write. That is a TypeError or a ValueError, as
for every wrong argument. A file that cannot be read is an InputError.
"""

import inspect
import io
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ConfigError, InputError
from mien.media.decode import MAX_PIXELS, check_size, on_white, shown, upright_frame
from mien.media.faults import collected_warnings, reason
from mien.media.formats import MEMORY, STREAM
from mien.media.images import FileSource, name_of, read_frame
from mien.results import Frame, FrameResult


@runtime_checkable
class SupportsArray(Protocol):
    """An object that NumPy converts: a tensor of PyTorch or TensorFlow in the memory of the processor, for example."""

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]: ...


# A path ("-": standard input), a `data:` URI, the content of an image file, an open binary file, or pixels.
ImageSource = FileSource | NDArray[np.uint8] | Image.Image | SupportsArray

# One of several images: results of `mien.media.open_frames` are passed on, and None is an image that was not read.
ImageItem = ImageSource | Frame | FrameResult | None

# What becomes of an image among several that cannot be read.
OnError = Literal["result", "raise"]

_FILES: Final = (str, os.PathLike, bytes, bytearray, memoryview)
_ARRAY: Final = "array"
UNNAMED: Final = (_ARRAY, MEMORY, STREAM)


def is_one(images: object) -> bool:
    """Whether this is a single image; an open file, a tensor and a mapping could be iterated too."""
    if isinstance(images, (*_FILES, Frame, FrameResult, Image.Image)) or hasattr(images, "read"):
        return True
    if not _is_array(images):
        return not isinstance(images, Iterable) or isinstance(images, Mapping) or hasattr(images, "iter_content")
    # A column of a table and an array of names are several images; a tensor is one.
    kind = getattr(getattr(images, "dtype", None), "kind", "O")
    one_dimension = getattr(images, "ndim", len(getattr(images, "shape", ()))) == 1
    return not (one_dimension and (kind in "OUST" or not isinstance(images, np.ndarray)))


def frame_of(image: object, *, max_pixels: int = MAX_PIXELS) -> Frame:
    """One image as a frame.

    Raises:
        InputError: It cannot be read.
        TypeError: It is not an image; the message has the conversion, if there is one.
        ValueError: An array has another shape.
    """
    if isinstance(image, Frame):
        return image
    if isinstance(image, Image.Image):
        return _frame_of_pil(image, max_pixels)
    if image is None:
        raise TypeError("expected a path or an array, got None; cv2.imread returns None for a file it cannot read")
    _check_type(image)
    if _is_array(image):
        return Frame(as_rgb(_as_array(image)))
    return read_frame(cast(FileSource, image), max_pixels=max_pixels)


def frames_of(images: Iterable[ImageItem], on_error: OnError = "result") -> Iterator[Frame | FrameResult]:
    """The frames of several images, each read when it is requested; what has no name is `images[N]` by its place.

    The items of a collection are checked at once; those of a generator when their turn comes. What the iterable itself
    raises is passed on.

    Args:
        images: The images; results (of `mien.media.open_frames`) are passed on.
        on_error: "result" gives a result with its `error` in the place of an image that cannot be read; "raise" raises
            its exception, or an InputError for a result with an error.

    Raises:
        ConfigError: `on_error` has another value.
        TypeError: A collection has an item that can never be an image, except None.
        ValueError: A collection has an array of another shape.
    """
    check_on_error(on_error)
    if isinstance(images, Collection):
        for number, image in enumerate(images):
            check_item(image, number)
    return _frames(images, on_error)


def check_on_error(given: object) -> None:
    """Refuses what is no `OnError`.

    Raises:
        ConfigError: It is another value.
    """
    if given not in get_args(OnError):
        raise ConfigError(
            f"on_error: there is no {shown(repr(given))}", hint=f"choose one of {', '.join(get_args(OnError))}"
        )


def _frames(images: Iterable[ImageItem], on_error: OnError) -> Iterator[Frame | FrameResult]:
    for number, image in enumerate(images):
        if isinstance(image, FrameResult):
            if image.error is not None and on_error == "raise":
                raise InputError(image.error)
            yield image
            continue
        try:
            frame: Frame | FrameResult = frame_of(image)
        except (InputError, TypeError, ValueError) as error:
            if on_error == "raise":
                raise
            frame = FrameResult(source_of(image), error=str(error))
        if frame.source in UNNAMED and not isinstance(
            image, (Frame, str, os.PathLike)
        ):  # tables are joined by the source
            frame = replace(frame, source=f"images[{number}]")
        yield frame


def check_item(image: object, number: int) -> None:
    """Refuses what can never be an image. None and an empty array can: a file that was not read, an empty crop.

    Raises:
        TypeError: It is of another type; the message has the conversion.
        ValueError: It is an array of another shape.
    """
    if image is None or isinstance(image, (Frame, FrameResult, Image.Image)):
        return
    try:
        _check_type(image)
        if _is_array(image) and (array := _as_array(image)).size:
            _check_array(array)
    except (TypeError, ValueError) as error:
        raise type(error)(f"images[{number}]: {str(error).removeprefix('image: ')}") from error


def source_of(image: object) -> str:
    """The source of the error of an image: its path, or the kind of input."""
    if isinstance(image, (str, os.PathLike)):
        path = os.fsdecode(image)
        return {"-": "stdin"}.get(path, "data: URI" if path[:5].lower() == "data:" else path)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return MEMORY
    return name_of(image) or STREAM if hasattr(image, "read") else _ARRAY


# --- what is no image


# The conversion for an object that has such an attribute: readers, responses, and frames of other packages.
_CONVERSIONS: Final = {
    "iter_content": "pass the content: response.content",
    "aiter_bytes": "pass the content: response.content",
    "to_ndarray": "pass its pixels: frame.to_ndarray(format='rgb24')",
    "asnumpy": "pass its pixels: frame.asnumpy()",
    "download": "pass its pixels, as RGB: image.download()[..., ::-1]",
    "columns": "pass the column with the paths: table['path']",
    "__await__": "await it first",
    "__aiter__": "collect it first: [image async for image in images]",
}


def _check_type(image: object) -> None:
    """Raises TypeError for an object that is no image, without reading it."""
    kind = type(image).__name__
    if isinstance(image, (*_FILES, np.ndarray)):
        return
    if type(image).__module__.startswith("cv2") and hasattr(image, "grab"):
        raise TypeError(f"expected a path or an array, got {kind}; give its frames to Analyzer.stream as mien.Frame")
    if isinstance(image, Mapping):
        raise TypeError(f"expected a path or an array, got {kind}; pass its values: list(images.values())")
    if hasattr(image, "read"):
        if inspect.iscoroutinefunction(getattr(image, "read")):  # noqa: B009  (mypy does not know the attribute)
            raise TypeError(
                f"expected an open binary file, got {kind}, whose read() is asynchronous; pass the content: "
                "await file.read()"
            )
        if isinstance(image, io.TextIOBase):
            raise TypeError("expected an open binary file, got one in text mode; open it with open(path, 'rb')")
        return
    if _is_array(image) and not hasattr(image, "columns"):
        return
    if conversion := next((text for name, text in _CONVERSIONS.items() if hasattr(image, name)), ""):
        raise TypeError(f"expected a path, an array, or several of them, got {kind}; {conversion}")
    if type(image).__module__.startswith("cv2"):
        raise TypeError(f"expected a numpy array, got {kind}; pass its pixels, as RGB: image.get()[..., ::-1]")
    camera = f"; for a camera write 'camera:{image}'" if isinstance(image, int) and 0 <= image < 100 else ""
    raise TypeError(f"expected a path, an array, or several of them, got {kind}{camera}")


def _is_array(image: object) -> bool:
    if isinstance(image, (*_FILES, type)):  # also numpy's own text; and classes have the attributes of their objects
        return False
    return isinstance(image, SupportsArray) or hasattr(image, "__array_interface__")


def _as_array(image: object) -> NDArray[Any]:
    """The array of a tensor, without a copy where the library allows it."""
    if isinstance(image, np.ndarray):
        return image
    shape, dtype = tuple(getattr(image, "shape", ())), str(getattr(image, "dtype", ""))
    if hasattr(image, "permute") and (dtype != "torch.uint8" or _is_chw(shape[-3:])):
        raise TypeError(
            f"expected a tensor of uint8 with shape (H, W, 3), got {dtype} {shape}; pass {_conversion(image, dtype)}"
        )
    try:
        return np.asarray(image)
    except Exception as error:  # in the memory of a GPU, with gradients, or of a type that NumPy does not have
        raise TypeError(
            f"the {type(image).__name__} cannot be converted to a numpy array: {reason(error)}; "
            "pass an array of uint8 with shape (H, W, 3); of a tensor of PyTorch: tensor.detach().cpu().numpy()"
        ) from error


def _conversion(tensor: Any, dtype: str) -> str:
    """How to make images of a tensor of PyTorch, if floats are 0-1."""
    shape = tuple(tensor.shape)
    steps = ".permute(1, 2, 0)" * _is_chw(shape[-3:])
    if "float" in dtype:
        steps += ".mul(255).round().byte()"
    elif dtype == "torch.bool":
        steps += ".byte().mul(255)"
    elif dtype != "torch.uint8":
        steps += ".byte()"
    batch = len(shape) == 4
    one = f"{'image' if batch else 'tensor'}.detach().cpu(){steps}"
    return f"[{one} for image in batch]" if batch else one


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
    channels = _check_array(array)
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if channels == 4:
        return np.array(on_white(Image.fromarray(array)))
    return array


def _check_array(array: NDArray[Any]) -> int:
    """The number of channels of an array that is an image."""
    if array.dtype != np.uint8:
        raise TypeError(
            f"image: expected dtype uint8 with values 0-255, got {array.dtype}{_to_uint8(array.dtype, array.shape)}"
        )
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"image: expected shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, got {array.shape}"
            f"{_to_hwc(array.shape)}; colour order is RGB (cv2.imread gives BGR: pass array[..., ::-1])"
        )
    return channels


def _to_uint8(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """How to convert an array of another type, if its usual range is known."""
    hwc = "array.transpose(1, 2, 0)" if _is_chw(shape) else "array"
    if dtype == np.uint16:
        return f"; for 16 bits use the upper byte: ({hwc} >> 8).astype('uint8')"
    if np.issubdtype(dtype, np.floating):
        return f"; if its values are 0-1: ({hwc} * 255).round().astype('uint8')"
    if dtype == np.bool_:
        return f"; for black and white: {hwc}.astype('uint8') * 255"
    return f"; if its values are 0-255: {hwc}.astype('uint8')" if np.issubdtype(dtype, np.integer) else ""


def _to_hwc(shape: tuple[int, ...]) -> str:
    """How to convert an array of another shape, if its order is known."""
    if _is_chw(shape):
        grey = f", or for a batch of {shape[0]} grey images: list(array)"
        return f"; channels come last: array.transpose(1, 2, 0){grey if shape[0] > 1 else ''}"
    if len(shape) == 3 and shape[0] and shape[2] > 4:
        return "; for a batch of grey images pass list(batch)"
    if len(shape) == 4:
        each = "[image.transpose(1, 2, 0) for image in batch]" if _is_chw(shape[1:]) else "list(batch)"
        return f"; for a batch pass {each}"
    return ""


def _is_chw(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4)


def _frame_of_pil(image: Image.Image, max_pixels: int) -> Frame:
    """The frame of an image that Pillow has opened; the image itself stays as it is."""
    source = os.fsdecode(getattr(image, "filename", "") or _ARRAY)
    name = shown(source)
    check_size(image, name, max_pixels)
    try:
        with collected_warnings() as notes:
            image.load()
            return upright_frame(image, source, notes)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the PIL image '{name}' cannot be decoded: {reason(error)}") from error
