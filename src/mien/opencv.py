"""What several modules do through OpenCV: change the size of images, and keep it from logging.

Coordinates are continuous: pixel i covers [i, i + 1), and x becomes factor * x.

Any build of OpenCV will do, but two builds in one environment overwrite each other's files: `warn_of_two_builds`.
"""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import UnsupportedError

_REINSTALL: Final = "pip install --force-reinstall --no-deps opencv-python-headless"

try:
    import cv2 as cv2  # noqa: PLC0414 (exported: others import it from here)
except ImportError as error:  # it is missing, or a build with windows lacks a library of the system (libGL)
    raise UnsupportedError(f"OpenCV cannot be loaded: {error}", hint=_REINSTALL) from error
if not hasattr(cv2, "warpAffine"):  # what uninstalling one of two builds leaves: an empty folder
    raise UnsupportedError("OpenCV is incomplete: its files were removed with another build of it", hint=_REINSTALL)

# What each build has besides the functions that all have.
_BUILDS: Final[dict[str, frozenset[str]]] = {
    "opencv-python": frozenset({"windows"}),
    "opencv-contrib-python": frozenset({"windows", "contrib"}),
    "opencv-python-headless": frozenset(),
    "opencv-contrib-python-headless": frozenset({"contrib"}),
}
_LOST: Final = {"windows": "cv2.imshow and the other window functions", "contrib": "OpenCV's contrib modules"}

# A crop is drawn at this many times its size and then averaged down. FER2013 faces enlarged four times come back with
# an error of 2.8 grey levels; if they are drawn at their size directly, with 5.2 (cubic) or 7.8 (linear).
OVERSAMPLING: Final = 2


def resized(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An image at `scale` times its size, at least one pixel each way.

    Shrinking averages over the area of each new pixel, so that nothing aliases; enlarging is cubic.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        scale: New pixels per old pixel, above 0.

    Returns:
        The image, and the exact factors (2,) of x and y after rounding to whole pixels.
    """
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image, np.ones(2)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    result = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    return result, np.array(size) / (width, height)


def shrunk(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Like `resized`, but faster for strong reductions: an image of 12 megapixels takes 4 ms instead of 40.

    The image is first sampled linearly at twice the final size and then averaged. Each new pixel thus depends on 16
    pixels of the image, which is enough for a detector but too few for a crop.

    Args:
        image: (H, W, 3) uint8.
        scale: New pixels per old pixel, above 0 and at most 1.
    """
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale < 0.5:
        twice = 2 * size[0], 2 * size[1]
        image = np.asarray(cv2.resize(image, twice, interpolation=cv2.INTER_LINEAR), np.uint8)
        result = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return result, np.array(size) / (width, height)
    return resized(image, scale)


def warped(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """A square cut out of an image by an affine map, drawn larger and then averaged down.

    Args:
        image: (H, W) or (H, W, 3) uint8. Outside it, its outermost pixels are repeated.
        matrix: (2, 3), maps pixels of the image to those of the larger drawing; both count from the centre of the
            first pixel, unlike elsewhere.
        size: Side of the drawing; the result has 1 / `OVERSAMPLING` of it.
    """
    drawn = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    final = (size // OVERSAMPLING, size // OVERSAMPLING)
    return np.asarray(cv2.resize(drawn, final, interpolation=cv2.INTER_AREA), np.uint8)


@contextmanager
def silent_opencv() -> Iterator[None]:
    """OpenCV logs nothing inside the `with` block: its exceptions already say what went wrong."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.13 moved the function
    level = logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)


@functools.cache
def warn_of_two_builds() -> None:
    """Warns, once per process, if several builds of OpenCV share a folder and the functions of one of them are lost.

    mien depends on `opencv-python-headless`. Installed beside another build, it overwrites the files of the other or is
    overwritten; mien works with either.
    """
    installed = _installed_builds()
    version = getattr(cv2, "version", None)
    loaded = {"windows": not getattr(version, "headless", False), "contrib": getattr(version, "contrib", True)}
    wanted = frozenset[str]().union(*(_BUILDS[name] for name in installed))
    lost = [_LOST[part] for part in _LOST if part in wanted and not loaded[part]]
    if len(installed) < 2 or not lost:
        return
    (whole,) = (name for name, parts in _BUILDS.items() if parts == wanted)
    exact = f"=={installed[whole]}" if whole in installed else ""
    warnings.warn(
        f"several builds of OpenCV share one folder ({', '.join(installed)}), and the one in use lacks "
        f"{' and '.join(lost)}. mien works with any build. To get them back: pip uninstall -y {' '.join(installed)}; "
        f"then pip install {whole}{exact}",
        stacklevel=2,
    )


def _installed_builds() -> dict[str, str]:
    """The builds, with their versions, that are installed in the folder of the loaded OpenCV."""
    # `importlib.metadata` gives the same, but reads the folders of all packages for each name: 20 ms.
    places = Path(cv2.__file__).parent.parent.glob("opencv_*.dist-info")
    stems = (place.stem.partition("-") for place in places)
    found = {name.replace("_", "-"): version for name, _, version in stems}
    return {name: found[name] for name in _BUILDS if name in found}
