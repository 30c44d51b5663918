"""Calibration error, temperature scaling, and selective prediction (abstaining at low confidence).

`confidence` (N,) is the probability of the top class; `correct` (N,) tells whether that class is the true one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.intervals import ALONE, DRAWS, LEVEL, Estimate, Resampling, batches, bootstrap
from mien.evaluation.metrics import Floats, Numbers, distributions

BINS: Final = 15

# Temperatures are searched from e^-3 = 0.05 to e^3 = 20.
_LOG_TEMPERATURE: Final = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationBins:
    """A reliability diagram as numbers, least confident bin first; every array is (B,).

    Attributes:
        low: Lowest confidence in the bin.
        high: Highest confidence in the bin.
        confidence: Mean confidence.
        accuracy: Fraction of correct predictions.
        count: Number of faces.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]


def calibration_bins(confidence: Floats, correct: NDArray[np.bool_], bins: int = BINS) -> CalibrationBins:
    """Divides faces, sorted by confidence, into bins of equal mass: sizes differ by at most one, ties keep their order.

    With fewer faces than bins, every face has its own bin.
    """
    confidence, correct = _sorted(confidence, correct)
    starts = _starts(len(confidence), bins)
    ends = np.append(starts[1:], len(confidence))
    count = ends - starts
    return CalibrationBins(
        low=confidence[starts],
        high=confidence[ends - 1],
        confidence=np.add.reduceat(confidence, starts) / count,
        accuracy=np.add.reduceat(correct.astype(np.float64), starts) / count,
        count=count,
    )


def calibration_error(confidence: Floats, correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error, 0-1: the mean distance of accuracy from confidence over the bins.

    Of the top class (Naeini et al. 2015) in bins of equal mass (Nixon et al. 2019), weighted by their faces. By chance
    it is above 0 even for a perfectly calibrated model: see `perfect_errors`.
    """
    return float(_error(*_sorted(confidence, correct), bins))


def calibration_estimate(
    confidence: Floats, correct: NDArray[np.bool_], bins: int = BINS, how: Resampling = ALONE
) -> Estimate:
    """`calibration_error` with its bootstrap interval.

    Resampling adds noise, which the error counts as error: for a well-calibrated model, the resampled values are about
    40% too high. They are therefore reduced by their mean excess over the value, but not below 0.
    """
    order = np.argsort(confidence, kind="stable")
    confidence, correct = _sorted(confidence, correct)

    def resampled(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = np.sort(rows, axis=1)  # faces are sorted by confidence, so sorted indices keep that order
        return _error(confidence[rows], correct[rows], bins)

    value = float(_error(confidence, correct, bins))
    errors = bootstrap(resampled, len(confidence), how.of(order))
    return Estimate.from_draws(value, np.maximum(errors - (errors.mean() - value), 0))


def perfect_errors(
    confidence: Floats,
    bins: int = BINS,
    *,
    weights: Floats | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The `calibration_error` (draws,) that a perfectly calibrated model with these confidences shows by chance.

    In each draw, every face is correct with the probability that the model states (consistency resampling, Bröcker and
    Smith 2007). A measured error is to be compared with the mean of the draws. With weights (N,) of the faces, it is
    the chance level of `weighted_error`.
    """
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order].astype(np.float64)
    mass = None if weights is None else weights[order]
    random = np.random.default_rng(seed)
    n = len(rising)
    return np.concatenate([_error(rising, random.random((rows, n)) < rising, bins, mass) for rows in batches(n, draws)])


def excess_error(confidence: Floats, correct: NDArray[np.bool_], how: Resampling = ALONE) -> Estimate:
    """The calibration error above its level by chance, which `perfect_errors` explains; at least 0."""
    return calibration_estimate(confidence, correct, how=how).above(float(perfect_errors(confidence).mean()))


