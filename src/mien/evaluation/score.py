"""The scores of a model on one set of faces, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.emotions import vocabulary
from mien.evaluation import calibration, intervals, metrics
from mien.evaluation.intervals import ALONE, Estimate, Resampling
from mien.evaluation.metrics import Floats, Integers, Numbers

# Selective accuracy is reported for this fraction of the faces, those with the highest confidence.
COVERAGE: Final = 0.8


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The scores of one class.

    Attributes:
        name: The emotion.
        support: Number of faces of this class.
        predicted: Number of faces predicted as this class.
        precision: Undefined (nan) for a class that is never predicted.
        recall: Undefined for a class that no label has.
        f1: Undefined for a class that is neither predicted nor a label.
    """

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        counts = {"emotion": self.name, "support": self.support, "predicted": self.predicted}
        scores = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return counts | {name: estimate.as_dict() for name, estimate in scores.items()}


@dataclass(frozen=True, slots=True)
class RareClass:
    """How many faces of a class with few faces were found.

    Attributes:
        name: The emotion.
        support: Number of faces of this class.
        found: How many of them were predicted as it.
        recall: Their share, with Wilson's interval.
    """

    name: str
    support: int
    found: int
    recall: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {"emotion": self.name, "support": self.support, "found": self.found, "recall": self.recall.as_dict()}


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores under one protocol.

    Attributes:
        protocol: How the true labels are defined, in words.
        classes: The C emotions, in the order of the rows and columns of `confusion`.
        n: Number of faces scored.
        dropped: Number of faces that the protocol excludes.
        voted: Number of faces among the n with votes for these classes; 0 without votes.
        accuracy: 0-1.
        macro_f1: 0-1, over the classes that occur in the labels.
        mean_recall: 0-1, over the classes that occur in the labels (balanced accuracy).
        mean_recall_of_seven: The same over the seven emotions of FER2013, without contempt; None if the classes are not
            the usual eight.
        selective: Accuracy on the fraction `COVERAGE` of the faces with the highest confidence, 0-1.
        nll: Mean negative log-likelihood of the labels, in nats.
        calibration_error: 0-1, of the top class, in bins of equal mass.
        perfect_error: Calibration error that perfectly calibrated models with these confidences show by chance: the
            mean, and the range of 95% of them.
        excess_error: Calibration error above chance: `calibration_error` minus the mean of `perfect_error`, at least 0.
        cross_entropy: To the votes, mean over the faces with votes, in nats; None without votes.
        jensen_shannon: Jensen-Shannon divergence to the votes, mean over the faces with votes, in nats, at most 0.693;
            None without votes.
        human: Jensen-Shannon divergence of one half of each face's votes to the other half, in nats: five annotators
            against five. Both halves are coarse, so a model may well be closer to all ten votes. None without counted
            votes.
        rows: The scores of each class.
        confusion: (C, C) counts; a row is a true class.
        bins: The reliability diagram.
        rare: Of the classes with fewer than `intervals.FEW` faces, how many were found.
        assumed_error: Calibration error above chance if the faces are weighted to the class shares that a prior
            assumes; None under the prior of the training data.
        found: Fraction of the faces, 0-1, that a detector found; all other scores exclude the rest. None without a
            detector.
        units: Number of persons (or clips) that the intervals are resampled over; the number of faces if each is drawn
            alone.
        unit: What these are, in the plural: "faces", "persons" or "clips".
    """

    protocol: str
    classes: tuple[str, ...]
    n: int
    dropped: int
    voted: int
    accuracy: Estimate
    macro_f1: Estimate
    mean_recall: Estimate
    mean_recall_of_seven: Estimate | None
    selective: Estimate
    nll: Estimate
    calibration_error: Estimate
    perfect_error: Estimate
    excess_error: Estimate
    cross_entropy: Estimate | None
    jensen_shannon: Estimate | None
    human: Estimate | None
    rows: tuple[ClassRow, ...]
    confusion: NDArray[np.int64]
    bins: calibration.CalibrationBins
    rare: tuple[RareClass, ...] = ()
    assumed_error: Estimate | None = None
    found: Estimate | None = None
    units: int = 0
    unit: str = "faces"

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON; an undefined score is None."""
        estimates: dict[str, Estimate | None] = {
            "found": self.found,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "mean_recall": self.mean_recall,
            "mean_recall_of_seven": self.mean_recall_of_seven,
            "selective_accuracy_80": self.selective,
            "nll_nats": self.nll,
            "calibration_error": self.calibration_error,
            "perfect_calibration_error": self.perfect_error,
            "calibration_error_above_chance": self.excess_error,
            "calibration_error_above_chance_at_assumed_shares": self.assumed_error,
            "cross_entropy_to_votes_nats": self.cross_entropy,
            "jensen_shannon_to_votes_nats": self.jensen_shannon,
            "jensen_shannon_of_half_the_votes_to_the_others_nats": self.human,
        }
        bins = ("low", "high", "confidence", "accuracy", "count")
        return {
            "protocol": self.protocol,
            "n": self.n,
            "dropped": self.dropped,
            "voted": self.voted,
            "resampled": {"unit": self.unit, "count": self.units},
            **{key: estimate and estimate.as_dict() for key, estimate in estimates.items()},
            "classes": [row.as_dict() for row in self.rows],
            "rare_classes": [each.as_dict() for each in self.rare],
            "confusion": self.confusion.tolist(),
            "calibration_bins": {name: getattr(self.bins, name).tolist() for name in bins},
        }


