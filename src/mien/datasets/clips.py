"""Clips: sequences of frames of one person, with one label, and the windows of them that networks read.

The frames of a clip are rows of `Samples`; clips may have any number of frames. A network reads a window of T frames:
the last T of a clip, because sequences of expressions go from neutral to their peak. A clip with fewer frames repeats
its first frame at the start, as if the person had held still before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.errors import ConfigError, DataError
from mien.expression.observation import padded


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One clip.

    Attributes:
        name: Its identifier.
        rows: (F,) int64 the rows of its frames, in the order of time.
        label: Index into the classes of the samples, or `NO_LABEL`.
        subject: The person shown; empty if unknown.
        split: "train", "val" or "test".
    """

    name: str
    rows: NDArray[np.int64]
    label: int
    subject: str
    split: str

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """One window of each labelled clip, in the order of `clips_of`.

    Attributes:
        rows: (M, T) int64 rows of the samples, in the order of time; `samples.images[rows]` is (M, T, H, W).
        labels: (M,) int64 indices into the classes.
        names: (M,) identifiers of the clips.
        subjects: (M,) the persons shown; empty if unknown.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    subjects: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.rows)


def clips_of(samples: Samples) -> list[Clip]:
    """The clips of samples, in the order of their first rows; none for samples without clips."""
    if samples.clips is None or samples.frames is None or samples.clip_labels is None:
        return []
    names, first, place = np.unique(samples.clips, return_index=True, return_inverse=True)
    order = np.lexsort((samples.frames, place))
    rows = np.split(order, np.cumsum(np.bincount(place, minlength=len(names)))[:-1])
    return [
        Clip(
            name=str(names[index]),
            rows=rows[index].astype(np.int64),
            label=int(samples.clip_labels[first[index]]),
            subject="" if samples.subjects is None else str(samples.subjects[first[index]]),
            split=SPLITS[samples.split[first[index]]],
        )
        for index in np.argsort(first)
        if names[index]
    ]


def pad(rows: Sequence[int] | NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """The window (length,) of a clip: its last rows, with the first row repeated at the start if it has fewer.

    Raises:
        ConfigError: The length is below 1.
        ValueError: There are no rows.
    """
    if length < 1:
        raise ConfigError(f"window: expected a number of frames from 1, got {length}", hint="for example 10")
    if not len(rows):
        raise ValueError("rows: expected at least one frame")
    return np.array(padded([int(row) for row in rows], length), np.int64)


def windows(samples: Samples, length: int) -> Windows:
    """One window of `length` frames for each labelled clip.

    Raises:
        ConfigError: The length is below 1.
        DataError: The samples have no labelled clips.
    """
    found = [clip for clip in clips_of(samples) if clip.label != NO_LABEL]
    if not found:
        raise DataError(
            "the data has no labelled clips, only images"
            if samples.clips is None
            else "no clip of the data is labelled",
            hint="build sequences: `mien data build ckplus DIR --frames sequence`, or `mien data build clips DIR`",
        )
    return Windows(
        rows=np.stack([pad(clip.rows, length) for clip in found]),
        labels=np.array([clip.label for clip in found], np.int64),
        names=np.array([clip.name for clip in found], np.str_),
        subjects=np.array([clip.subject for clip in found], np.str_),
    )
