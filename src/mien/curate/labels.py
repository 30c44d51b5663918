"""Whether labels are right, by a head that has not seen them: probabilities for `mien.evaluation.curation`.

The features of a network are fixed; a linear softmax head on them (multinomial logistic regression) is fitted by
cross-validation, so that the probabilities of each image come from a head that was fitted to others. All images of a
person, all frames of a clip and all copies of an image are in one fold. The strength of the penalty is the one with
the highest likelihood of held-out labels.

If the network knows all the classes, and was not trained on this data, the head starts from the network's own
logits: with few images the probabilities are nearly those of the network, with many the data decide.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples
from mien.datasets.folds import persons
from mien.datasets.samples import NO_LABEL
from mien.errors import DataError, InputError
from mien.expression.base import softmax

Array = NDArray[np.float32]

STRENGTHS: Final = (1.0, 0.1, 0.01, 0.001)  # of the penalty, on whitened features
_STEPS: Final = 40
_MOST: Final = 6000  # images by which the strength is chosen
_SMALLEST: Final = 1e-6
_PREDICTIONS: Final = "predictions.json"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Probabilities of the classes for each image, from what has not seen its label.

    Attributes:
        probabilities: (N, C); uniform where nothing was judged.
        labels: (N,) the labels that were judged, else -1.
        folds: Number of folds; 0 if the probabilities come from elsewhere.
        notes: What the user should know.
    """

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    folds: int = 0
    notes: tuple[str, ...] = ()


def labels_of(samples: Samples) -> NDArray[np.int64]:
    """The label of each image (N,); a frame without one has that of its clip."""
    if samples.clip_labels is None:
        return samples.labels
    return np.where(samples.labels == NO_LABEL, samples.clip_labels, samples.labels)


