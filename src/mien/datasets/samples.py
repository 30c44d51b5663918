"""Samples in memory: the images and labels that builders yield, the store keeps, and training and evaluation read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

SPLITS: Final = ("train", "val", "test")
NO_LABEL: Final = -1


@dataclass(frozen=True)
class Samples:
    """Labelled images of faces, all of one size.

    Attributes:
        images: (N, H, W) uint8 grey, or (N, H, W, 3) uint8 RGB.
        labels: (N,) int64 indices into `classes`, or `NO_LABEL`.
        classes: Names of the C classes.
        split: (N,) uint8 indices into `SPLITS`.
        targets: (N, C) float32 distributions over `classes`; one-hot if only a label is known.
        names: (N,) names or numbers of the rows in their source.
        votes: (N, 10) uint8 votes of the annotators in the order of `emotions.ALL`, or None.
        duplicate: (N,) bool: the same image, bit for bit, is also on the other side of the split (cross-split
            duplicates: train on one side, val and test on the other).
        soft_labels: (N, C) float32 probabilities that teacher models give to `classes`, zeros outside train; or None.
        soft_votes: (N, 10) float32 probabilities that teacher models give to `emotions.ALL`, zeros outside train;
            or None.
        keypoints: (N, K, 2) float32 x, y in pixels of the image; nan if unknown; or None.
        keypoint_scheme: Name of the scheme of the keypoints; empty without keypoints.
        subjects: (N,) identifiers of the people shown, or None.
        weights: (N,) float32 how much a row counts in training, 1 being usual; or None.
        affect: (N, 2) float32 valence and arousal that people gave the faces, each -1 to 1; nan if unknown; or None.
        clips: (N,) identifiers of the clips that the rows are frames of, empty for rows in no clip; or None. All frames
            of a clip have one split, one subject and one clip label.
        frames: (N,) int64 numbers of the frames, which increase over the time of a clip; or None without clips.
        clip_labels: (N,) int64 label of the whole clip on each of its frames, or `NO_LABEL`; or None without clips.
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
    keypoints: NDArray[np.float32] | None = None
    keypoint_scheme: str = ""
    subjects: NDArray[np.str_] | None = None
    weights: NDArray[np.float32] | None = None
    affect: NDArray[np.float32] | None = None
    clips: NDArray[np.str_] | None = None
    frames: NDArray[np.int64] | None = None
    clip_labels: NDArray[np.int64] | None = None
    about: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.duplicate):
            object.__setattr__(self, "duplicate", np.zeros(len(self.images), bool))
        for name in COLUMNS:
            column = getattr(self, name)
            if column is not None and len(column) != len(self.images):
                raise ValueError(f"{name}: expected {len(self.images)} rows, got {len(column)}")
        if self.targets.shape[1] != len(self.classes):
            raise ValueError(f"targets: expected {len(self.classes)} columns, got {self.targets.shape[1]}")
        if self.keypoints is not None and (self.keypoints.ndim != 3 or self.keypoints.shape[2] != 2):
            raise ValueError(f"keypoints: expected shape (N, K, 2), got {self.keypoints.shape}")
        if (self.keypoints is None) == bool(self.keypoint_scheme):
            raise ValueError("keypoints: expected keypoints together with the name of their scheme, or neither")
        if self.affect is not None and (
            self.affect.shape[1:] != (2,) or (np.abs(self.affect) > 1).any()  # nan is not above 1
        ):
            raise ValueError(f"affect: expected shape (N, 2), values from -1 to 1 or nan, got {self.affect.shape}")
        _check_clips(self)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Samples":
        """The samples at `rows`, a mask or indices."""
        columns = {name: column[rows] for name in COLUMNS if (column := getattr(self, name)) is not None}
        return replace(self, **columns)

    def only(self, split: str) -> "Samples":
        """The samples of one split.

        Raises:
            DataError: The split is empty.
        """
        chosen = self.subset(self.split == SPLITS.index(split))
        if not len(chosen):
            present = [name for code, name in enumerate(SPLITS) if (self.split == code).any()]
            raise DataError(
                f"the data has no '{split}' rows, which this needs; it has {', '.join(present) or 'no rows'}",
                hint=_missing_hint(split, present),
            )
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


def _check_clips(samples: Samples) -> None:
    """Frames of one clip have one split, one subject, one label and different numbers.

    Raises:
        ValueError: They have not, or one of the columns is missing.
    """
    clips, frames, labels = samples.clips, samples.frames, samples.clip_labels
    if clips is None or frames is None or labels is None:
        if any(column is not None for column in (clips, frames, labels)):
            raise ValueError("clips: expected clips, frames and clip_labels together, or none of them")
        return
    if (labels[clips == ""] != NO_LABEL).any():
        raise ValueError("clip_labels: expected no label for rows without a clip")
    order = np.lexsort((frames, clips))
    order = order[clips[order] != ""]
    same = clips[order[1:]] == clips[order[:-1]]
    shared: tuple[tuple[str, NDArray[Any] | None], ...]
    shared = ("split", samples.split), ("clip label", labels), ("subject", samples.subjects)
    for name, column in shared:
        if column is not None and (wrong := same & (column[order[1:]] != column[order[:-1]])).any():
            raise ValueError(f"clips: expected one {name} for the clip '{clips[order[1:][wrong][0]]}', got several")
    if (wrong := same & (frames[order[1:]] == frames[order[:-1]])).any():
        row = order[1:][wrong][0]
        raise ValueError(f"frames: the clip '{clips[row]}' has the frame {frames[row]} twice")


def _missing_hint(split: str, present: Sequence[str]) -> str:
    """What to do if a split is missing."""
    if "train" in present:
        return f"build the store again with a share for it: --{split} 0.1"
    only = f"; `mien evaluate` and `mien compare` take it with --split {present[0]}" if present else ""
    return f"build a store from data that has training images{only}"


# The fields with one row per image.
COLUMNS: Final = tuple(
    each.name for each in fields(Samples) if each.name not in ("classes", "keypoint_scheme", "about")
)


def mark_duplicates(images: NDArray[np.uint8], split: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Marks (N,) bool the cross-split duplicates: images that are, bit for bit, in train and in val or test."""
    keys = [image.tobytes() for image in images]
    training = split == SPLITS.index("train")
    in_train = {key for key, inside in zip(keys, training, strict=True) if inside}
    held_out = {key for key, inside in zip(keys, training, strict=True) if not inside}
    return np.array([key in in_train and key in held_out for key in keys], bool)


def stratified_split(
    split: NDArray[np.uint8], labels: NDArray[np.int64], shares: Mapping[str, float], seed: int
) -> NDArray[np.uint8]:
    """The splits (N,) after shares of the training rows of each class have moved to other splits, at random.

    Each class is drawn independently, so another class changes nothing. However small a share is, at least one of a
    class moves if the class has rows to spare; at least one stays in train.
    """
    result = split.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (split == SPLITS.index("train")))
        order = np.random.default_rng([seed, int(label)]).permutation(rows)
        start, spare = 0, len(rows) - 1
        for name, share in shares.items():
            if share > 0 and spare > 0:
                count = min(spare, max(1, round(share * len(rows))))
                result[order[start : start + count]] = SPLITS.index(name)
                start, spare = start + count, spare - count
    return result
