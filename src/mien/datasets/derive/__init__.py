"""Data sets made from others with the help of trained models: soft targets, crops of a detector."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.errors import DataError


def square_training_rows(samples: Samples) -> tuple[NDArray[np.int64], int]:
    """The rows of the training faces, and their side in pixels.

    Raises:
        DataError: There are none, or they are not square.
    """
    samples.only("train")
    height, width = samples.images.shape[1:3]
    if height != width:
        raise DataError(f"expected square faces, got {width}x{height} pixels", hint="build the data again")
    return np.flatnonzero(samples.split == SPLITS.index("train")), width


def with_crops(
    samples: Samples, rows: NDArray[np.int64], crops: Sequence[NDArray[np.uint8]], about: Mapping[str, Any]
) -> Samples:
    """The samples, and after them other crops of some of their faces.

    A copy keeps everything known about its original: label, votes, soft targets, subject, name; but it is a frame of no
    clip, which has each moment once. Keypoints are dropped: they do not fit the crops.

    Args:
        samples: The faces.
        rows: (K,) the originals of the crops.
        crops: K crops, in the form of the stored faces.
        about: Added to what is known of the samples.
    """
    single = replace(samples, clips=None, frames=None, clip_labels=None)
    joined = single.subset(np.concatenate([np.arange(len(samples)), rows]))
    if samples.clips is not None and samples.frames is not None and samples.clip_labels is not None:
        joined = replace(
            joined,
            clips=np.concatenate([samples.clips, np.full(len(rows), "", samples.clips.dtype)]),
            frames=np.concatenate([samples.frames, samples.frames[rows]]),
            clip_labels=np.concatenate([samples.clip_labels, np.full(len(rows), NO_LABEL)]),
        )
    images = np.concatenate([samples.images, np.stack(crops)])
    return replace(joined, keypoints=None, keypoint_scheme="", images=images, about={**samples.about, **about})
