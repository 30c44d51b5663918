"""Divisions of a data set by person: folds of a cross-validation, and shares for val and test.

The same face in training and test makes scores too high, most of all in data sets with many images of few people. So
all rows of a person stay together. A row without a known person stays with the other frames of its clip; an image that
has neither is a person of its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.datasets.splits import SHARE, check_shares
from mien.errors import ConfigError, DataError

_SHOWN = 5  # persons that a message names

Unit: TypeAlias = Literal["persons", "clips", "images"]


@dataclass(frozen=True, slots=True)
class PersonSplitOptions:
    """Which persons go to val and test.

    Raises:
        ConfigError: A share is outside 0-1.
    """

    val: Annotated[float | None, "Share of the persons for val; by default 0.1, or 0 if the data has splits."] = None
    test: Annotated[float | None, "Share of the persons for test; by default 0.1, or 0 if the data has splits."] = None
    seed: Annotated[int, "Seed of the random split."] = 0

    def __post_init__(self) -> None:
        check_shares(self.val, self.test)

    def shares(self, present: Collection[str] = ()) -> dict[str, float]:
        """The share of the persons that goes from train to val and to test.

        Args:
            present: The splits that the source has; empty if it has none.

        Raises:
            ConfigError: The source has splits, and there are shares as well, or nothing is left for train.
        """
        given = {"val": self.val, "test": self.test}
        if present and (extra := [name for name, share in given.items() if share is not None]):
            raise ConfigError(
                f"--{extra[0]}: the data is already divided into {', '.join(present)}", hint=f"leave out --{extra[0]}"
            )
        shares = {name: (0.0 if present else SHARE) if share is None else share for name, share in given.items()}
        if sum(shares.values()) >= 1:
            raise ConfigError(
                "--val and --test together leave nobody for train", hint="for example --val 0.1 --test 0.1"
            )
        return shares


def persons(samples: Samples) -> NDArray[np.str_]:
    """Identifiers (N,) of what may not be divided: the person, else the clip, else the image with its other crops."""
    rows = np.arange(len(samples))
    named = samples.names != ""
    _, first, place = np.unique(samples.names[named], return_index=True, return_inverse=True)
    rows[named] = rows[named][first][place]  # crops of one face have its name
    found = np.array([f"image {row:09}" for row in rows], object)
    for column, kind in ((samples.clips, "clip"), (samples.subjects, "")):
        if column is not None:
            known = column != ""
            found[known] = [f"{kind} {name}".strip() for name in column[known]]
    return found.astype(np.str_)


def division_unit(samples: Samples) -> Unit:
    """What `persons` tells apart: persons, or, if the data knows none of them, clips or images."""
    if samples.subjects is not None and (samples.subjects != "").any():
        return "persons"
    return "clips" if samples.clips is not None and (samples.clips != "").any() else "images"


def labelled(samples: Samples) -> NDArray[np.bool_]:
    """The rows (N,) that have a label, or are frames of a clip that has one."""
    rows: NDArray[np.bool_] = samples.labels != NO_LABEL
    return rows if samples.clip_labels is None else rows | (samples.clip_labels != NO_LABEL)


def check_subjects(samples: Samples) -> None:
    """Makes sure that no person is in two splits.

    Raises:
        DataError: One is.
    """
    if samples.subjects is None:
        return
    pairs = {(str(name), int(split)) for name, split in zip(samples.subjects, samples.split, strict=True) if name}
    places: dict[str, list[str]] = {}
    for name, split in sorted(pairs):
        places.setdefault(name, []).append(SPLITS[split])
    if shared := [f"{name} ({' and '.join(splits)})" for name, splits in places.items() if len(splits) > 1]:
        more = f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
        raise DataError(
            f"the same person is in several splits: {', '.join(shared[:_SHOWN])}{more}",
            hint="put all images of a person into one split: scores would be too high otherwise",
        )


def subject_folds(samples: Samples, count: int) -> NDArray[np.int64]:
    """The fold (N,) of each row, 0 to count - 1; all rows of a person are in one fold.

    The persons with a label, in the ascending order of their identifiers, take turns: the folds of each data set are
    always the same, without a seed. Rows of persons without any label get the fold -1.

    Raises:
        ConfigError: There are fewer than 2 folds.
        DataError: There are fewer persons than folds.
    """
    if count < 2:
        raise ConfigError(f"folds: expected a number from 2, got {count}", hint="10 is usual")
    names = persons(samples)
    known = np.unique(names[labelled(samples)])
    if len(known) < count:
        raise DataError(
            f"{count} folds need at least {count} {division_unit(samples)} with labels, and the data has {len(known)}",
            hint="use fewer folds",
        )
    place = {str(name): index % count for index, name in enumerate(known)}
    return np.array([place.get(str(name), -1) for name in names], np.int64)


def subject_split(samples: Samples, shares: Mapping[str, float], seed: int) -> NDArray[np.uint8]:
    """The splits (N,) after shares of the persons of train have moved to other splits, at random.

    Args:
        samples: Rows of other splits stay where they are.
        shares: By split the share of the persons with labels; at least one person moves if the share is above 0 and
            there is one to spare, and at least one stays in train.
        seed: Of the draw.
    """
    names, result = persons(samples), samples.split.copy()
    training = samples.split == SPLITS.index("train")
    order = np.random.default_rng(seed).permutation(np.unique(names[training & labelled(samples)]))
    start, spare = 0, len(order) - 1
    for split, share in shares.items():
        if share > 0 and spare > 0:
            number = min(spare, max(1, round(share * len(order))))
            result[training & np.isin(names, order[start : start + number])] = SPLITS.index(split)
            start, spare = start + number, spare - number
    return result
