"""Samples in memory: what a data set yields, the store keeps and training and judging take."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

__all__ = ["NO_LABEL", "SPLITS", "Samples", "mark_duplicates", "without_duplicates"]

SPLITS: Final = ("train", "val", "test")
NO_LABEL: Final = -1


@dataclass(frozen=True)
class Samples:
    """Labelled faces.

    Attributes:
        images: (N, H, W) uint8 grey, or (N, H, W, 3) uint8 RGB.
        labels: (N,) int64 indices into `classes`; `NO_LABEL` where there is none.
        classes: Names of the C classes.
        split: (N,) uint8 indices into `SPLITS`.
        targets: (N, C) float32 distributions over `classes`; one-hot where a label is all that is known.
        votes: (N, 10) uint8 annotators' votes in the order of `emotions.ALL`, or None.
        duplicate: (N,) bool: the same image, bit for bit, stands on the other side of the split.
        names: (N,) the rows' names or numbers in their source.
        soft_labels: (N, C) float32 teachers' probabilities of `classes`; rows of zeros where none were asked; or None.
        soft_votes: (N, 10) float32 likewise, of `emotions.ALL`.
        about: How the samples were made: plain JSON types.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    split: NDArray[np.uint8]
    targets: NDArray[np.float32]
    names: NDArray[np.str_]
    votes: NDArray[np.uint8] | None = None
    duplicate: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    soft_labels: NDArray[np.float32] | None = None
    soft_votes: NDArray[np.float32] | None = None
    about: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.duplicate):
            object.__setattr__(self, "duplicate", np.zeros(len(self.images), bool))
        for name in ("labels", "split", "targets", "names", "votes", "duplicate", "soft_labels", "soft_votes"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.images):
                raise ValueError(f"{name}: expected {len(self.images)} rows, got {len(column)}")
        if self.targets.shape[1] != len(self.classes):
            raise ValueError(f"targets: expected {len(self.classes)} columns, got {self.targets.shape[1]}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Samples":
        """The samples at `rows`, a mask or indices."""
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            split=self.split[rows],
            targets=self.targets[rows],
            names=self.names[rows],
            votes=None if self.votes is None else self.votes[rows],
            duplicate=self.duplicate[rows],
            soft_labels=None if self.soft_labels is None else self.soft_labels[rows],
            soft_votes=None if self.soft_votes is None else self.soft_votes[rows],
        )

    def only(self, split: str) -> "Samples":
        """The samples of one split.

        Raises:
            DataError: It holds none.
        """
        chosen = self.take(self.split == SPLITS.index(split))
        if not len(chosen):
            present = [name for code, name in enumerate(SPLITS) if (self.split == code).any()]
            raise DataError(f"the data has no '{split}' rows", hint=f"it has: {', '.join(present) or 'nothing'}")
        return chosen

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of samples by split and class."""
        return {
            name: {
                label: int(((self.split == code) & (self.labels == index)).sum())
                for index, label in enumerate(self.classes)
            }
            for code, name in enumerate(SPLITS)
            if (self.split == code).any()
        }


def mark_duplicates(images: NDArray[np.uint8], split: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Marks (N,) bool the images that stand, bit for bit, both in train and in val or test."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    keys = [row.tobytes() for row in flat]
    training = split == SPLITS.index("train")
    seen = {key for key, mine in zip(keys, training, strict=True) if mine}
    held = {key for key, mine in zip(keys, training, strict=True) if not mine}
    both = seen & held
    return np.fromiter((key in both for key in keys), bool, len(keys))


def without_duplicates(samples: Samples, about: Mapping[str, object], *, keep: bool) -> Samples:
    """The samples with their cross-split duplicates marked; those of the training split are dropped unless `keep`."""
    duplicate = mark_duplicates(samples.images, samples.split)
    dropped = duplicate & (samples.split == SPLITS.index("train")) & (not keep)
    told = {**about, "dropped_training_twins": int(dropped.sum())}
    return replace(samples, duplicate=duplicate, about=told).take(~dropped)
