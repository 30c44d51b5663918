"""Likely errors in the labels of a data set, by confident learning, from labels or from votes.

Northcutt, Jiang and Chuang, "Confident learning: Estimating uncertainty in dataset labels", JAIR 70, 2021. A model that
has not seen a face's label says what it shows. The threshold of a class is the model's mean probability of that class
on the faces with this label, so a class that is always read hesitantly is not suspected as a whole. A face counts
towards another class if that class's probability reaches its threshold; the counts, brought to the number of faces of
each label, estimate how many labels are wrong, and the faces with the lowest margins are the suspects.

The probabilities should be out of sample: a network that was trained on a label has partly learned it, and finds fewer
errors. Teachers that were averaged, regularised and stopped early still disagree with labels they were trained on.

Votes are judged by their own disagreement: where ten people split, no label is an error. The distance of the votes from
the model (Jensen-Shannon) is compared with what splitting the votes in halves would give by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.evaluation import metrics
from mien.evaluation.metrics import Floats, Integers
from mien.evaluation.report.text import columns

LIGHTEST: Final = 0.2  # weight of the most suspicious face in training


@dataclass(frozen=True, eq=False)
class Curation:
    """How much each of N labels is to be trusted.

    Attributes:
        classes: The C classes.
        labels: (N,) the given labels; -1 without one.
        better: (N,) the class that the model prefers.
        margin: (N,) probability of the label minus the highest of another class, -1 to 1: low is suspicious; nan
            without a label.
        suspect: (N,) bool: likely errors.
        thresholds: (C,) mean probability of each class on the faces with that label; nan without any.
        joint: (C, C) estimated number of faces by given label (row) and true class (column).
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    better: NDArray[np.int64]
    margin: NDArray[np.float64]
    suspect: NDArray[np.bool_]
    thresholds: NDArray[np.float64]
    joint: NDArray[np.float64]

    @property
    def noise(self) -> float:
        """The estimated share of wrong labels."""
        return float(1 - np.trace(self.joint) / max(self.joint.sum(), 1e-12))

    def weights(self, lightest: float = LIGHTEST) -> NDArray[np.float32]:
        """Weights (N,) for training: 1 for trusted labels, down to `lightest` for the most suspicious.

        Suspects are ranked by their margin, and their weights fall in equal steps. Faces are not dropped: an unusual
        face with a right label is suspected, too.

        Raises:
            ValueError: `lightest` is not a number 0-1.
        """
        if not 0 <= lightest <= 1:
            raise ValueError(f"lightest: expected a number 0-1, got {lightest}")
        found = np.ones(len(self.labels), np.float32)
        rows = np.flatnonzero(self.suspect)
        order = rows[np.argsort(-self.margin[rows], kind="stable")]  # the least suspicious first
        found[order] = np.linspace(1, lightest, len(order) + 1)[1:]
        return found

    def confusions(self) -> list[tuple[str, str, int, float]]:
        """Each pair of a label and the class that the model prefers which has suspects, those with most first.

        Returns:
            The label, the other class, the number of suspects, and the estimated number of errors.
        """
        found = []
        for given, name in enumerate(self.classes):
            for true, other in enumerate(self.classes):
                count = int(((self.labels == given) & (self.better == true) & self.suspect).sum())
                if count and given != true:
                    found.append((name, other, count, float(self.joint[given, true])))
        return sorted(found, key=lambda each: -each[2])

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON, without the faces."""
        return {
            "faces": int((self.labels >= 0).sum()),
            "suspects": int(self.suspect.sum()),
            "estimated_share_of_errors": self.noise,
            "classes": list(self.classes),
            "thresholds": [None if np.isnan(value) else float(value) for value in self.thresholds],
            "joint": np.round(self.joint, 2).tolist(),
        }

    def text(self, names: Sequence[str] = (), most: int = 20) -> str:
        """A report: how many labels are likely wrong, which classes are confused, and the most suspicious faces.

        Args:
            names: (N,) of the faces.
            most: Number of faces and of pairs that are listed.
        """
        known = int((self.labels >= 0).sum())
        parts = [
            f"{known:,} labels, of which about {self.noise:.1%} are estimated to be wrong; "
            f"{int(self.suspect.sum()):,} suspects"
        ]
        rows: list[tuple[str, ...]] = [("label", "rather", "suspects", "estimated errors")]
        for label, better, count, estimate in self.confusions()[:most]:
            rows.append((label, better, f"{count:,}", f"{estimate:,.0f}"))
        parts.append(columns(rows, "<<>>"))
        if len(names):
            worst = np.flatnonzero(self.suspect)
            worst = worst[np.argsort(self.margin[worst], kind="stable")][:most]
            rows = [("face", "label", "rather", "margin")]
            for row in worst.tolist():
                label, better = self.classes[self.labels[row]], self.classes[self.better[row]]
                rows.append((str(names[row]), label, better, f"{self.margin[row]:.2f}"))
            parts.append(columns(rows, "<<<>"))
        return "\n\n".join(parts) + "\n"


def curate(probabilities: Floats, labels: Integers, classes: Sequence[str]) -> Curation:
    """Finds likely errors in labels.

    The confident joint, calibrated to the number of faces of each label (Northcutt et al., equations 1 and 2), gives
    the number of errors of each pair of classes; of each pair, so many faces with the lowest margins are suspects
    ("prune by noise rate", section 3.3).

    Args:
        probabilities: (N, C) of a model that has not seen the labels, each row summing to 1.
        labels: (N,) from 0 to C - 1; -1 without a label.
        classes: The C classes.

    Raises:
        ValueError: The shapes do not match, a label is out of range, or no face has a label.
    """
    count = len(classes)
    if probabilities.shape != (len(labels), count):
        raise ValueError(f"probabilities: expected ({len(labels)}, {count}), got {probabilities.shape}")
    if labels.size and (labels.min() < -1 or labels.max() >= count):
        raise ValueError(f"labels: expected -1 to {count - 1}, got {labels.min()} to {labels.max()}")
    known = labels >= 0
    if not known.any():
        raise ValueError("labels: expected at least one label, got none")
    given, said = labels[known].astype(np.int64), probabilities[known].astype(np.float64)
    support = np.bincount(given, minlength=count)
    own = said[np.arange(len(given)), given]
    sums = np.bincount(given, weights=own, minlength=count)
    thresholds = np.divide(sums, support, out=np.full(count, np.nan), where=support > 0)

    reached = np.where(said >= np.nan_to_num(thresholds, nan=np.inf), said, -1.0)
    true = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), given)
    counted = reached.max(axis=1) >= 0
    confident = np.zeros((count, count))
    np.add.at(confident, (given[counted], true[counted]), 1)
    confident[np.arange(count), np.arange(count)] += (confident.sum(axis=1) == 0) & (support > 0)
    rows = confident.sum(axis=1, keepdims=True)
    joint = np.divide(confident, rows, out=np.zeros_like(confident), where=rows > 0) * support[:, None]

    others = said.copy()
    others[np.arange(len(given)), given] = -np.inf
    better = others.argmax(axis=1)
    margin = own - others.max(axis=1)
    suspect = np.zeros(len(given), bool)
    for one in range(count):
        for other in range(count):
            number = round(joint[one, other])
            if one == other or not number:
                continue
            # Of the faces with this label, those that are most like the other class; only if they are more like it.
            places = np.flatnonzero((given == one) & (said[:, other] > own))
            gap = (own - said[:, other])[places]
            suspect[places[np.argsort(gap, kind="stable")[:number]]] = True

    def spread(values: NDArray[np.generic], empty: object) -> NDArray[np.generic]:
        full = np.full(len(labels), empty, values.dtype)
        full[known] = values
        return full

    return Curation(
        classes=tuple(classes),
        labels=labels.astype(np.int64),
        better=spread(better.astype(np.int64), -1),  # type: ignore[arg-type]
        margin=spread(margin, np.nan),  # type: ignore[arg-type]
        suspect=spread(suspect, False),  # type: ignore[arg-type]
        thresholds=thresholds,
        joint=joint,
    )


def vote_trust(
    probabilities: Floats, votes: Integers, *, lightest: float = LIGHTEST, seed: int = 0
) -> NDArray[np.float32]:
    """Weights (N,) for faces whose votes are far from what a model sees: 1 for trusted votes, down to `lightest`.

    The distance is the Jensen-Shannon divergence. Votes at most as far as the 95th percentile of the distances between
    halves of the same number of votes are trusted; beyond it the weight falls with the distance.

    Args:
        probabilities: (N, C) of a model that has not seen the votes.
        votes: (N, C) counts; faces without votes get the weight 1.
        lightest: Weight at the largest possible distance, log 2.
        seed: For the halves.

    Raises:
        ValueError: The shapes differ.
    """
    if probabilities.shape != votes.shape:
        raise ValueError(f"votes: expected {probabilities.shape}, got {votes.shape}")
    weights = np.ones(len(votes), np.float32)
    several = votes.sum(axis=1) >= 2
    if several.any():
        counts = votes[several].astype(np.int64)
        one, other = metrics.halves(counts, seed)
        usual = float(np.quantile(metrics.jensen_shannon(metrics.distributions(one), other), 0.95))
        far = metrics.jensen_shannon(probabilities[several], counts)
        excess = np.clip((far - usual) / max(np.log(2) - usual, 1e-9), 0, 1)
        weights[several] = 1 - (1 - lightest) * excess
    return weights