def compute_scores(
    probabilities: Floats,
    labels: Integers,
    classes: Sequence[str],
    *,
    protocol: str,
    votes: Numbers | None = None,
    dropped: int = 0,
    how: Resampling = ALONE,
) -> Scores:
    """Scores probabilities against labels and, if given, against the votes of the annotators.

    Args:
        probabilities: (N, C), each row summing to 1; N at least 1.
        labels: (N,) integers from 0 to C - 1.
        classes: The C emotions, in the order of the columns.
        protocol: How the true labels are defined, as in "FER+ majority"; printed with every score.
        votes: (N, C) counts or fractions for the same classes. Faces without a vote for any of them are excluded from
            the scores that need votes.
        dropped: Number of faces that the protocol excludes, for the report.
        how: How the resamples of every interval are drawn.

    Raises:
        ValueError: The shapes do not match, a label is out of range, or a row is not a probability distribution.
    """
    _check(probabilities, labels, classes)
    predicted = metrics.predictions(probabilities)
    confidence = probabilities.max(axis=1)
    correct = predicted == labels
    confusion = metrics.confusion_matrix(labels, predicted, len(classes))
    resampled = intervals.resamples(labels, predicted, len(classes), how)
    filled = intervals.filled(resampled, confusion)
    calibration_error = calibration.calibration_estimate(confidence, correct, how=how)
    perfect = calibration.perfect_errors(confidence, draws=how.draws, seed=how.seed)
    chance = float(perfect.mean())

    voted, cross_entropy, jensen_shannon, human = 0, None, None, None
    if votes is not None:
        if votes.shape != probabilities.shape:
            raise ValueError(f"votes: expected {probabilities.shape}, got {votes.shape}")
        has_votes = votes.sum(axis=1) > 0
        voted = int(has_votes.sum())
        if voted:
            pair = probabilities[has_votes], votes[has_votes]
            cross_entropy = intervals.mean_estimate(metrics.cross_entropy(*pair), how.of(has_votes))
            jensen_shannon = intervals.mean_estimate(metrics.jensen_shannon(*pair), how.of(has_votes))
        counts = votes.astype(np.int64)
        several = counts.sum(axis=1) >= 2
        if several.any() and not (counts != votes).any():  # fractions cannot be divided into halves
            one, other = metrics.halves(counts[several], how.seed)
            apart = metrics.jensen_shannon(metrics.distributions(one), other)
            human = intervals.mean_estimate(apart, how.of(several))

    rows = _rows(classes, (labels, predicted), confusion, resampled, how)
    return Scores(
        protocol=protocol,
        classes=tuple(classes),
        n=len(labels),
        dropped=dropped,
        voted=voted,
        accuracy=Estimate.from_draws(float(metrics.accuracy(confusion)), metrics.accuracy(resampled)),
        macro_f1=Estimate.from_draws(float(metrics.macro_f1(confusion)), metrics.macro_f1(filled)),
        mean_recall=Estimate.from_draws(float(metrics.mean_recall(confusion)), metrics.mean_recall(filled)),
        mean_recall_of_seven=_of_seven(classes, confusion, filled),
        selective=calibration.selective_accuracy(confidence, correct, COVERAGE, how),
        nll=intervals.mean_estimate(metrics.negative_log_likelihood(probabilities, labels), how),
        calibration_error=calibration_error,
        perfect_error=Estimate.from_draws(chance, perfect),
        excess_error=calibration_error.above(chance),
        cross_entropy=cross_entropy,
        jensen_shannon=jensen_shannon,
        human=human,
        rows=rows,
        confusion=confusion,
        bins=calibration.calibration_bins(confidence, correct),
        rare=tuple(
            RareClass(row.name, row.support, found, row.recall)
            for row, found in zip(rows, np.diag(confusion).tolist(), strict=True)
            if 0 < row.support < intervals.FEW
        ),
        units=how.units() or len(labels),
        unit=how.unit,
    )


