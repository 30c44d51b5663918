"""Where a model is weak: its accuracy on dark and bright, blurred and sharp, plain and disputed faces."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples, ferplus
from mien.evaluation.intervals import Estimate, mean_estimate
from mien.evaluation.metrics import Floats

__all__ = ["Cut", "Slice", "cut", "cuts", "measures"]

PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Slice:
    """The faces of one range of a measure.

    Attributes:
        low: Least value in the slice.
        high: Greatest.
        faces: Their number.
        accuracy: 0-1.
        overconfidence: Mean top probability less accuracy; below 0 where the model is surer than it says.
    """

    low: float
    high: float
    faces: int
    accuracy: Estimate
    overconfidence: Estimate


@dataclass(frozen=True, slots=True)
class Cut:
    """All faces, cut by one measure.

    Attributes:
        name: Of the measure.
        meaning: What it is, in words.
        slices: Lowest values first.
    """

    name: str
    meaning: str
    slices: tuple[Slice, ...]


# The measures of `measures`, in words.
_MEANINGS: Final = {
    "brightness": "mean grey level, 0-255",
    "contrast": "standard deviation of the grey levels",
    "sharpness": "variance of the Laplacian; low is blurred",
    "disagreement": "entropy of the annotators' ten choices, nats; 0 where all agree",
}


def measures(samples: Samples) -> dict[str, NDArray[np.float64]]:
    """Brightness, contrast, sharpness and, with votes, disagreement of each face: (N,) by name."""
    found = np.array([_of_image(image) for image in samples.images]).reshape(-1, 3)
    columns = dict(zip(("brightness", "contrast", "sharpness"), found.T, strict=True))
    if samples.votes is not None:
        columns["disagreement"] = ferplus.entropy(samples.votes)
    return columns


def _of_image(image: NDArray[np.uint8]) -> tuple[float, float, float]:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image)
    return float(grey.mean()), float(grey.std()), float(cv2.Laplacian(grey, cv2.CV_64F).var())


def cuts(samples: Samples, confidence: Floats, correct: NDArray[np.bool_]) -> list[Cut]:
    """Every measure's cut of the samples, whose confidences (N,) and hits (N,) are given."""
    return [
        Cut(name, _MEANINGS[name], tuple(cut(values, confidence, correct)))
        for name, values in measures(samples).items()
    ]


def cut(values: Floats, confidence: Floats, correct: NDArray[np.bool_], parts: int = PARTS) -> list[Slice]:
    """Cuts faces into slices of about equal size by their values (N,); equal values stay together."""
    edges = np.unique(np.quantile(values, np.arange(1, parts) / parts))
    place = np.searchsorted(edges, values)
    found = []
    for part in np.unique(place):
        mine = place == part
        right = correct[mine].astype(np.float64)
        found.append(
            Slice(
                low=float(values[mine].min()),
                high=float(values[mine].max()),
                faces=int(mine.sum()),
                accuracy=mean_estimate(right),
                overconfidence=mean_estimate(confidence[mine] - right),
            )
        )
    return found
