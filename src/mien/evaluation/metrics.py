"""Accuracy and F1 from confusion matrices, and distances of probabilities to labels and votes.

Scores of decisions are functions of confusion matrices with any leading shape: one matrix (C, C) gives one score, a
thousand resampled ones (D, C, C) give a thousand. Distances are returned per face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.integer[Any]]
Numbers: TypeAlias = NDArray[np.floating[Any] | np.integer[Any]]

# Lower bound of probabilities in logarithms: a label with probability 0 costs 27.6 nats, not infinitely many.
FLOOR: Final = 1e-12


def predictions(probabilities: Floats) -> NDArray[np.intp]:
    """The top class (N,) of each row of (N, C); the first one on ties."""
    top: NDArray[np.intp] = probabilities.argmax(axis=1)
    return top


def confusion_matrix(labels: Integers, predicted: Integers, classes: int) -> NDArray[np.int64]:
    """Counts (C, C): row = true class, column = predicted class.

    Args:
        labels: (N,) true classes, 0 to C - 1.
        predicted: (N,) predicted classes, 0 to C - 1.
        classes: C.

    Raises:
        ValueError: The shapes differ, or a class is out of range.
    """
    if labels.ndim != 1 or labels.shape != predicted.shape:
        raise ValueError(f"expected labels and predictions (N,), got {labels.shape} and {predicted.shape}")
    for name, values in (("labels", labels), ("predictions", predicted)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(f"{name}: expected 0 to {classes - 1}, got {values.min()} to {values.max()}")
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: Integers) -> NDArray[np.float64]:
    """The fraction of correct predictions (...) in counts (..., C, C); nan without faces."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """Scores of each class; nan where a score is undefined.

    Attributes:
        precision: (..., C) Correct among those predicted as the class; nan for a class that is never predicted.
        recall: (..., C) Correct among those of the class; nan for a class that no label has.
        f1: (..., C) Harmonic mean of the two, 2 TP / (2 TP + FP + FN); nan for a class that is neither a label nor
            predicted.
        support: (..., C) Number of faces of the class.
        predicted: (..., C) Number of faces predicted as the class.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: Integers
    predicted: Integers


def class_scores(confusion: Integers) -> ClassScores:
    """Precision, recall, F1 and support of every class, from counts (..., C, C)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return ClassScores(
        precision=_ratio(right, predicted),
        recall=_ratio(right, support),
        f1=_ratio(2 * right, support + predicted),
        support=support,
        predicted=predicted,
    )


def macro_f1(confusion: Integers) -> NDArray[np.float64]:
    """The unweighted mean (...) of F1 over the classes that occur in the labels, from counts (..., C, C).

    A class without faces is excluded: predicting it already lowers the recall of the true class. This is
    scikit-learn's `f1_score(average="macro", labels=np.unique(labels))`. nan without faces.
    """
    scores = class_scores(confusion)
    present = scores.support > 0
    return _ratio(np.where(present, scores.f1, 0).sum(axis=-1), present.sum(axis=-1))


def mean_recall(confusion: Integers, classes: Sequence[int] | None = None) -> NDArray[np.float64]:
    """The unweighted mean (...) of the recall over the classes that occur in the labels, from counts (..., C, C).

    Also called balanced accuracy: a class with few faces counts as much as one with many. This is scikit-learn's
    `balanced_accuracy_score`. nan without faces.

    Args:
        confusion: The counts.
        classes: Indices of the classes to take the mean over; None for all.
    """
    scores = class_scores(confusion)
    chosen = list(range(confusion.shape[-1])) if classes is None else list(classes)
    recall, present = scores.recall[..., chosen], scores.support[..., chosen] > 0
    return _ratio(np.where(present, recall, 0).sum(axis=-1), present.sum(axis=-1))


def distributions(votes: Numbers) -> NDArray[np.float64]:
    """Votes (N, C), counts or fractions, as distributions (N, C) that sum to 1.

    Raises:
        ValueError: The shape is not (N, C), a vote is negative, or a row has no votes.
    """
    if votes.ndim != 2:
        raise ValueError(f"votes: expected (N, C), got {votes.shape}")
    totals = votes.sum(axis=1, keepdims=True, dtype=np.float64)
    if (votes < 0).any() or not (totals > 0).all():
        raise ValueError("votes: expected numbers from 0 and at least one vote in every row")
    shares: NDArray[np.float64] = votes / totals
    return shares


def negative_log_likelihood(probabilities: Floats, labels: Integers) -> NDArray[np.float64]:
    """-log p(label) of each face (N,), in nats, for probabilities (N, C) and labels (N,)."""
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected (N, C) and labels (N,), got {probabilities.shape} and {labels.shape}")
    chosen = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(chosen, FLOOR, dtype=np.float64))


def cross_entropy(probabilities: Floats, votes: Numbers) -> NDArray[np.float64]:
    """-sum q log p of each face (N,), in nats, for probabilities p (N, C) and votes q (N, C).

    The votes are normalised here. The minimum is the entropy of the votes, not 0.
    """
    truth = _as_truth(probabilities, votes)
    entropies: NDArray[np.float64] = -(truth * np.log(np.maximum(probabilities, FLOOR, dtype=np.float64))).sum(axis=1)
    return entropies


def jensen_shannon(probabilities: Floats, votes: Numbers) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of each face (N,), in nats: from 0 (equal) to log 2 = 0.693 (disjoint).

    The divergence of Lin (1991, section IV), not its square root. Votes (N, C) are normalised here.
    """
    truth = _as_truth(probabilities, votes)
    model = probabilities.astype(np.float64)
    return (_entropy_to_mixture(truth, model) + _entropy_to_mixture(model, truth)) / 2


def halves(votes: Integers, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The votes of each face (N, C), split at random into two halves (N, C) of equal size; an odd vote is left out.

    The divergence between the halves measures how far the annotators differ among themselves.
    """
    count, classes = votes.shape
    cells = np.repeat(np.arange(votes.size), votes.ravel())  # each vote, by face and class
    faces = cells // classes
    cells = cells[np.lexsort((np.random.default_rng(seed).random(len(cells)), faces))]
    totals = votes.sum(axis=1)
    place = np.arange(len(cells)) - np.repeat(np.cumsum(totals) - totals, totals)  # among its face's
    half = np.repeat(totals // 2, totals)
    one, other = (
        np.bincount(cells[chosen], minlength=votes.size).reshape(count, classes)
        for chosen in (place < half, (place >= half) & (place < 2 * half))
    )
    return one, other


def _as_truth(probabilities: Floats, votes: Numbers) -> NDArray[np.float64]:
    """The votes as distributions; they must have the shape of the probabilities."""
    if probabilities.shape != votes.shape:
        raise ValueError(f"expected votes of shape {probabilities.shape}, got {votes.shape}")
    return distributions(votes)


def _entropy_to_mixture(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative entropy of p to (p + q) / 2 along the last axis; a term with p = 0 is 0."""
    # p / (p + q) rather than p / ((p + q) / 2): half of the smallest float would be 0.
    shares = np.divide(p, p + q, out=np.full_like(p, 0.5), where=p > 0)
    entropies: NDArray[np.float64] = (p * np.log(2 * shares)).sum(axis=-1)
    return entropies


def _ratio(part: Numbers, whole: Integers) -> NDArray[np.float64]:
    """Part / whole as an array; nan where the whole is 0."""
    ratios: NDArray[np.float64] = np.divide(
        part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0
    )
    return ratios
