"""What a network reads of a store: single faces or windows of the frames of clips, with keypoints if it wants any.

Training and evaluation take their examples from here, so that both see the same windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.datasets.clips import windows
from mien.datasets.samples import Samples
from mien.errors import ConfigError, DataError
from mien.expression.base import Images
from mien.expression.observation import Observation
from mien.faces.keypoints import POINTS_68, as_scheme

_ADD = "find them with `mien data add-keypoints`"


@dataclass(frozen=True, eq=False)
class Examples:
    """M examples of T frames each.

    Attributes:
        samples: One row for each example: its last frame, with the label of the clip.
        rows: (M, T) rows of the store, in the order of time; T is 1 for single faces.
    """

    samples: Samples
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def examples_of(samples: Samples, frames: int = 1) -> Examples:
    """The examples of a store: with one frame its rows, with more one window for each clip that has a label.

    Args:
        samples: The store, or a split of it.
        frames: Length T of a window; the last T frames of a clip, and before a shorter one its first frame repeated.

    Raises:
        DataError: Windows are wanted, and the store has no labelled clips.
    """
    if frames == 1:
        return Examples(samples, np.arange(len(samples), dtype=np.int64)[:, None])
    found = windows(samples, frames)
    last = samples.subset(found.rows[:, -1])
    labels = found.labels.astype(np.int64)
    targets = np.zeros((len(labels), len(samples.classes)), np.float32)
    targets[np.arange(len(labels)), labels] = 1
    return Examples(replace(last, labels=labels, targets=targets, votes=None, soft_votes=None), found.rows)


def need_keypoints(samples: Samples, scheme: str = POINTS_68) -> NDArray[np.float32]:
    """The keypoints (N, K, 2) of a scheme, in pixels; nan where a face has none.

    Args:
        samples: The store.
        scheme: The points that are wanted; others that begin with the same points serve as well.

    Raises:
        ConfigError: The store has none, or of another scheme.
        DataError: No face has any.
    """
    if samples.keypoints is None:
        raise ConfigError("the network reads keypoints, and the data has none", hint=_ADD)
    points = as_scheme(samples.keypoints, samples.keypoint_scheme, scheme)
    if points is None:
        raise ConfigError(
            f"the network reads keypoints of the scheme {scheme}, those of the data are {samples.keypoint_scheme}",
            hint=_ADD,
        )
    if not np.isfinite(points).all(axis=(1, 2)).any():
        raise DataError("no face of the data has keypoints", hint=_ADD)
    return points


def faces_of(
    store: Samples, examples: Examples, scheme: str | None, images: Sequence[NDArray[np.uint8]] | None = None
) -> Images:
    """The faces of examples, as classifiers take them.

    Args:
        store: The store that the examples are of.
        examples: The examples.
        scheme: Of the keypoints that the classifier reads; None for none.
        images: In the place of those of the store: changed, in the same order.

    Raises:
        ConfigError: The store has no such keypoints.
        DataError: No face has any.
    """
    given: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] = store.images if images is None else images
    if scheme is None and examples.rows.shape[1] == 1:
        return given  # its rows are all those of the store
    points = None if scheme is None else need_keypoints(store, scheme)
    return [
        Observation(tuple(given[row] for row in rows), None if points is None else points[rows])
        for rows in examples.rows
    ]
