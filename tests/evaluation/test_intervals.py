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
from mien.evaluation.intervals import Estimate, Resampling, mcnemar


@settings(max_examples=50)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100)), st.integers(0, 9))
def test_the_interval_holds_the_value(values: NDArray[np.float64], seed: int) -> None:
    estimate = intervals.mean_estimate(values, how=Resampling(100, seed))
    assert estimate.value == values.mean()
    assert estimate.low <= estimate.value <= estimate.high
    assert values.min() - 1e-9 <= estimate.low
    assert estimate.high <= values.max() + 1e-9


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(1)
    estimates = [
        intervals.mean_estimate((random.random(300) < 0.7).astype(float), how=Resampling(300, k)) for k in range(300)
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
    quick = intervals.resampled_confusions(confusion, how=Resampling(4000))
    assert (quick.sum(axis=(1, 2)) == 200).all()

    def one_by_one(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([metrics.macro_f1(metrics.confusion_matrix(labels[row], predicted[row], 3)) for row in rows])

    slow = intervals.bootstrap(one_by_one, 200, how=Resampling(4000))
    places = [0.025, 0.25, 0.5, 0.75, 0.975]
    np.testing.assert_allclose(np.quantile(metrics.macro_f1(quick), places), np.quantile(slow, places), atol=0.006)


def test_the_same_seed_gives_the_same_resamples_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = intervals.mean_estimate(values, how=Resampling(200, 5))
    monkeypatch.setattr(intervals, "_BATCH", 50 * 7)
    assert list(intervals.batches(50, 20)) == [7, 7, 6]
    assert intervals.mean_estimate(values, how=Resampling(200, 5)) == whole
    assert intervals.mean_estimate(values, how=Resampling(200, 6)) != whole


def test_faces_of_a_person_are_drawn_together() -> None:
    persons = np.repeat([f"S{k}" for k in range(40)], 10)
    values = np.repeat(np.random.default_rng(2).random(40), 10)  # all faces of a person are alike
    alone = intervals.mean_estimate(values)
    together = intervals.mean_estimate(values, Resampling.together(persons, "persons"))
    one_each = intervals.mean_estimate(values[::10])
    assert together.value == alone.value
    widths = [each.high - each.low for each in (alone, together, one_each)]
    assert widths[1] == pytest.approx(widths[2], rel=0.1)
    assert widths[1] == pytest.approx(widths[0] * np.sqrt(10), rel=0.15)


def test_intervals_over_persons_hold_the_truth() -> None:
    random = np.random.default_rng(4)
    held = {"faces": 0, "persons": 0}
    truth = float(np.clip(0.7 + 0.2 * np.random.default_rng(0).standard_normal(100_000), 0, 1).mean())
    for k in range(200):
        rates = np.clip(0.7 + 0.2 * random.standard_normal(30), 0, 1)
        correct = (random.random((30, 20)) < rates[:, None]).ravel().astype(float)
        together = Resampling.together(np.repeat(np.arange(30).astype(str), 20), "persons")
        for name, how in (("faces", Resampling(200, k)), ("persons", Resampling(200, k, together.owners))):
            found = intervals.mean_estimate(correct, how)
            held[name] += found.low <= truth <= found.high
    assert held["persons"] > 175  # of 200
    assert held["faces"] < 160


def test_persons_of_different_sizes_and_their_confusions() -> None:
    names = np.array(["b", "a", "b", "c", "b", "a"])
    how = Resampling.together(names, "persons")
    assert how.units() == 3
    assert how.units(names == "b") == 1
    labels, predicted = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 1, 1, 1, 1, 0])
    drawn = intervals.resamples(labels, predicted, 2, how)
    sizes = [len(rows[0]) for rows in how.indices(6)]
    assert drawn.sum(axis=(1, 2)).tolist() == sizes
    assert {3, 6, 9} <= set(sizes)  # three times c, each once, three times b
    for rows in how.indices(6):
        counts = np.bincount(rows[0], minlength=6)
        assert counts[0] == counts[2] == counts[4]
        assert counts[1] == counts[5]


def test_a_single_person_and_persons_with_one_face_are_drawn_by_faces() -> None:
    assert Resampling.together(np.array(["a", "a", "a"]), "persons").owners is None
    assert Resampling.together(np.array(["a", "b", "c"]), "persons").unit == "faces"
    two = Resampling.together(np.array(["a", "a", "b"]), "persons")
    assert two.of([0, 1]).owners is None
    assert two.of(np.array([True, False, True])).units() == 2
    with pytest.raises(ValueError, match=r"owners: expected \(4,\)"):
        intervals.mean_estimate(np.ones(4), two)


def test_few_faces_of_one_person_say_little() -> None:
    assert intervals.wilson(10, 10, 1).low < 0.25
    assert intervals.wilson(10, 10).low > 0.7
    assert intervals.wilson(10, 10, 10) == intervals.wilson(10, 10)


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
