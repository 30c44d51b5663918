"""Calibration errors, bins, temperatures, thresholds: against other programs, and by what must hold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from mien.evaluation import calibration, metrics
from mien.evaluation.intervals import Resampling
from mien.expression import softmax

confidences = hnp.arrays(np.float64, st.integers(1, 80), elements=st.floats(0.1, 1))


def simulated(n: int, temperature: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits (n, 7) of a model that is calibrated at this temperature, and labels (n,) drawn accordingly."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2.0, size=(n, 7))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)  # draws from softmax(logits)
    return (logits * temperature).astype(np.float32), labels


def nll(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    return float(metrics.negative_log_likelihood(softmax(logits, temperature), labels).mean())


@pytest.mark.parametrize("n", [1, 7, 15, 16, 100, 1501])
def test_the_error_is_that_of_a_plain_loop_over_bins(n: int) -> None:
    random = np.random.default_rng(n)
    confidence, correct = random.random(n), random.random(n) < 0.6
    order = np.argsort(confidence)
    error, at = 0.0, 0
    bins = calibration.calibration_bins(confidence, correct)
    assert bins.count.sum() == n
    assert bins.count.max() - bins.count.min() <= 1
    assert len(bins.count) == min(15, n)
    for k, size in enumerate(bins.count):
        part = order[at : at + size]
        at += size
        error += abs(correct[part].mean() - confidence[part].mean()) * size / n
        assert bins.low[k] == confidence[part].min()
        assert bins.high[k] == confidence[part].max()
        assert bins.accuracy[k] == pytest.approx(correct[part].mean())
        assert bins.confidence[k] == pytest.approx(confidence[part].mean())
    assert calibration.calibration_error(confidence, correct) == pytest.approx(error)


def test_evenly_spread_confidences_give_the_error_of_torchmetrics() -> None:
    # Where confidences lie evenly, bins of equal mass are bins of equal width, which torchmetrics has.
    confidence = (np.arange(1500) + 0.5) / 1500
    correct = np.random.default_rng(0).random(1500) < confidence**2
    theirs = binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct).int(), n_bins=15)
    assert calibration.calibration_error(confidence, correct) == pytest.approx(theirs.item(), abs=1e-6)


def test_the_bins_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    confidence = random.random(1500) ** 0.5
    correct = random.random(1500) < confidence
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, strategy="quantile")
    bins = calibration.calibration_bins(confidence, correct)
    np.testing.assert_allclose(bins.accuracy, accuracy)
    np.testing.assert_allclose(bins.confidence, mean)


@given(st.integers(1, 100), st.integers(1, 30))
def test_a_perfect_one_hot_model_has_no_error(n: int, bins: int) -> None:
    assert calibration.calibration_error(np.ones(n), np.ones(n, np.bool_), bins) == 0
    assert (calibration.perfect_errors(np.ones(n), bins, draws=5) == 0).all()


@settings(max_examples=50)
@given(confidences)
def test_the_error_lies_between_the_overall_gap_and_1(confidence: NDArray[np.float64]) -> None:
    correct = np.random.default_rng(len(confidence)).random(len(confidence)) < 0.5
    error = calibration.calibration_error(confidence, correct)
    assert abs(confidence.mean() - correct.mean()) - 1e-9 <= error <= 1
    estimate = calibration.calibration_estimate(confidence, correct, how=Resampling(50))
    assert estimate.value == error
    assert 0 <= estimate.low <= error <= estimate.high


@pytest.mark.parametrize(
    ("n", "temperature", "accuracy", "error"), [(3589, 0.66, 0.70, 0.020), (3199, 0.29, 0.86, 0.013)]
)
def test_perfect_calibration_shows_what_is_published_here(
    n: int, temperature: float, accuracy: float, error: float
) -> None:
    """About 2.0% on the faces of FER2013's PublicTest at 70%, 1.3% on those of FER+."""
    logits, _ = simulated(n, 1.0)
    confidence = softmax(logits, temperature).max(axis=1)
    assert confidence.mean() == pytest.approx(accuracy, abs=0.01)
    assert calibration.perfect_errors(confidence, draws=200).mean() == pytest.approx(error, abs=0.001)


def test_perfect_errors_are_those_of_models_drawn_one_by_one() -> None:
    confidence = np.random.default_rng(2).uniform(0.3, 1, 500).astype(np.float32)
    random = np.random.default_rng(3)
    one_by_one = [calibration.calibration_error(confidence, random.random(500) < confidence) for _ in range(400)]
    quick = calibration.perfect_errors(confidence, draws=400)
    assert quick.mean() == pytest.approx(np.mean(one_by_one), abs=0.002)
    assert quick.std() == pytest.approx(np.std(one_by_one), rel=0.2)


def test_the_interval_of_a_calibrated_model_holds_what_chance_gives() -> None:
    held = []
    for seed in range(60):
        logits, labels = simulated(1000, 1.0, seed)
        probabilities = softmax(logits)
        confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
        chance = calibration.perfect_errors(confidence, draws=100).mean()
        estimate = calibration.calibration_estimate(confidence, correct, how=Resampling(200))
        held.append(estimate.low <= chance <= estimate.high)
    assert np.mean(held) >= 0.85


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    logits, labels = simulated(20_000, temperature)
    assert calibration.fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)
    votes = softmax(logits, temperature)
    assert calibration.fit_temperature(logits, votes * 10) == pytest.approx(temperature, rel=1e-4)


