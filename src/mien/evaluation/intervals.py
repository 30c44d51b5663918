"""The uncertainty of scores: 95% bootstrap intervals (Efron and Tibshirani 1993, chapter 13) and McNemar's test."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 1000
LEVEL: Final = 0.95

# Numbers held in memory at a time while resampling: 16 MB of float64.
_BATCH: Final = 2**21


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its 95% interval; all three are nan where the score is undefined.

    `f"{estimate}"` reads `68.4% (66.9-69.9)`, and `f"{estimate:.3f}"` reads `0.912 (0.880-0.944)`.
    """

    value: float
    low: float
    high: float

    @classmethod
    def from_draws(cls, value: float, draws: NDArray[np.float64]) -> "Estimate":
        """The score with the percentiles of its resampled values (D,); undefined (nan) draws are left out.

        The interval is widened to contain the value if rounding or a skewed sample leaves the value outside.
        """
        known = draws[~np.isnan(draws)]
        if np.isnan(value) or not known.size:
            return cls(value, np.nan, np.nan)
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        return cls(value, min(low, value), max(high, value))

    def above(self, chance: float) -> "Estimate":
        """The amount by which the score and its interval exceed `chance`, at least 0."""
        return Estimate(*(max(number - chance, 0.0) for number in (self.value, self.low, self.high)))

    def __format__(self, spec: str) -> str:
        if np.isnan(self.value):
            return "-"
        value, low, high = (format(number, spec or ".1%") for number in (self.value, self.low, self.high))
        return f"{value} ({low.removesuffix('%')}-{high.removesuffix('%')})"

    def __str__(self) -> str:
        return format(self)

    def as_dict(self) -> dict[str, float | None]:
        """Plain types, as written to JSON; None stands for nan, which JSON does not have."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if np.isnan(number) else float(number) for name, number in numbers.items()}


def batches(n: int, draws: int) -> Iterator[int]:
    """Splits `draws` rows of `n` numbers into batches that fit in memory; yields the number of rows of each."""
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
        statistic: Maps face indices (D, n), one resample per row, to D values.
        n: Number of faces, at least 1.
        draws: Number of resamples.
        seed: The same seed gives the same resamples, so that the scores of two models can be compared in pairs.
    """
    random = np.random.default_rng(seed)
    return np.concatenate([statistic(random.integers(n, size=(rows, n))) for rows in batches(n, draws)])


def mean_estimate(values: NDArray[np.floating[Any]], *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The mean of values (N,), one per face, with its bootstrap interval."""
    means = bootstrap(lambda rows: values[rows].mean(axis=1), len(values), draws=draws, seed=seed)
    return Estimate.from_draws(float(values.mean()), means)


def wilson(found: int, total: int) -> Estimate:
    """A share of a few faces with its 95% interval by Wilson's score (Wilson 1927; Brown, Cai and DasGupta 2001).

    The bootstrap says nothing about none of thirteen faces: all its resamples are 0. nan without faces.
    """
    if not total:
        return Estimate(math.nan, math.nan, math.nan)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = found / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Estimate(share, max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share)))


def resampled_confusions(confusion: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Confusion matrices (draws, C, C) of resamples of the faces that one matrix (C, C) counts.

    Drawing n faces with replacement and counting their cells equals one draw from a multinomial distribution, which
    is much faster.
    """
    total = int(confusion.sum())
    cells = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=draws)
    return cells.reshape(draws, *confusion.shape)


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test of two models on the same faces (McNemar 1947).

    Attributes:
        first_only: Faces that only the first model classifies correctly.
        second_only: Faces that only the second model classifies correctly.
        p: Two-sided p-value: the probability of a difference at least this large between equally accurate models.
    """

    first_only: int
    second_only: int
    p: float

    def as_dict(self) -> dict[str, int | float]:
        """Plain types, as written to JSON."""
        return {"first_only": self.first_only, "this_only": self.second_only, "p": self.p}


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Tests whether two models differ in accuracy, given which faces (N,) each classifies correctly.

    Only the faces on which they differ count; if the models are equally accurate, each of these is a fair coin flip.
    The exact binomial test is used for every count: the usual chi-squared test approximates it, poorly below about
    25 faces.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"expected two arrays (N,) of one length, got {first.shape} and {second.shape}")
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(one, other, _two_sided(min(one, other), one + other))


def _two_sided(few: int, count: int) -> float:
    """Probability that at most `few` of `count` fair coins fall on one of the two sides; 1 if the sides are even."""
    if 2 * few >= count:
        return 1.0
    # Logarithms, because binomial coefficients of thousands of faces exceed the range of a float.
    terms = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(few + 1)]
    return min(1.0, 2 * math.fsum(math.exp(term - count * math.log(2)) for term in terms))
