"""Robustness: corrupted copies of the faces, the accuracy that a model loses on them, and whether it knows.

The corruptions imitate faces that are worse than those of a data set: badly cropped, small, blurred, dark, covered.
Each has one strength, the same for every model, and a fixed seed, so that scores can be compared face by face. (The
idea is that of Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019; the list and the strengths are chosen here for faces of 48 pixels.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.evaluation.calibration import excess_error
from mien.evaluation.intervals import ALONE, Estimate, Resampling, mean_estimate

Image = NDArray[np.uint8]
# The strengths refer to faces of this width; larger images are corrupted in proportion.
_SIDE: Final = 48


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        name: What `mien evaluate --corruption` takes.
        meaning: A short description.
        apply: Corrupts one face (H, W) or (H, W, 3), uint8; may draw from the generator.
    """

    name: str
    meaning: str
    apply: Callable[[Image, np.random.Generator], Image]


def corrupted(images: Sequence[Image] | Image, name: str, seed: int = 0) -> list[Image]:
    """Corrupts faces, each (H, W) grey or (H, W, 3) RGB uint8, each with random numbers of its own.

    The "small" corruptions return smaller images.

    Raises:
        ConfigError: The name is unknown.
    """
    (corruption,) = select_corruptions([name])
    return [corruption.apply(image, np.random.default_rng([seed, row])) for row, image in enumerate(images)]


def select_corruptions(names: Sequence[str]) -> list[Corruption]:
    """The corruptions with these names, without repetition; "all" stands for all of them.

    Raises:
        ConfigError: A name is unknown.
    """
    wanted = list(dict.fromkeys(known for name in names for known in (CORRUPTIONS if name == "all" else [name])))
    if unknown := [name for name in wanted if name not in CORRUPTIONS]:
        raise ConfigError(
            f"unknown corruption: {', '.join(unknown)}", hint=f"choose from all, {', '.join(CORRUPTIONS)}"
        )
    return [CORRUPTIONS[name] for name in wanted]


@dataclass(frozen=True, slots=True)
class AccuracyDrop:
    """The accuracy under one corruption, and its drop against the uncorrupted faces.

    Attributes:
        corruption: Name of the corruption.
        meaning: A short description of it.
        accuracy: On the corrupted faces, 0-1.
        fall: Accuracy on the uncorrupted faces minus accuracy on the corrupted ones; negative if the corrupted faces
            are classified better. The interval is that of the paired difference, which is narrower than the
            difference of two independent accuracies.
        excess_error: Calibration error above chance on the corrupted faces, 0-1.
        overconfidence: Mean confidence minus accuracy on the corrupted faces: by how much the model expects to be right
            more often than it is; negative if it is right more often than it expects.
    """

    corruption: str
    meaning: str
    accuracy: Estimate
    fall: Estimate
    excess_error: Estimate
    overconfidence: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        estimates = {
            "accuracy": self.accuracy,
            "fall": self.fall,
            "calibration_error_above_chance": self.excess_error,
            "overconfidence": self.overconfidence,
        }
        found = {name: estimate.as_dict() for name, estimate in estimates.items()}
        return {"corruption": self.corruption, "meaning": self.meaning, **found}


def accuracy_drops(
    labels: NDArray[np.integer[Any]],
    clean: NDArray[np.floating[Any]],
    corrupted: Mapping[str, NDArray[np.floating[Any]]],
    how: Resampling = ALONE,
) -> list[AccuracyDrop]:
    """The accuracy drop under each corruption.

    Args:
        labels: (N,) indices of the true classes.
        clean: (N, C) probabilities of the uncorrupted faces.
        corrupted: By name of the corruption, the (N, C) probabilities of the corrupted faces.
        how: How the resamples of the intervals are drawn.
    """
    right = (clean.argmax(axis=1) == labels).astype(np.float64)
    drops = []
    for name, probabilities in corrupted.items():
        confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
        still = correct.astype(np.float64)
        drops.append(
            AccuracyDrop(
                corruption=name,
                meaning=CORRUPTIONS[name].meaning,
                accuracy=mean_estimate(still, how),
                fall=mean_estimate(right - still, how),
                excess_error=excess_error(confidence, correct, how),
                overconfidence=mean_estimate(confidence - still, how),
            )
        )
    return drops


def _warped(image: Image, scale: float, shift: NDArray[np.float64], degrees: float) -> Image:
    """Scales and rotates about the centre, then shifts by fractions of the sides; edge pixels are repeated outside."""
    height, width = image.shape[:2]
    matrix = np.array(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale))
    matrix[:, 2] += shift * np.array([width, height])
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _jitter(image: Image, rng: np.random.Generator) -> Image:
    return _warped(image, rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1, 2), 0.0)


def _rotate(image: Image, rng: np.random.Generator) -> Image:
    return _warped(image, 1.0, np.zeros(2), rng.uniform(-15, 15))


def _downscale(side: int) -> Callable[[Image, np.random.Generator], Image]:
    def apply(image: Image, _: np.random.Generator) -> Image:
        return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)

    return apply


def _blur(image: Image, _: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5 * image.shape[0] / _SIDE), np.uint8)


def _to_bytes(values: NDArray[np.float64]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _noise(image: Image, rng: np.random.Generator) -> Image:
    return _to_bytes(image + rng.normal(0, 10, image.shape))


def _dark(image: Image, rng: np.random.Generator) -> Image:
    return _to_bytes(image * 0.25 + rng.normal(0, 2, image.shape))


def _jpeg(image: Image, _: np.random.Generator) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def _cover(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    top, left = (int(rng.integers(0, side - side // 3 + 1)) for side in (height, width))
    covered = image.copy()
    covered[top : top + height // 3, left : left + width // 3] = rng.integers(0, 256)
    return covered


def _mask(image: Image, rng: np.random.Generator) -> Image:
    """A face mask from the bridge of the nose to the chin, placed for faces that are cropped as those of FER2013."""
    height, width = image.shape[:2]
    outline = np.array([[0.22, 0.6], [0.5, 0.5], [0.78, 0.6], [0.74, 0.84], [0.5, 0.99], [0.26, 0.84]])
    grey = int(rng.integers(120, 240))
    colour = (grey,) * (1 if image.ndim == 2 else 3)
    points = np.rint(outline * (width, height)).astype(np.int32)
    return np.asarray(cv2.fillConvexPoly(image.copy(), points, colour, cv2.LINE_AA), np.uint8)


CORRUPTIONS: Final = {
    corruption.name: corruption
    for corruption in (
        Corruption("jitter", "crop off by up to 10% in scale and position", _jitter),
        Corruption("rotation", "crop rotated by up to 15 degrees", _rotate),
        Corruption("small-24", "24 pixels wide", _downscale(24)),
        Corruption("small-20", "20 pixels wide", _downscale(20)),
        Corruption("blur", "Gaussian blur, sigma 1/32 of the side", _blur),
        Corruption("noise", "Gaussian noise, sigma 10 of 255", _noise),
        Corruption("dark", "25% brightness, Gaussian noise of sigma 2", _dark),
        Corruption("jpeg", "JPEG compression of quality 20", _jpeg),
        Corruption("cover", "1/9 of the area under a grey rectangle", _cover),
        Corruption("mask", "nose, mouth and chin under a face mask", _mask),
    )
}
