"""How much of its accuracy a model loses on spoilt faces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.intervals import Estimate, mean_estimate

__all__ = ["AccuracyDrop", "losses"]


@dataclass(frozen=True, slots=True)
class AccuracyDrop:
    """What one corruption takes.

    Attributes:
        corruption: Its name.
        meaning: In words.
        accuracy: On the spoilt faces, 0-1.
        fall: Accuracy lost against the same faces as they are, 0-1; below 0 where spoilt faces are read better. Its
            interval is that of the difference face by face, narrower than the two accuracies' own.
    """

    corruption: str
    meaning: str
    accuracy: Estimate
    fall: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "corruption": self.corruption,
            "meaning": self.meaning,
            "accuracy": self.accuracy.as_dict(),
            "fall": self.fall.as_dict(),
        }


def losses(
    labels: NDArray[np.integer[Any]],
    clean: NDArray[np.floating[Any]],
    spoilt: Mapping[str, NDArray[np.floating[Any]]],
    meanings: Mapping[str, str],
) -> Sequence[AccuracyDrop]:
    """The loss under each corruption.

    Args:
        labels: (N,) indices of the true classes.
        clean: (N, C) probabilities of the faces as they are.
        spoilt: By corruption, the same of the spoilt faces.
        meanings: Of the corruptions, in words.
    """
    right = (clean.argmax(axis=1) == labels).astype(np.float64)
    found = []
    for name, probabilities in spoilt.items():
        still = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        found.append(AccuracyDrop(name, meanings[name], mean_estimate(still), mean_estimate(right - still)))
    return found
