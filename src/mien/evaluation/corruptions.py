"""Ways in which faces are worse than those of a data set: badly cropped, small, blurred, dark, covered.

Each is one strength, the same for every model, and drawn from a seed, so that scores can be compared face by face
(the idea is that of Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019; the list and the strengths are chosen here for faces of 48 pixels).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError

__all__ = ["CORRUPTIONS", "Corruption", "chosen", "corrupted"]

ImageSource = NDArray[np.uint8]
# Shapes and random numbers are those of faces this wide; larger images are treated in proportion.
_SIDE: Final = 48


@dataclass(frozen=True)
class Corruption:
    """One way.

    Attributes:
        name: What `mien evaluate --corruption` takes.
        meaning: In words.
        apply: Changes one face (H, W) or (H, W, 3), uint8, into another; may draw from the generator.
    """

    name: str
    meaning: str
    apply: Callable[[ImageSource, np.random.Generator], ImageSource]


def corrupted(images: Sequence[ImageSource] | ImageSource, name: str, seed: int = 0) -> list[ImageSource]:
    """Faces, each (H, W) grey or (H, W, 3) RGB uint8, each spoilt in its own way; some come out smaller.

    Raises:
        ConfigError: There is no such corruption.
    """
    (corruption,) = chosen([name])
    return [corruption.apply(image, np.random.default_rng([seed, row])) for row, image in enumerate(images)]


def chosen(names: Sequence[str]) -> list[Corruption]:
    """The corruptions of these names, once each; "all" is all of them.

    Raises:
        ConfigError: There is none of that name.
    """
    wanted = list(dict.fromkeys(known for name in names for known in (CORRUPTIONS if name == "all" else [name])))
    if unknown := [name for name in wanted if name not in CORRUPTIONS]:
        raise ConfigError(f"there is no corruption {', '.join(unknown)}", hint=f"known: all, {', '.join(CORRUPTIONS)}")
    return [CORRUPTIONS[name] for name in wanted]


def _warped(image: ImageSource, scale: float, shift: NDArray[np.float64], degrees: float) -> ImageSource:
    """Scaled and turned about its middle, then shifted by shares of its sides; its edge pixels go on outside."""
    height, width = image.shape[:2]
    matrix = np.array(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale))
    matrix[:, 2] += shift * np.array([width, height])
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _jitter(image: ImageSource, rng: np.random.Generator) -> ImageSource:
    return _warped(image, rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1, 2), 0.0)


def _turn(image: ImageSource, rng: np.random.Generator) -> ImageSource:
    return _warped(image, 1.0, np.zeros(2), rng.uniform(-15, 15))


def _small(side: int) -> Callable[[ImageSource, np.random.Generator], ImageSource]:
    def apply(image: ImageSource, _: np.random.Generator) -> ImageSource:
        return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)

    return apply


def _blur(image: ImageSource, _: np.random.Generator) -> ImageSource:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5 * image.shape[0] / _SIDE), np.uint8)


def _clipped(values: NDArray[np.float64]) -> ImageSource:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _noise(image: ImageSource, rng: np.random.Generator) -> ImageSource:
    return _clipped(image + rng.normal(0, 10, image.shape))


def _dark(image: ImageSource, rng: np.random.Generator) -> ImageSource:
    return _clipped(image * 0.25 + rng.normal(0, 2, image.shape))


def _jpeg(image: ImageSource, _: np.random.Generator) -> ImageSource:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def _cover(image: ImageSource, rng: np.random.Generator) -> ImageSource:
    height, width = image.shape[:2]
    top, left = (int(rng.integers(0, side - side // 3 + 1)) for side in (height, width))
    covered = image.copy()
    covered[top : top + height // 3, left : left + width // 3] = rng.integers(0, 256)
    return covered


def _mask(image: ImageSource, rng: np.random.Generator) -> ImageSource:
    """A cloth from the nose's bridge to under the chin, as FER2013's faces are framed."""
    height, width = image.shape[:2]
    outline = np.array([[0.22, 0.6], [0.5, 0.5], [0.78, 0.6], [0.74, 0.84], [0.5, 0.99], [0.26, 0.84]])
    grey = int(rng.integers(120, 240))
    colour = (grey,) * (1 if image.ndim == 2 else 3)
    points = np.rint(outline * (width, height)).astype(np.int32)
    return np.asarray(cv2.fillConvexPoly(image.copy(), points, colour, cv2.LINE_AA), np.uint8)


CORRUPTIONS: Final = {
    corruption.name: corruption
    for corruption in (
        Corruption("jitter", "crop off by up to 10% in scale and in shift", _jitter),
        Corruption("rotation", "crop turned by up to 15 degrees", _turn),
        Corruption("small-24", "24 pixels wide", _small(24)),
        Corruption("small-20", "20 pixels wide", _small(20)),
        Corruption("blur", "Gaussian, sigma a thirty-second of the side", _blur),
        Corruption("noise", "Gaussian, sigma 10 of 255", _noise),
        Corruption("dark", "a quarter of the light, noise of 2 of 255", _dark),
        Corruption("jpeg", "JPEG of quality 20", _jpeg),
        Corruption("cover", "a ninth of it under a grey rectangle", _cover),
        Corruption("mask", "nose, mouth and chin under a cloth", _mask),
    )
}