def grouped(samples: Samples, copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """What may not be divided (N,): images that share a person, a clip or a copy have one number."""
    people = np.unique(persons(samples), return_inverse=True)[1]
    numbers = people.astype(np.int64)
    while True:  # the smallest number spreads through both kinds of groups
        before = numbers
        for kind in (copies, people):
            _, place = np.unique(kind, return_inverse=True)
            least = np.full(place.max() + 1, len(samples), np.int64)
            np.minimum.at(least, place, numbers)
            numbers = least[place]
        if (numbers == before).all():
            return numbers


def stratified_folds(labels: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The fold (N,) of each image, 0 to count - 1: groups stay together, and each class is spread over the folds."""
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(first))
    order = order[np.argsort(labels[first][order], kind="stable")]
    folds = np.zeros(len(first), np.int64)
    folds[order] = np.arange(len(first)) % count
    return np.asarray(folds[place])


def judge(
    features: Array, labels: NDArray[np.int64], groups: NDArray[np.int64], size: int, folds: int, start: Array | None
) -> Judged:
    """Cross-validates a head.

    Args:
        features: (N, F) of the images.
        labels: (N,) from 0 to size - 1, or -1.
        groups: (N,) what may not be divided.
        size: Number of classes.
        folds: Number of folds; fewer if a class has fewer groups.
        start: (N, C) logits that the head is added to; None for none.

    Returns:
        Probabilities for the classes with at least two groups; nothing is judged if there are not two such classes.
    """
    spread = np.array([len(np.unique(groups[labels == label])) for label in range(size)])
    able = np.flatnonzero(spread >= 2)
    uniform = np.full((len(labels), size), 1 / size)
    if len(able) < 2:
        why = "no image has a label" if not (labels >= 0).any() else "fewer than two classes have two different images"
        return Judged(uniform, np.full(len(labels), NO_LABEL, np.int64), 0, (f"labels were not judged: {why}",))
    rows = np.flatnonzero(np.isin(labels, able))
    place = np.searchsorted(able, labels[rows])
    count = int(min(folds, spread[able].min()))
    parts = stratified_folds(place, groups[rows], count)
    base = np.zeros((len(rows), len(able)), np.float32) if start is None else start[rows][:, able]
    chosen = _chosen(features[rows], place, parts, base)
    judged = np.full(len(labels), NO_LABEL, np.int64)
    judged[rows] = labels[rows]
    found = np.zeros((len(rows), len(able)))
    for part in range(count):
        held = parts == part
        head = _fitted(features[rows][~held], place[~held], base[~held], (chosen,))[0]
        found[held] = head(features[rows][held], base[held])
    uniform[rows] = 0
    uniform[rows[:, None], able] = found
    return Judged(uniform, judged, count)


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """A linear head on whitened features."""

    mean: Array  # (F,)
    whiten: Array  # (F, K)
    weight: Array  # (K, C)
    bias: Array  # (C,)

    def __call__(self, features: Array, base: Array) -> NDArray[np.float64]:
        """The probabilities (N, C)."""
        inputs = np.asarray((features - self.mean) @ self.whiten, np.float32)
        return softmax(inputs @ self.weight + self.bias + base).astype(np.float64)


def _fitted(features: Array, labels: NDArray[np.int64], base: Array, strengths: tuple[float, ...]) -> list[_Head]:
    """The head for each strength of the penalty, by accelerated gradient descent (Nesterov 1983).

    Whitened features have a covariance of 1, so that a few dozen steps of one length are enough for all strengths.
    """
    mean = features.mean(axis=0)
    centred = features - mean
    values, vectors = np.linalg.eigh(np.asarray(centred.T @ centred / len(features), np.float64))
    kept = values > max(values[-1] * 1e-5, _SMALLEST)
    whiten = np.asarray(vectors[:, kept] / np.sqrt(values[kept]), np.float32)
    inputs = np.asarray(centred @ whiten, np.float32)
    target = np.eye(base.shape[1], dtype=np.float32)[labels]
    heads = []
    for strength in strengths:
        weight: Array = np.zeros((inputs.shape[1], base.shape[1]), np.float32)
        bias: Array = np.zeros(base.shape[1], np.float32)
        ahead, ahead_bias, momentum = weight, bias, 1.0
        for _ in range(_STEPS):
            error = softmax(inputs @ ahead + ahead_bias + base) - target
            slope = inputs.T @ error / len(inputs) + strength * ahead
            next_weight: Array = np.asarray(ahead - slope / (0.5 + strength), np.float32)
            next_bias = np.asarray(ahead_bias - error.mean(axis=0) / np.float32(0.5), np.float32)
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            push = np.float32((momentum - 1) / following)
            ahead = np.asarray(next_weight + push * (next_weight - weight), np.float32)
            ahead_bias = np.asarray(next_bias + push * (next_bias - bias), np.float32)
            weight, bias, momentum = next_weight, next_bias, following
        heads.append(_Head(mean, whiten, weight, bias))
    return heads


def _chosen(features: Array, labels: NDArray[np.int64], parts: NDArray[np.int64], base: Array) -> float:
    """The strength with the highest likelihood of held-out labels."""
    rows = np.linspace(0, len(labels) - 1, min(len(labels), _MOST)).round().astype(np.int64)
    features, labels, parts, base = features[rows], labels[rows], parts[rows], base[rows]
    losses = np.zeros(len(STRENGTHS))
    for part in np.unique(parts):
        held = parts == part
        if held.all():
            continue
        for number, head in enumerate(_fitted(features[~held], labels[~held], base[~held], STRENGTHS)):
            own = head(features[held], base[held])[np.arange(int(held.sum())), labels[held]]
            losses[number] -= np.log(np.maximum(own, _SMALLEST)).sum()
    return STRENGTHS[int(losses.argmin())]


def read_predictions(folder: Path, samples: Samples) -> Judged:
    """The predictions of `mien crossval`: networks of which none has seen the label of the image that it judges.

    Raises:
        InputError: The folder has no predictions.
        DataError: They are damaged, or of other data.
    """
    files = sorted(folder.glob(f"fold-*/{_PREDICTIONS}"))
    if not files:
        raise InputError(
            f"{folder}: has no fold-*/{_PREDICTIONS}", hint="give the folder that `mien crossval` wrote for this data"
        )
    places: dict[str, list[int]] = {}
    for row, name in enumerate(samples.names.tolist()):
        places.setdefault(name, []).append(row)
    size = len(samples.classes)
    probabilities, judged = np.full((len(samples), size), 1 / size), np.full(len(samples), NO_LABEL, np.int64)
    for file in files:
        try:
            protocols = json.loads(file.read_text(encoding="utf-8"))
            for found in protocols.values():
                if set(found["classes"]) == set(samples.classes):
                    _fill(found, samples, places, probabilities, judged)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(f"{file}: is damaged: {error}", hint="run `mien crossval` again") from error
    if not (judged >= 0).any():
        raise DataError(
            f"{folder}: none of its predictions are of images in this data with its classes",
            hint="give the folder that `mien crossval` wrote for this data",
        )
    missing = int(((labels_of(samples) >= 0) & (judged < 0)).sum())
    notes = (f"{missing:,} labels were not judged: there are no predictions for them",) if missing else ()
    return Judged(probabilities, judged, 0, notes)


def _fill(
    found: Mapping[str, list[object]],
    samples: Samples,
    places: Mapping[str, list[int]],
    probabilities: NDArray[np.float64],
    judged: NDArray[np.int64],
) -> None:
    """Enters the predictions of one fold."""
    order = [list(found["classes"]).index(name) for name in samples.classes]
    labels = labels_of(samples)
    for name, values in zip(found["names"], np.asarray(found["probabilities"], np.float64), strict=True):
        for row in places.get(str(name), ()):
            probabilities[row], judged[row] = values[order], labels[row]
