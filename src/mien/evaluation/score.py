"""Everything that is said of a model on one set of faces, each score with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.evaluation import calibration, intervals, metrics
from mien.evaluation.intervals import Estimate
from mien.evaluation.metrics import Floats, Integers, Numbers

__all__ = ["COVERAGE", "ClassRow", "Scores", "judge"]

# Share of the faces that is decided where a model abstains from the rest.
COVERAGE: Final = 0.8


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The scores of one class.

    Attributes:
        name: The emotion.
        support: Faces that truly show it.
        predicted: Faces read as it.
        precision: Undefined (nan) for a class never predicted.
        recall: Undefined for a class absent from the truth.
        f1: Undefined for a class that is neither.
    """

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "emotion": self.name,
            "support": self.support,
            "predicted": self.predicted,
            "precision": self.precision.as_dict(),
            "recall": self.recall.as_dict(),
            "f1": self.f1.as_dict(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What `judge` found.

    Attributes:
        protocol: Who counts as the truth, in words.
        classes: The C emotions, in the order of the rows and columns of `confusion`.
        n: Faces judged.
        dropped: Faces that the protocol left out.
        voted: Faces among the n with votes on these classes; 0 without votes.
        accuracy: 0-1.
        macro_f1: 0-1, over the classes that the truth holds.
        selective: Accuracy on the nms `COVERAGE` of the faces, 0-1.
        nll: Mean negative log-likelihood of the labels, nats.
        calibration_error: 0-1, top label, bins of equal mass.
        perfect_error: The same of perfectly calibrated models with these confidences: the mean, and the range
            of 95% of them.
        excess_error: The first above the mean of the second, 0 at the least.
        cross_entropy: To the votes, mean over the voted faces, nats; None without votes.
        jensen_shannon: To the votes, likewise, nats, at most 0.693.
        human: Of one half of each face's votes to the other half, likewise: five annotators against five. Both halves
            are as coarse as five votes, so that a model may well be nearer to all ten. None without counted votes.
        rows: A row for every class.
        confusion: (C, C) counts, rows = truth.
        bins: The reliability diagram.
        found: Share of the faces, 0-1, that a detector found; the others are left out of all scores. None where there
            was no detector.
    """

    protocol: str
    classes: tuple[str, ...]
    n: int
    dropped: int
    voted: int
    accuracy: Estimate
    macro_f1: Estimate
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
    found: Estimate | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON; an undefined score is None."""
        return {
            "protocol": self.protocol,
            "n": self.n,
            "dropped": self.dropped,
            "voted": self.voted,
            "found": self.found.as_dict() if self.found else None,
            "accuracy": self.accuracy.as_dict(),
            "macro_f1": self.macro_f1.as_dict(),
            "accuracy_of_surest_80_percent": self.selective.as_dict(),
            "nll_nats": self.nll.as_dict(),
            "calibration_error": self.calibration_error.as_dict(),
            "perfect_calibration_error": self.perfect_error.as_dict(),
            "excess_calibration_error": self.excess_error.as_dict(),
            "cross_entropy_to_votes_nats": self.cross_entropy.as_dict() if self.cross_entropy else None,
            "jensen_shannon_to_votes_nats": self.jensen_shannon.as_dict() if self.jensen_shannon else None,
            "jensen_shannon_of_half_the_votes_to_the_others_nats": self.human.as_dict() if self.human else None,
            "classes": [row.as_dict() for row in self.rows],
            "confusion": self.confusion.tolist(),
            "calibration_bins": {
                "low": self.bins.low.tolist(),
                "high": self.bins.high.tolist(),
                "confidence": self.bins.confidence.tolist(),
                "accuracy": self.bins.accuracy.tolist(),
                "count": self.bins.count.tolist(),
            },
        }


def judge(
    probabilities: Floats,
    labels: Integers,
    classes: Sequence[str],
    *,
    protocol: str,
    votes: Numbers | None = None,
    dropped: int = 0,
    found: Estimate | None = None,
    draws: int = intervals.DRAWS,
    seed: int = 0,
) -> Scores:
    """Judges probabilities against labels and, where there are some, against the annotators' votes.

    Args:
        probabilities: (N, C), each row summing to 1; N at least 1.
        labels: (N,) integers 0 to C - 1.
        classes: The C emotions, in the order of the columns.
        protocol: Who counts as the truth, in words, as in "FER+ majority"; printed with every score.
        votes: (N, C) counts or shares over the same classes. Faces without a vote on any of them are left out
            of the two scores that need votes.
        dropped: Faces that the protocol left out before, only reported.
        found: Share of the faces that a detector found, only reported.
        draws: Resamples of every interval.
        seed: Of the resamples.

    Raises:
        ValueError: Shapes do not fit, a label is out of range, or rows are not probabilities.
    """
    _check(probabilities, labels, classes)
    predicted = metrics.predictions(probabilities)
    confidence = probabilities.max(axis=1)
    correct = predicted == labels
    confusion = metrics.confusion_matrix(labels, predicted, len(classes))
    resampled = intervals.resampled_confusions(confusion, draws=draws, seed=seed)

    calibration_error = calibration.calibration_estimate(confidence, correct, draws=draws, seed=seed)
    perfect = calibration.perfect_errors(confidence, draws=draws, seed=seed)
    chance = float(perfect.mean())

    voted, cross_entropy, jensen_shannon, human = 0, None, None, None
    if votes is not None:
        if votes.shape != probabilities.shape:
            raise ValueError(f"votes: expected {probabilities.shape}, got {votes.shape}")
        has_votes = votes.sum(axis=1) > 0
        voted = int(has_votes.sum())
        if voted:
            pair = probabilities[has_votes], votes[has_votes]
            cross_entropy = intervals.mean_estimate(metrics.cross_entropy(*pair), draws=draws, seed=seed)
            jensen_shannon = intervals.mean_estimate(metrics.jensen_shannon(*pair), draws=draws, seed=seed)
            human = _human(votes, draws, seed)

    return Scores(
        protocol=protocol,
        classes=tuple(classes),
        n=len(labels),
        dropped=dropped,
        voted=voted,
        accuracy=Estimate.from_draws(float(metrics.accuracy(confusion)), metrics.accuracy(resampled)),
        macro_f1=Estimate.from_draws(float(metrics.macro_f1(confusion)), metrics.macro_f1(resampled)),
        selective=calibration.selective_accuracy(confidence, correct, COVERAGE, draws=draws, seed=seed),
        nll=intervals.mean_estimate(metrics.negative_log_likelihood(probabilities, labels), draws=draws, seed=seed),
        calibration_error=calibration_error,
        perfect_error=Estimate.from_draws(chance, perfect),
        excess_error=calibration_error.above(chance),
        cross_entropy=cross_entropy,
        jensen_shannon=jensen_shannon,
        human=human,
        rows=_rows(classes, confusion, resampled),
        confusion=confusion,
        bins=calibration.calibration_bins(confidence, correct),
        found=found,
    )


def _human(votes: Numbers, draws: int, seed: int) -> Estimate | None:
    """The divergence between the halves of the votes; None for shares, and where no face has two votes."""
    counts = votes.astype(np.int64)
    enough = counts.sum(axis=1) >= 2
    if (counts != votes).any() or not enough.any():
        return None
    one, other = metrics.halves(counts[enough], seed)
    return intervals.mean_estimate(metrics.jensen_shannon(metrics.distributions(one), other), draws=draws, seed=seed)


def _check(probabilities: Floats, labels: Integers, classes: Sequence[str]) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes) or not len(probabilities):
        raise ValueError(f"probabilities: expected (N, {len(classes)}), not empty, got {probabilities.shape}")
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"labels: expected {probabilities.shape[:1]}, got {labels.shape}")
    off = np.abs(probabilities.sum(axis=1) - 1)
    if not ((probabilities >= 0).all() and (off <= 1e-3).all()):
        raise ValueError("probabilities: expected finite numbers 0-1 that sum to 1 in every row")


def _rows(classes: Sequence[str], confusion: NDArray[np.int64], resampled: NDArray[np.int64]) -> tuple[ClassRow, ...]:
    scores, draws = metrics.class_scores(confusion), metrics.class_scores(resampled)  # (C,) and (D, C)
    return tuple(
        ClassRow(
            name=name,
            support=int(scores.support[k]),
            predicted=int(scores.predicted[k]),
            precision=Estimate.from_draws(float(scores.precision[k]), draws.precision[:, k]),
            recall=Estimate.from_draws(float(scores.recall[k]), draws.recall[:, k]),
            f1=Estimate.from_draws(float(scores.f1[k]), draws.f1[:, k]),
        )
        for k, name in enumerate(classes)
    )
