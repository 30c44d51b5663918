"""How far a score may be off: 95% bootstrap intervals (Efron and Tibshirani 1993, chapter 13)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS", "LEVEL", "Estimate", "batches", "bootstrap", "mean_estimate", "resampled_confusions"]

DRAWS: Final = 1000
LEVEL: Final = 0.95

# Numbers held at a time while resampling: 16 MB of float64.
_BATCH: Final = 2**21


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score and the interval that holds its true value 95 times in 100; all nan where it is undefined.

    `f"{estimate}"` reads `68.4% (66.9-69.9)`, and `f"{estimate:.3f}"` reads `0.912 (0.880-0.944)`.
    """

    value: float
    low: float
    high: float

    @classmethod
    def from_draws(cls, value: float, draws: NDArray[np.float64]) -> "Estimate":
        """The score with the percentiles of its resampled values (D,); undefined (nan) draws are left out.

        The interval is widened to the value itself where rounding or a skewed sample leaves that outside.
        """
        known = draws[~np.isnan(draws)]
        if np.isnan(value) or not known.size:
            return cls(value, np.nan, np.nan)
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        return cls(value, min(low, value), max(high, value))

    def above(self, floor: float) -> "Estimate":
        """By how much the score exceeds `floor`, 0 at the least, with its interval."""
        return Estimate(*(max(number - floor, 0.0) for number in (self.value, self.low, self.high)))

    def __format__(self, spec: str) -> str:
        if np.isnan(self.value):
            return "-"
        value, low, high = (format(number, spec or ".1%") for number in (self.value, self.low, self.high))
        return f"{value} ({low.removesuffix('%')}-{high.removesuffix('%')})"

    def __str__(self) -> str:
        return format(self)

    def as_dict(self) -> dict[str, float | None]:
        """Plain types, as written to JSON; None stands for nan, which JSON lacks."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if np.isnan(number) else float(number) for name, number in numbers.items()}


def batches(n: int, draws: int) -> Iterator[int]:
    """Splits `draws` rows of `n` numbers into batches that fit in memory; yields their numbers of rows."""
    step = max(1, _BATCH // n)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    n: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The values (draws,) of a statistic over resamples of n faces, drawn with replacement.

    Args:
        statistic: Turns face numbers (D, n), a resample a row, into D values.
        n: Faces, at least 1.
        draws: Resamples.
        seed: The same seed gives the same resamples, so that scores of two models can be compared pairwise.
    """
    random = np.random.default_rng(seed)
    return np.concatenate([statistic(random.integers(n, size=(rows, n))) for rows in batches(n, draws)])


def mean_estimate(values: NDArray[np.floating[Any]], *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The mean of values (N,), one a face, with its bootstrap interval."""
    means = bootstrap(lambda rows: values[rows].mean(axis=1), len(values), draws=draws, seed=seed)
    return Estimate.from_draws(float(values.mean()), means)


def resampled_confusions(confusion: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Confusion matrices (draws, C, C) of resamples of the faces that one matrix (C, C) counts.

    Drawing n faces with replacement and counting their cells is drawing once from a multinomial, so no face
    has to be touched.
    """
    total = int(confusion.sum())
    cells = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=draws)
    return cells.reshape(draws, *confusion.shape)
