"""McNemar's test, against scipy's exact binomial."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from mien.evaluation.intervals import mcnemar


def pair(first_only: int, second_only: int, both: int = 3, neither: int = 2) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([True, False, True, False], [first_only, second_only, both, neither])
    second = np.repeat([False, True, True, False], [first_only, second_only, both, neither])
    order = np.random.default_rng(0).permutation(len(first))
    return first[order], second[order]


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_it_is_the_exact_binomial_test(one: int, other: int) -> None:
    found = mcnemar(*pair(one, other))
    assert (found.first_only, found.second_only) == (one, other)
    expected = binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert found.p == pytest.approx(expected, rel=1e-7)
    assert mcnemar(*pair(one, other)[::-1]).p == found.p
    assert mcnemar(*pair(one, other, both=900, neither=0)).p == found.p  # where they agree says nothing


def test_with_many_faces_it_is_the_chi_squared_one() -> None:
    found = mcnemar(*pair(5200, 4900))
    assert found.p == pytest.approx(chi2.sf((300 - 1) ** 2 / 10100, 1), rel=1e-3)
    assert mcnemar(*pair(9000, 10)).p == 0  # less than a float can hold


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        mcnemar(np.ones(3, bool), np.ones(2, bool))