def test_the_fitted_temperature_removes_the_calibration_error() -> None:
    logits, labels = simulated(5000, 2.0)
    correct = logits.argmax(axis=1) == labels
    before = calibration.calibration_error(softmax(logits).max(axis=1), correct)
    fitted = softmax(logits, calibration.fit_temperature(logits, labels)).max(axis=1)
    after = calibration.calibration_error(fitted, correct)
    assert before > 0.08
    assert after < calibration.perfect_errors(fitted).max()


@settings(max_examples=50)
@given(hnp.arrays(np.float32, (12, 5), elements=st.floats(-50, 50, width=32)), st.integers(0, 99))
def test_no_temperature_nearby_is_better_and_the_loss_never_rises(logits: NDArray[np.float32], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, 12)
    doubles = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)

    def loss(temperature: float) -> float:
        scaled = doubles / temperature
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(12), labels]).sum())

    fitted = calibration.fit_temperature(logits, labels)
    assert 0.049 < fitted < 20.1
    tolerance = 1e-9 * (1 + abs(loss(1.0)))
    assert loss(fitted) <= loss(1.0) + tolerance
    for other in (0.051, fitted * 0.9, fitted * 1.1, 19.9):
        if 0.051 <= other <= 19.9:
            assert loss(fitted) <= loss(other) + tolerance


def test_edges_of_the_temperature() -> None:
    right = np.eye(3, dtype=np.float32)
    assert calibration.fit_temperature(right, np.array([0, 1, 2])) == pytest.approx(np.exp(-3))
    assert calibration.fit_temperature(right, np.array([1, 2, 0])) == pytest.approx(np.exp(3))
    assert calibration.fit_temperature(np.zeros((3, 3), np.float32), np.array([0, 1, 2])) == 1


def test_labels_and_one_hot_votes_give_the_same_temperature() -> None:
    logits, labels = simulated(500, 1.7)
    assert calibration.fit_temperature(logits, labels) == calibration.fit_temperature(logits, np.eye(7)[labels])
    assert nll(logits, labels, calibration.fit_temperature(logits, labels)) < nll(logits, labels, 1.0)


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        (np.zeros((3, 2)), np.zeros(4, int)),
        (np.zeros((3, 2)), np.ones((3, 3))),
        (np.zeros((0, 2)), np.zeros(0, int)),
        (np.array([[0, np.inf]]), np.zeros(1, int)),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="logits"):
        calibration.fit_temperature(logits, truth)


@given(confidences, st.floats(0.01, 1))
def test_the_threshold_decides_the_share_asked_for_and_no_stricter_one_does(
    confidence: NDArray[np.float64], coverage: float
) -> None:
    threshold = calibration.coverage_threshold(confidence, coverage)
    assert (confidence >= threshold).mean() >= coverage - 1e-9
    assert (confidence > threshold).mean() < coverage


def test_thresholds_by_hand() -> None:
    confidence = np.array([0.9, 0.5, 0.7, 0.6, 0.8])
    assert calibration.coverage_threshold(confidence) == 0.6
    assert calibration.coverage_threshold(confidence, 1) == 0.5
    assert calibration.coverage_threshold(np.arange(100.0), 0.07) == 93  # .07 * 100 > 7 in floating point
    for coverage in (0, 1.1, np.nan):
        with pytest.raises(ValueError, match="coverage"):
            calibration.coverage_threshold(confidence, coverage)


def test_the_risk_coverage_curve_by_hand() -> None:
    confidence = np.array([0.6, 0.9, 0.8, 0.6])
    curve = calibration.risk_coverage(confidence, np.array([False, True, False, True]))
    assert curve.threshold.tolist() == [0.9, 0.8, 0.6]
    assert curve.coverage.tolist() == [0.25, 0.5, 1.0]  # the two at 0.6 pass together
    assert curve.risk.tolist() == [0.0, 0.5, 0.5]


@given(confidences)
def test_the_risk_coverage_curve_is_what_its_thresholds_decide(confidence: NDArray[np.float64]) -> None:
    correct = np.random.default_rng(1).random(len(confidence)) < 0.7
    curve = calibration.risk_coverage(confidence, correct)
    assert curve.coverage[-1] == 1
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        decided = confidence >= threshold
        assert coverage == pytest.approx(decided.mean())
        assert risk == pytest.approx(1 - correct[decided].mean())


@pytest.mark.parametrize("function", [calibration.calibration_error, calibration.risk_coverage])
def test_no_faces_and_shapes_that_differ_are_refused(function: object) -> None:
    assert callable(function)
    for n in (0, 3):
        with pytest.raises(ValueError, match="expected confidence and correct"):
            function(np.zeros(n), np.zeros(2 * n, np.bool_))


def test_the_accuracy_of_the_surest() -> None:
    confidence = np.linspace(0.2, 0.99, 100)
    correct = np.ones(100, np.bool_)
    correct[:20] = False  # the least sure
    correct[50] = False
    found = calibration.selective_accuracy(confidence, correct, 0.8)
    assert found.value == pytest.approx(79 / 80)
    assert found.low < found.value <= found.high <= 1
    assert calibration.selective_accuracy(confidence, correct, 1.0).value == pytest.approx(0.79)
    shuffled = np.random.default_rng(0).permutation(100)
    assert calibration.selective_accuracy(confidence[shuffled], correct[shuffled], 0.8).value == found.value
