"""The uncertainty of scores: 95% bootstrap intervals (Efron and Tibshirani 1993, chapter 13) and McNemar's test.

Images of one person are alike, and so are frames of one clip: a hundred images of ten people say less about other
people than images of a hundred. If the data says who is who, persons are drawn in place of faces, each with all of
their faces (Davison and Hinkley 1997, section 3.8); intervals of few persons are still somewhat too narrow.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 1000
LEVEL: Final = 0.95

# Fewer faces, or faces of fewer persons, have Wilson's interval; a difference needs this many persons on each side.
FEW: Final = 60
FEW_UNITS: Final = 20
LEAST_UNITS: Final = 3

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


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How resamples are drawn; the same resampling gives the same ones, so that two models can be compared in pairs.

    Attributes:
        draws: Number of resamples.
        seed: Of the random numbers.
        owners: (N,) number of the person (or clip) that each face belongs to; None if each face is drawn alone.
        unit: What is drawn, in the plural, for reports.
    """

    draws: int = DRAWS
    seed: int = 0
    owners: NDArray[np.int64] | None = None
    unit: str = "faces"

    @classmethod
    def together(cls, names: NDArray[np.str_], unit: str) -> "Resampling":
        """Draws faces with the same name (N,) together."""
        known, owners = np.unique(names, return_inverse=True)
        return cls() if len(known) == len(names) else cls(owners=owners.reshape(-1), unit=unit).of(slice(None))

    def of(self, rows: Any) -> "Resampling":
        """The same for some of the faces, given by indices, a mask or a slice.

        Faces of a single person are drawn alone: the interval then says what other images of this person would change.
        """
        if self.owners is None:
            return self
        owners = self.owners[rows]
        one = len(owners) > 0 and (owners == owners[0]).all()
        return Resampling(self.draws, self.seed) if one else replace(self, owners=owners)

    def units(self, rows: Any = slice(None), /) -> int | None:
        """How many persons some of the faces show; None if faces are drawn alone."""
        return None if self.owners is None else len(np.unique(self.owners[rows]))

    def indices(self, n: int) -> Iterator[NDArray[np.int64]]:
        """The resamples of n faces, at least 1: arrays (D, M) of indices, one resample per row, until all are drawn.

        Raises:
            ValueError: There are owners of another number of faces.
        """
        random = np.random.default_rng(self.seed)
        if self.owners is None:
            for rows in batches(n, self.draws):
                yield random.integers(n, size=(rows, n))
            return
        if self.owners.shape != (n,):
            raise ValueError(f"owners: expected ({n},), got {self.owners.shape}")
        known, place = np.unique(self.owners, return_inverse=True)
        faces, count = np.arange(n), len(known)
        for _ in range(self.draws):  # persons have different numbers of faces, so resamples have different lengths
            times = np.bincount(random.integers(count, size=count), minlength=count)
            yield np.repeat(faces, times[place.reshape(-1)])[None]


ALONE: Final = Resampling()


def batches(n: int, draws: int) -> Iterator[int]:
    """Splits `draws` rows of `n` numbers into batches that fit in memory; yields the number of rows of each."""
    step = max(1, _BATCH // n)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    n: int,
    how: Resampling = ALONE,
) -> NDArray[np.float64]:
    """The values (draws,) of a statistic over resamples of n faces, drawn with replacement.

    Args:
        statistic: Maps face indices (D, M), one resample per row, to D values. M is n if faces are drawn alone.
        n: Number of faces, at least 1.
        how: How they are drawn.
    """
    return np.concatenate([statistic(rows) for rows in how.indices(n)])


def mean_estimate(values: NDArray[np.floating[Any]], how: Resampling = ALONE) -> Estimate:
    """The mean of values (N,), one per face, with its bootstrap interval."""
    means = bootstrap(lambda rows: values[rows].mean(axis=1), len(values), how)
    return Estimate.from_draws(float(values.mean()), means)


def is_few(faces: int, units: int | None = None) -> bool:
    """Whether so few faces, or faces of so few persons, have an interval by `wilson`, and not by the bootstrap."""
    return 0 < faces < FEW or (units is not None and 0 < units < FEW_UNITS)


def share_estimate(hits: NDArray[np.bool_], how: Resampling = ALONE, units: int | None = None) -> Estimate:
    """The share of the faces (N,) that are hits: with a bootstrap interval, or Wilson's for few faces or persons.

    Args:
        hits: Which faces are.
        how: How they are resampled.
        units: The number of persons that they show, if these are known.
    """
    if not len(hits) or is_few(len(hits), units):
        return wilson(int(hits.sum()), len(hits), units)
    return mean_estimate(hits.astype(np.float64), how)


