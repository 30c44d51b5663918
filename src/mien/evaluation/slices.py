"""Slices: the accuracy on dark and bright, blurred and sharp, undisputed and disputed faces."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples, ferplus
from mien.evaluation.intervals import ALONE, Estimate, Resampling, mean_estimate
from mien.evaluation.metrics import Floats

PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Slice:
    """The faces within one range of a measure.

    Attributes:
        low: Lowest value in the slice.
        high: Highest value in the slice.
        faces: Number of faces.
        accuracy: 0-1.
        overconfidence: Mean confidence minus accuracy; negative if the model is underconfident.
    """

    low: float
    high: float
    faces: int
    accuracy: Estimate
    overconfidence: Estimate


@dataclass(frozen=True, slots=True)
class Slices:
    """All faces, sliced by one measure.

    Attributes:
        name: Of the measure.
        meaning: A short description of the measure.
        slices: Lowest values first.
    """

    name: str
    meaning: str
    slices: tuple[Slice, ...]


_MEANINGS: Final = {
    "brightness": "mean grey level, 0-255",
    "contrast": "standard deviation of the grey levels",
    "sharpness": "variance of the Laplacian; low values are blurred",
    "disagreement": "entropy of the annotators' votes, nats; 0 where all agree",
}


def measures(samples: Samples) -> dict[str, NDArray[np.float64]]:
    """The brightness, contrast, sharpness and, with votes, disagreement of each face: (N,) by name."""
    found = np.array([_of_image(image) for image in samples.images]).reshape(-1, 3)
    columns = dict(zip(("brightness", "contrast", "sharpness"), found.T, strict=True))
    if samples.votes is not None:
        columns["disagreement"] = ferplus.entropy(samples.votes)
    return columns


def _of_image(image: NDArray[np.uint8]) -> tuple[float, float, float]:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image)
    return float(grey.mean()), float(grey.std()), float(cv2.Laplacian(grey, cv2.CV_64F).var())


def all_slices(
    samples: Samples, confidence: Floats, correct: NDArray[np.bool_], how: Resampling = ALONE
) -> list[Slices]:
    """Slices the samples by every measure.

    Args:
        samples: N faces.
        confidence: (N,) top probabilities.
        correct: (N,) whether the top class is the true one.
        how: How the resamples of the intervals are drawn.
    """
    return [
        Slices(name, _MEANINGS[name], tuple(slice_faces(values, confidence, correct, how)))
        for name, values in measures(samples).items()
    ]


def quarters(values: Floats, parts: int = PARTS) -> NDArray[np.int64]:
    """The part (N,) of each value (N,), lowest first, of about equal size; equal values stay together."""
    edges = np.unique(np.quantile(values, np.arange(1, parts) / parts))
    return np.searchsorted(edges, values)


def slice_faces(values: Floats, confidence: Floats, correct: NDArray[np.bool_], how: Resampling = ALONE) -> list[Slice]:
    """Divides faces by their values (N,) into slices of about equal size; equal values stay together."""
    place = quarters(values)
    found = []
    for part in np.unique(place):
        mine = place == part
        right = correct[mine].astype(np.float64)
        found.append(
            Slice(
                low=float(values[mine].min()),
                high=float(values[mine].max()),
                faces=int(mine.sum()),
                accuracy=mean_estimate(right, how.of(mine)),
                overconfidence=mean_estimate(confidence[mine] - right, how.of(mine)),
            )
        )
    return found
