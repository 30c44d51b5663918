"""Whether two models that judged the same faces differ by more than chance (McNemar 1947)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["McNemar", "mcnemar"]


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two models on the same faces.

    Attributes:
        first_only: Faces that the first alone read rightly.
        second_only: Faces that the second alone read rightly.
        p: How often models that are equally right would disagree so unevenly or more so, by chance; two-sided.
    """

    first_only: int
    second_only: int
    p: float

    def as_dict(self) -> dict[str, int | float]:
        """Plain types, as written to JSON."""
        return {"first_only": self.first_only, "this_only": self.second_only, "p": self.p}


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Compares which faces (N,) two models read rightly.

    Only faces on which they differ count; if the models are equally right, each of these goes either way like a coin.
    The test is the exact, binomial one for every count: the usual chi-squared is an approximation of it that is not
    needed (and poor below about 25 faces).

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"expected two arrays (N,) of one length, got {first.shape} and {second.shape}")
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(one, other, _two_sided(min(one, other), one + other))


def _two_sided(few: int, count: int) -> float:
    """Chance that of `count` fair coins at most `few` fall on either side; 1 where the sides are even."""
    if 2 * few >= count:
        return 1.0
    # Logarithms, since binomials of thousands of faces leave the range of a float.
    terms = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(few + 1)]
    return min(1.0, 2 * math.fsum(math.exp(term - count * math.log(2)) for term in terms))
