"""Intervals: coverage, width and format; and McNemar's test."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from mien.evaluation import intervals, metrics
from mien.evaluation.intervals import Estimate, mcnemar


@settings(max_examples=50)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100)), st.integers(0, 9))
def test_the_interval_holds_the_value(values: NDArray[np.float64], seed: int) -> None:
    estimate = intervals.mean_estimate(values, draws=100, seed=seed)
    assert estimate.value == values.mean()
    assert estimate.low <= estimate.value <= estimate.high
    assert values.min() - 1e-9 <= estimate.low
    assert estimate.high <= values.max() + 1e-9


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(1)
    estimates = [
        intervals.mean_estimate((random.random(300) < 0.7).astype(float), draws=300, seed=k) for k in range(300)
    ]
    held = np.mean([estimate.low <= 0.7 <= estimate.high for estimate in estimates])
    assert 0.90 <= held <= 0.985


def test_it_is_as_wide_as_the_normal_approximation_says() -> None:
    correct = np.arange(3589) < 0.7 * 3589
    estimate = intervals.mean_estimate(correct.astype(float))
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * np.sqrt(0.7 * 0.3 / 3589), rel=0.1)


def test_resampled_confusions_are_what_resampling_faces_gives() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 200)
    predicted = np.where(random.random(200) < 0.6, labels, random.integers(0, 3, 200))
    confusion = metrics.confusion_matrix(labels, predicted, 3)
    quick = intervals.resampled_confusions(confusion, draws=4000)
    assert (quick.sum(axis=(1, 2)) == 200).all()

    def one_by_one(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([metrics.macro_f1(metrics.confusion_matrix(labels[row], predicted[row], 3)) for row in rows])

    slow = intervals.bootstrap(one_by_one, 200, draws=4000)
    places = [0.025, 0.25, 0.5, 0.75, 0.975]
    np.testing.assert_allclose(np.quantile(metrics.macro_f1(quick), places), np.quantile(slow, places), atol=0.006)


def test_the_same_seed_gives_the_same_resamples_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = intervals.mean_estimate(values, draws=200, seed=5)
    monkeypatch.setattr(intervals, "_BATCH", 50 * 7)
    assert list(intervals.batches(50, 20)) == [7, 7, 6]
    assert intervals.mean_estimate(values, draws=200, seed=5) == whole
    assert intervals.mean_estimate(values, draws=200, seed=6) != whole


def test_undefined_draws_are_left_out() -> None:
    draws = np.array([np.nan, 0.2, 0.4, np.nan])
    estimate = Estimate.from_draws(0.3, draws)
    assert estimate.low == pytest.approx(0.205)
    assert estimate.high == pytest.approx(0.395)
    assert np.isnan(Estimate.from_draws(np.nan, draws).low)
    assert np.isnan(Estimate.from_draws(0.3, np.full(4, np.nan)).high)


def test_the_interval_is_widened_to_its_value() -> None:
    assert Estimate.from_draws(0.5, np.array([0.6, 0.7])).low == 0.5
    assert Estimate.from_draws(0.8, np.array([0.6, 0.7])).high == 0.8


def test_above_a_floor() -> None:
    assert Estimate(0.5, 0.25, 0.75).above(0.25) == Estimate(0.25, 0, 0.5)
    assert Estimate(0.5, 0.25, 0.75).above(1) == Estimate(0, 0, 0)


def test_how_an_estimate_reads() -> None:
    estimate = Estimate(0.684, 0.669, 0.699)
    assert str(estimate) == "68.4% (66.9-69.9)"
    assert f"{estimate:.3f}" == "0.684 (0.669-0.699)"
    assert str(Estimate(np.nan, np.nan, np.nan)) == "-"
    assert estimate.as_dict() == {"value": 0.684, "low": 0.669, "high": 0.699}
    assert json.dumps(Estimate(np.nan, np.nan, np.nan).as_dict()) == '{"value": null, "low": null, "high": null}'


# --- McNemar's test, against the exact binomial test of scipy


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
