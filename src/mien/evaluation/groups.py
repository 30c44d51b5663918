"""Scores of groups of faces: is a model as good for women as for men, for the old as for the young?

Whom the faces show is not part of a store. It is in a table with a row for each image or person, and a column for each
way to divide them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples
from mien.datasets.csv_rows import records, rows
from mien.errors import DataError
from mien.evaluation.intervals import ALONE, Estimate, Resampling, bootstrap, mean_estimate, resamples
from mien.evaluation.metrics import Floats, Integers, confusion_matrix, mean_recall
from mien.evaluation.slices import quarters
from mien.names import from_cell, printable

# The columns that a table may be joined by, the first one that it has.
KEYS: Final = ("name", "subject")
# Numbers with more values than this are divided into four ranges.
_NUMBERS: Final = 8
# A column with more words than this divides the faces into handfuls, and is an error.
MOST: Final = 50

Columns = Mapping[str, NDArray[np.str_]]


@dataclass(frozen=True, slots=True)
class Group:
    """The scores of the faces of one group.

    Attributes:
        name: The value that they have in the table, or the range of values.
        faces: Their number.
        persons: The number of persons (or clips) that they show; None if the data does not say who is who.
        accuracy: 0-1.
        difference: The accuracy less that of all other faces with a group.
        mean_recall: 0-1, over the classes that occur among the faces.
        overconfidence: Mean confidence minus accuracy.
    """

    name: str
    faces: int
    persons: int | None
    accuracy: Estimate
    difference: Estimate
    mean_recall: Estimate
    overconfidence: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        scores = ("accuracy", "difference", "mean_recall", "overconfidence")
        found = {name: getattr(self, name).as_dict() for name in scores}
        return {"name": self.name, "faces": self.faces, "persons": self.persons, **found}


@dataclass(frozen=True, slots=True)
class Grouping:
    """All faces, divided by one column of the table.

    Attributes:
        column: Its name.
        groups: Ranges from the lowest, other groups by their names.
        unknown: Number of faces without a value.
    """

    column: str
    groups: tuple[Group, ...]
    unknown: int

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {"column": self.column, "unknown": self.unknown, "groups": [group.as_dict() for group in self.groups]}


def read_groups(path: Path, samples: Samples) -> Columns:
    """The columns of a table, as the value of each face: (N,) by name of the column, "" where it is unknown.

    Args:
        path: A CSV file with the column `name`, the names of the images in the store, or `subject`, its persons. Each
            further column divides the faces.
        samples: The N faces.

    Raises:
        InputError: The file cannot be read.
        DataError: It has no such column or no other one, names something twice with different values, or describes none
            of the faces; or the store does not know the persons.
    """
    found = next(rows(path), (0, []))[1]
    key = next((name for name in KEYS if name in found), None)
    columns = [name for name in found if name not in KEYS and name]
    if key is None or not columns or len(set(found)) < len(found):
        raise DataError(
            f"{path}: expected the column name or subject, and others, each once; the header is '{','.join(found)}'",
            hint="name has the names of the images in the store, subject its persons; sex, age or others divide them",
        )
    if key == "subject" and samples.subjects is None:
        raise DataError(f"{path}: the store does not know its persons", hint="give a table with the column name")
    values: dict[str, tuple[str, ...]] = {}
    for line, record in records(path, [key, *columns]):
        mine = tuple(record[name] for name in columns)
        if values.setdefault(from_cell(record[key]), mine) != mine:
            raise DataError(
                f"{path}: line {line}: {key} '{printable(record[key])}' is there twice, with different values",
                hint=f"give each {key} one row",
            )
    nothing = ("",) * len(columns)
    keys = samples.names if key == "name" or samples.subjects is None else samples.subjects
    joined = [values.get(str(each), nothing) for each in keys]
    if all(each == nothing for each in joined):
        example = printable(next((each for each in keys if each), ""))
        raise DataError(
            f"{path}: no {key} of the table is that of a face of this split",
            hint=f"in the store they look like '{example}'",
        )
    return dict(zip(columns, np.array(joined, np.str_).T, strict=True))


def group_scores(
    probabilities: Floats, labels: Integers, columns: Columns, how: Resampling = ALONE
) -> tuple[Grouping, ...]:
    """The scores of each group.

    Args:
        probabilities: (N, C).
        labels: (N,) integers from 0 to C - 1.
        columns: The value of each face (N,) by name of the column, "" where it is unknown.
        how: How the resamples of the intervals are drawn.

    Raises:
        DataError: A column has too many values.
    """
    found = []
    for column, values in columns.items():
        known = values != ""
        part = np.full(len(values), -1)
        part[known], names = _parts(column, values[known])
        groups = tuple(_group(name, part, k, (probabilities, labels), how) for k, name in enumerate(names))
        found.append(Grouping(column, groups, int((~known).sum())))
    return tuple(found)


def _parts(column: str, values: NDArray[np.str_]) -> tuple[NDArray[np.int64], Sequence[str]]:
    """The group (M,) of each value, and the names of the groups; many different numbers become ranges."""
    words, part = np.unique(values, return_inverse=True)
    try:
        numbers = words.astype(np.float64)
    except ValueError:
        numbers = np.full(len(words), np.nan)
    if np.isfinite(numbers).all():
        if len(words) > _NUMBERS:
            each = numbers[part]
            place = np.unique(quarters(each), return_inverse=True)[1]
            ends = ((each[place == k].min(), each[place == k].max()) for k in range(place.max() + 1))
            return place, [f"{low:g} to {high:g}" for low, high in ends]
        order = np.argsort(numbers, kind="stable")
        return np.argsort(order)[part], [str(word) for word in words[order]]
    if len(words) > MOST:
        raise DataError(
            f"the column {column} divides the faces into {len(words)} groups",
            hint=f"give a column with at most {MOST} values, or with numbers, which become ranges",
        )
    return part, [str(word) for word in words]


def _group(name: str, part: NDArray[np.int64], k: int, predicted: tuple[Floats, Integers], how: Resampling) -> Group:
    probabilities, labels = predicted
    said = probabilities.argmax(axis=1)
    correct = (said == labels).astype(np.float64)
    mine, known = part == k, part >= 0
    own = how.of(mine)
    confusion = confusion_matrix(labels[mine], said[mine], probabilities.shape[1])
    recalls = mean_recall(resamples(labels[mine], said[mine], probabilities.shape[1], own))
    return Group(
        name=name,
        faces=int(mine.sum()),
        persons=how.units(mine),
        accuracy=mean_estimate(correct[mine], own),
        difference=_difference(correct[known], mine[known], how.of(known)),
        mean_recall=Estimate.from_draws(float(mean_recall(confusion)), recalls),
        overconfidence=mean_estimate(probabilities[mine].max(axis=1) - correct[mine], own),
    )


def _difference(correct: NDArray[np.float64], mine: NDArray[np.bool_], how: Resampling) -> Estimate:
    """The mean of the group less that of the others; undefined without others."""

    def apart(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        right, inside = correct[drawn], mine[drawn]
        count = inside.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may lack the group, or have nothing else
            ours, theirs = (right * inside).sum(axis=1) / count, (right * ~inside).sum(axis=1) / (~inside).sum(axis=1)
        difference: NDArray[np.float64] = ours - theirs
        return difference

    everything = np.arange(len(mine))[None]
    return Estimate.from_draws(float(apart(everything)[0]), bootstrap(apart, len(mine), how))