def assumed_error(probabilities: Floats, labels: Integers, shares: Floats, how: Resampling = ALONE) -> Estimate:
    """The calibration error above chance if faces are weighted so that their classes have these shares (C,)."""
    correct = metrics.predictions(probabilities) == labels
    weights = calibration.class_weights(labels, shares)
    error, chance = calibration.weighted_error(probabilities.max(axis=1), correct, weights, how=how)
    return error.above(chance)


def _of_seven(classes: Sequence[str], confusion: NDArray[np.int64], resampled: NDArray[np.int64]) -> Estimate | None:
    """Mean recall over FER2013's seven emotions, if there are eight."""
    seven = vocabulary(7)
    if set(classes) != set(vocabulary(8)):
        return None
    places = [list(classes).index(name) for name in seven]
    value, draws = metrics.mean_recall(confusion, places), metrics.mean_recall(resampled, places)
    return Estimate.from_draws(float(value), draws)


def _check(probabilities: Floats, labels: Integers, classes: Sequence[str]) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes) or not len(probabilities):
        raise ValueError(f"probabilities: expected (N, {len(classes)}), not empty, got {probabilities.shape}")
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"labels: expected {probabilities.shape[:1]}, got {labels.shape}")
    off = np.abs(probabilities.sum(axis=1) - 1)
    if not ((probabilities >= 0).all() and (off <= 1e-3).all()):
        raise ValueError("probabilities: expected finite numbers 0-1 that sum to 1 in every row")


def _f1_of_few(right: int, said: int, units: int | None) -> Estimate:
    """F1 of a class with few faces, by Wilson's interval of the Jaccard index J: F1 = 2 J / (1 + J).

    Args:
        right: Its faces that are found.
        said: Its faces, and those that are called it, in all.
        units: The number of persons that they show, if persons are resampled.
    """
    found = intervals.wilson(right, said - right, units)
    return Estimate(*(2 * share / (1 + share) for share in (found.value, found.low, found.high)))


def _rows(
    classes: Sequence[str],
    answers: tuple[Integers, Integers],
    confusion: NDArray[np.int64],
    resampled: NDArray[np.int64],
    how: Resampling,
) -> tuple[ClassRow, ...]:
    """The scores of each class; those of one with few faces have Wilson's interval, which may not be empty."""
    labels, predicted = answers
    scores, draws = metrics.class_scores(confusion), metrics.class_scores(resampled)  # (C,) and (D, C)

    def row(k: int) -> ClassRow:
        support, said, right = int(scores.support[k]), int(scores.predicted[k]), int(confusion[k, k])
        mine, called = labels == k, predicted == k
        persons, persons_called = how.units(mine), how.units(called)
        few, few_called = intervals.is_few(support, persons), intervals.is_few(said, persons_called)
        return ClassRow(
            name=classes[k],
            support=support,
            predicted=said,
            precision=intervals.wilson(right, said, persons_called)
            if few_called
            else Estimate.from_draws(float(scores.precision[k]), draws.precision[:, k]),
            recall=intervals.wilson(right, support, persons)
            if few
            else Estimate.from_draws(float(scores.recall[k]), draws.recall[:, k]),
            f1=_f1_of_few(right, support + said, how.units(mine | called))
            if few or few_called
            else Estimate.from_draws(float(scores.f1[k]), draws.f1[:, k]),
        )

    return tuple(row(k) for k in range(len(classes)))