def weighted_error(
    confidence: Floats, correct: NDArray[np.bool_], weights: Floats, bins: int = BINS, how: Resampling = ALONE
) -> tuple[Estimate, float]:
    """The calibration error if each face counts with its weight (N,), and its level by chance.

    With weights that bring the classes to other shares, this is the calibration on faces with those shares. Bins are
    those of `calibration_error`. Few faces of a rare class then decide, which the interval and the level by chance
    show.
    """
    order = np.argsort(confidence, kind="stable")
    rising, right, mass = confidence[order].astype(np.float64), correct[order], weights[order].astype(np.float64)

    def resampled(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = np.sort(rows, axis=1)
        return _error(rising[rows], right[rows], bins, mass[rows])

    value = float(_error(rising, right, bins, mass))
    errors = bootstrap(resampled, len(rising), how.of(order))
    chance = float(perfect_errors(confidence, bins, weights=weights, draws=how.draws).mean())
    return Estimate.from_draws(value, np.maximum(errors - (errors.mean() - value), 0)), chance


def perfect_accuracies(
    confidence: Floats, bins: int = BINS, *, draws: int = DRAWS, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95% range, low (B,) and high (B,), of the accuracy of each bin if calibration is perfect.

    The bins are those of `calibration_bins`, the draws those of `perfect_errors`.
    """
    rising = np.sort(confidence).astype(np.float64)
    random = np.random.default_rng(seed)
    n = len(rising)
    starts = _starts(n, bins)
    count = np.diff(np.append(starts, n))
    accuracies = [
        np.add.reduceat(random.random((rows, n)) < rising, starts, axis=1, dtype=np.int64) / count
        for rows in batches(n, draws)
    ]
    low, high = np.quantile(np.concatenate(accuracies), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def class_weights(labels: NDArray[np.integer], shares: Floats) -> NDArray[np.float64]:
    """The weights (N,) that bring faces with these labels to the class shares (C,); their mean is 1.

    Classes without faces stay without.
    """
    counts = np.bincount(labels, minlength=len(shares))
    weights = np.divide(shares, counts, out=np.zeros(len(shares)), where=counts > 0)[labels]
    return np.asarray(weights / weights.mean() if weights.any() else np.ones(len(labels)), np.float64)


def fit_temperature(
    logits: Floats, truth: Numbers, factors: Floats | None = None, weights: Floats | None = None
) -> float:
    """The temperature T that minimises the cross-entropy of softmax(logits / T) to the truth (Guo et al. 2017).

    For labels, this is the negative log-likelihood. The loss is convex in 1 / T; its slope is the mean logit under the
    model minus the mean logit under the truth. Bisection on log T between 0.05 and 20 finds where the slope changes its
    sign; the result is a limit of that range if the loss falls up to it, and 1 if no temperature changes the loss.

    Args:
        logits: (N, C).
        truth: (N,) labels as integers, or (N, C) votes, which are normalised here.
        factors: (C,) that the probabilities are multiplied by before they are renormalised, as under a prior.
        weights: (N,) of the faces.

    Raises:
        ValueError: The shapes do not match, or a logit is not finite.
    """
    if logits.ndim != 2 or not len(logits) or truth.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(f"expected logits (N, C) and truth (N,) or (N, C), got {logits.shape}, {truth.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits: expected finite numbers")
    targets = distributions(truth) if truth.ndim == 2 else np.eye(logits.shape[1])[truth]
    # Adding a constant to a row changes no probability; with the maximum at 0, exp() cannot overflow.
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    mass = np.ones(len(logits)) if weights is None else weights.astype(np.float64)
    by = np.ones(logits.shape[1]) if factors is None else factors
    target_mean = float(mass @ (targets * shifted).sum(axis=1))

    low, high = -_LOG_TEMPERATURE, _LOG_TEMPERATURE
    for _ in range(50):
        middle = (low + high) / 2  # starts at log 1
        powers = np.maximum(np.exp(shifted / np.exp(middle)) * by, np.finfo(float).tiny)
        expected = float(mass @ ((powers * shifted).sum(axis=1) / powers.sum(axis=1)))
        if expected == target_mean:
            break
        if expected < target_mean:  # the probabilities are too soft
            high = middle
        else:
            low = middle
    return float(np.exp(middle))


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The risk-coverage curve: a point for every distinct threshold, highest first; every array is (P,).

    Attributes:
        threshold: Faces with at least this confidence are classified; the model abstains from the rest.
        coverage: Fraction of the faces that are classified, above 0 to 1.
        risk: Fraction of wrong predictions among them.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


def risk_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> RiskCoverage:
    """The risk at every coverage that a threshold on the confidence can reach (El-Yaniv and Wiener 2010)."""
    confidence, correct = _sorted(confidence, correct)
    falling = confidence[::-1]
    decided = np.arange(1, len(falling) + 1)
    wrong = np.cumsum(~correct[::-1])
    last = np.append(falling[1:] < falling[:-1], True)  # faces of equal confidence pass a threshold together
    return RiskCoverage(
        threshold=falling[last],
        coverage=decided[last] / len(falling),
        risk=wrong[last] / decided[last],
    )


def risk_range(
    confidence: Floats, correct: NDArray[np.bool_], coverage: Floats, how: Resampling = ALONE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bootstrap interval, low (P,) and high (P,), of the risk at each coverage (P,), above 0 to 1."""
    order = np.argsort(confidence, kind="stable")[::-1]
    confidence, correct = _sorted(confidence, correct)
    wrong = ~correct[::-1]  # highest confidence first

    def risks(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = np.sort(rows, axis=1)
        decided = np.clip(_decided(coverage, rows.shape[1]), 1, rows.shape[1])
        shares: NDArray[np.float64] = np.cumsum(wrong[rows], axis=1)[:, decided - 1] / decided
        return shares

    drawn = bootstrap(risks, len(wrong), how.of(order))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def selective_accuracy(
    confidence: Floats, correct: NDArray[np.bool_], coverage: float = 0.8, how: Resampling = ALONE
) -> Estimate:
    """The accuracy on this fraction of the faces, those with the highest confidence (Geifman and El-Yaniv 2017)."""
    _, right = _sorted(confidence, correct)
    decided = int(_decided(coverage, len(right)))
    low, high = risk_range(confidence, correct, np.array([coverage]), how)
    value = float(right[len(right) - decided :].mean())
    return Estimate(value, min(1 - float(high[0]), value), max(1 - float(low[0]), value))


def coverage_threshold(confidence: Floats, coverage: float = 0.8) -> float:
    """The highest threshold with at least this coverage: the fraction of faces with `confidence >= threshold`.

    Raises:
        ValueError: The coverage is not above 0 and at most 1, or there are no faces.
    """
    if not 0 < coverage <= 1 or confidence.ndim != 1 or not len(confidence):
        raise ValueError(f"expected confidences (N,) and 0 < coverage <= 1, got {confidence.shape}, {coverage}")
    decided = int(_decided(coverage, len(confidence)))
    return float(np.sort(confidence)[len(confidence) - decided])


def _decided(coverage: Floats | float, n: int) -> NDArray[np.int64]:
    """The number of faces that a fraction of n faces is, rounded up."""
    return np.ceil(np.asarray(coverage) * n - 1e-9).astype(np.int64)  # .07 * 100 is slightly above 7


def _sorted(confidence: Floats, correct: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Checks both and sorts them by rising confidence."""
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise ValueError(f"expected confidence and correct (N,), not empty, got {confidence.shape} and {correct.shape}")
    order = np.argsort(confidence, kind="stable")
    return confidence[order].astype(np.float64), correct[order].astype(np.bool_)


def _starts(n: int, bins: int) -> NDArray[np.int64]:
    """The index at which each bin of n sorted faces begins."""
    filled = min(bins, n)
    return np.arange(filled) * n // filled


def _error(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    bins: int,
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Calibration error (...) of faces (..., N) sorted by confidence, each with its weight, (N,) or (..., N)."""
    n = confidence.shape[-1]
    gap = correct - confidence if weights is None else (correct - confidence) * weights
    gaps = np.add.reduceat(gap, _starts(n, bins), axis=-1)  # (..., B), times the bin's count
    total = n if weights is None else weights.sum(axis=-1)
    errors: NDArray[np.float64] = np.abs(gaps).sum(axis=-1) / total
    return errors