def difference_estimate(first: NDArray[np.bool_], other: NDArray[np.bool_]) -> Estimate:
    """The share of hits among some faces (N,) less that among others (M,), with its 95% interval.

    By Wilson's intervals of both (Newcombe 1998, method 10), which holds for few faces as well. nan without faces.
    """
    one, two = (wilson(int(hits.sum()), len(hits)) for hits in (first, other))
    value = one.value - two.value
    low = value - math.hypot(one.value - one.low, two.high - two.value)
    high = value + math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(value, low, high)


def person_difference(
    first: NDArray[np.bool_], other: NDArray[np.bool_], owners: NDArray[np.int64], other_owners: NDArray[np.int64]
) -> Estimate:
    """As `difference_estimate`, of faces whose persons are known: (N,) and (M,) their numbers.

    The variance is that of the persons' contributions (a ratio, Cochran 1977, section 6.3; persons on both sides count
    with the difference of theirs), the interval Student's with the degrees of freedom of Welch (1947). nan if a side
    has fewer than three persons, which say nothing about others.
    """
    sides = ((first, owners, 1.0), (other, other_owners, -1.0))
    people = np.unique(np.concatenate([owners, other_owners]))
    parts = np.zeros((2, len(people)))
    counts = []
    for number, (hits, whose, sign) in enumerate(sides):
        if not len(hits):
            return Estimate(math.nan, math.nan, math.nan)
        place = np.searchsorted(people, whose)
        parts[number] = sign * np.bincount(place, hits - hits.mean(), minlength=len(people)) / len(hits)
        counts.append(len(np.unique(whose)))
    if min(counts) < LEAST_UNITS:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(first.mean() - other.mean())
    corrected = [count / (count - 1) * float((part**2).sum()) for part, count in zip(parts, counts, strict=True)]
    shared = 2 * float((parts[0] * parts[1]).sum())  # 0 if nobody is on both sides
    variance = max(sum(corrected) + shared, 0.0)
    spread = sum(part**2 / (count - 1) for part, count in zip(corrected, counts, strict=True))
    freedom = sum(corrected) ** 2 / spread if spread else math.inf
    reach = _student(freedom) * math.sqrt(variance)
    return Estimate(value, value - reach, value + reach)


def _student(freedom: float) -> float:
    """The two-sided 95% point of Student's distribution: within 3% from 2 degrees of freedom (Fisher 1925)."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def wilson(found: int, total: int, units: int | None = None) -> Estimate:
    """A share of a few faces with its 95% interval by Wilson's score (Wilson 1927; Brown, Cai and DasGupta 2001).

    The bootstrap says nothing about none of thirteen faces: all its resamples are 0. nan without faces.

    Args:
        found: Those of the faces that count.
        total: The number of faces.
        units: The number of persons that they show, if persons are resampled: the interval is then as wide as that of
            one face of each, as if all faces of a person were alike.
    """
    if not total:
        return Estimate(math.nan, math.nan, math.nan)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, n = found / total, total if units is None else units
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share)))


def resampled_confusions(confusion: NDArray[np.int64], how: Resampling = ALONE) -> NDArray[np.int64]:
    """Confusion matrices (draws, C, C) of resamples of the faces that one matrix (C, C) counts, each drawn alone.

    Drawing n faces with replacement and counting their cells equals one draw from a multinomial distribution, which
    is much faster.
    """
    total = int(confusion.sum())
    cells = np.random.default_rng(how.seed).multinomial(total, confusion.ravel() / total, size=how.draws)
    return cells.reshape(how.draws, *confusion.shape)


def resamples(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int, how: Resampling = ALONE
) -> NDArray[np.int64]:
    """Confusion matrices (draws, C, C) of resamples of faces, drawn as `how` says.

    Args:
        labels: (N,) true classes, 0 to C - 1.
        predicted: (N,) predicted classes.
        classes: C.
        how: How they are drawn.
    """
    cells = labels.astype(np.int64) * classes + predicted
    if how.owners is None:
        counted = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
        return resampled_confusions(counted, how)
    counts = [np.bincount(cells[rows[0]], minlength=classes * classes) for rows in how.indices(len(cells))]
    return np.stack(counts).reshape(-1, classes, classes)


def filled(resampled: NDArray[np.int64], confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    """Resampled matrices (D, C, C), with the observed row of each class that a resample happens to lack.

    A mean over classes would otherwise be one over other classes than the score's. Its interval stays too narrow if
    a class has few faces.
    """
    lacking = resampled.sum(axis=-1, keepdims=True) == 0
    return np.where(lacking, confusion, resampled)


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
