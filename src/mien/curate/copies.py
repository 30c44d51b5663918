"""Copies in a data set: the same image bit for bit, and nearly the same image.

Near copies are found by the correlation of the images, shrunk to 16x16 for every pair and to 48x48 for the pairs that
are left: light, contrast, compression and watermarks hardly change it. Fine details must agree as well, because two
frontal faces in the same light are alike without them. All pairs are compared, in blocks, so none is missed; the time
grows with the square of the number of images (30,000: a quarter of a minute).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples
from mien.datasets.samples import NO_LABEL, SPLITS
from mien.progress import Progress, unseen

NEAR: Final = 0.9  # correlation of 48x48 pixels from which two images are near copies
DETAIL: Final = 0.42  # the same of what a blur of 2 pixels takes away
_FIRST: Final = 0.93  # of 16x16 pixels, from which a pair is looked at
_SMALL: Final = 16
_SIDE: Final = 48
_BLOCK: Final = 1024  # images compared with all others at once
_FLAT: Final = 2.0  # standard deviation of grey levels below which a correlation is noise


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Groups of copies.

    Attributes:
        group: (N,) the number of each image's group; an image without copies has one of its own. Two images of a group
            need not be copies of each other: a third may be between them.
        pairs: By row, the correlation with each of its copies, 1 for an exact one.
    """

    group: NDArray[np.int64]
    pairs: Mapping[int, Mapping[int, float]]

    def groups(self) -> list[NDArray[np.int64]]:
        """The rows of each group with several images."""
        order = np.argsort(self.group, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1)
        return [part for part in parts if len(part) > 1]


def find_copies(samples: Samples, progress: Progress = unseen) -> Copies:
    """Finds the copies among some samples.

    Frames of one clip and images of one known person are alike by nature: among them, only exact copies count.

    Args:
        samples: The images.
        progress: Called with the number of images compared so far and their number.
    """
    count = len(samples)
    union = _Union(count)
    pairs: dict[int, dict[int, float]] = defaultdict(dict)
    same: dict[bytes, list[int]] = defaultdict(list)
    for row, image in enumerate(samples.images):
        same[image.tobytes()].append(row)
    exact = [(one, two, 1.0) for rows in same.values() for one, two in itertools.combinations(rows, 2)]
    for one, two, value in (*exact, *_near(samples, progress)):
        union.join(one, two)
        for this, that in ((one, two), (two, one)):
            pairs[this][that] = max(value, pairs[this].get(that, 0.0))
    return Copies(union.numbers(), dict(pairs))


class _Union:
    """Joins rows into groups (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, row: int) -> int:
        """The first row of the group."""
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def join(self, one: int, two: int) -> None:
        """Makes one group of two."""
        first, second = sorted((self.root(one), self.root(two)))
        self._parent[second] = first

    def numbers(self) -> NDArray[np.int64]:
        """The group of each row."""
        return np.array([self.root(row) for row in range(len(self._parent))], np.int64)


def grey(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """An image (H, W) or (H, W, 3) uint8 as (side, side) grey levels."""
    flat = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    if flat.shape != (side, side):
        smaller = max(flat.shape) > side
        flat = cv2.resize(flat, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(flat, np.float32)


def _normal(images: Iterable[NDArray[np.float32]], side: int, flat: float = _FLAT) -> NDArray[np.float32]:
    """Images (side, side) as vectors (N, side * side) of length 1 around a mean of 0; flat ones are 0."""
    vectors = np.stack([image.ravel() for image in images])
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths < flat * side, 0, vectors / np.maximum(lengths, 1e-6)).astype(np.float32)


def _near(samples: Samples, progress: Progress) -> list[tuple[int, int, float]]:
    """The pairs of near copies, with their correlation."""
    small = _normal((grey(image, _SMALL) for image in samples.images), _SMALL)
    kin = _kin(samples)
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(small), _BLOCK):
        likeness = small[start : start + _BLOCK] @ small[start:].T
        one, two = np.nonzero(likeness > _FIRST)
        later = two > one
        pairs = np.stack([one[later], two[later]], axis=1) + start
        if kin is not None:
            pairs = pairs[(kin[pairs[:, 0]] != kin[pairs[:, 1]]) | (kin[pairs[:, 0]] < 0)]
        if len(pairs):
            rows, places = np.unique(pairs, return_inverse=True)
            one, two = places.reshape(-1, 2).T
            images = [grey(image, _SIDE) for image in samples.images[rows]]
            full = _normal(images, _SIDE)
            values = (full[one] * full[two]).sum(axis=1)
            fine = _normal((image - cv2.GaussianBlur(image, (0, 0), 2) for image in images), _SIDE, _FLAT / 4)
            same = (values >= NEAR) & ((fine[one] * fine[two]).sum(axis=1) >= DETAIL)
            found += [
                (first, second, min(float(value), 0.9999))
                for (first, second), value in zip(pairs[same].tolist(), values[same], strict=True)
            ]
        progress(min(start + _BLOCK, len(small)), len(small))
    return found


def _kin(samples: Samples) -> NDArray[np.int64] | None:
    """A number for each known person, or else clip; negative for rows with neither; None if no row has one."""
    names = np.full(len(samples), "", object)
    for column in (samples.clips, samples.subjects):
        if column is not None:
            names[column != ""] = column[column != ""]
    if not (names != "").any():
        return None
    _, numbers = np.unique(names.astype(np.str_), return_inverse=True)
    return np.where(names == "", -1, numbers).astype(np.int64)


def to_drop(samples: Samples, copies: Copies, trust: NDArray[np.float64]) -> dict[int, int]:
    """Which copies are too many.

    Of an image and its copies one stays. In a group with different labels: the one whose label is trusted most. With
    one label: one of val or test before one of train, because a builder drops the others; then the first. Images of the
    group that are no copies of the one that stays are looked at again without it.

    Args:
        samples: The images.
        copies: Their groups.
        trust: (N,) the probability of each label; nan if unknown.

    Returns:
        By row of a copy that is too many: the row that stays.
    """
    found: dict[int, int] = {}
    kept: set[int] = set()
    for rows in copies.groups():
        labels = samples.labels[rows]
        differ = len(np.unique(labels[labels != NO_LABEL])) > 1
        belief = np.nan_to_num(trust[rows], nan=-1.0) if differ else np.zeros(len(rows))
        training = samples.split[rows] == SPLITS.index("train")
        for row in rows[np.lexsort((rows, training, -belief, labels == NO_LABEL))].tolist():
            if row not in found:
                kept.add(row)
                found |= {copy: row for copy in copies.pairs[row] if copy not in found and copy not in kept}
    return found
