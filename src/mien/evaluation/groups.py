"""Scores of groups of faces: is a model as good for women as for men, for the old as for the young?

Whom the faces show is not part of a store. It is in a table with a row for each image or person, and a column for each
way to divide them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples
from mien.datasets.csv_rows import records, rows
from mien.errors import DataError
from mien.evaluation.intervals import (
    ALONE,
    Estimate,
    Resampling,
    difference_estimate,
    filled,
    mean_estimate,
    person_difference,
    resamples,
    share_estimate,
    wilson,
)
from mien.evaluation.metrics import Floats, Integers, confusion_matrix, mean_recall
from mien.evaluation.slices import quarters
from mien.names import from_cell, printable

# The columns that a table may be joined by, the first one that it has.
KEYS: Final = ("name", "subject")
# Numbers with more values than this are divided into four ranges.
_NUMBERS: Final = 8
# A column with more words than this divides the faces into handfuls, and is left out.
MOST: Final = 50
# What tables have where a value is missing.
_UNKNOWN: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that divide faces into groups.

    Attributes:
        values: The value of each face (N,) by name of the column, "" where it is unknown.
        left_out: By name of the column, why it divides nothing.
        file: Name of the table.
    """

    values: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """The scores of the faces of one group.

    Attributes:
        name: The value that they have in the table, or the range of values.
        faces: Their number.
        persons: The number of persons (or clips) that they show; None if the data does not say who is who.
        accuracy: 0-1.
        difference: The accuracy less that of all other faces with a group; undefined without others, and if persons are
            known and either side has fewer than three.
        mean_recall: 0-1, over the classes that both the group and the other faces have.
        classes: The number of these classes.
        overconfidence: Mean confidence minus accuracy.
        recalls: By class with faces in the group: their number, and the recall.
        found: Fraction of the faces that the detector found; the other scores exclude the rest. None without one.
    """

    name: str
    faces: int
    persons: int | None
    accuracy: Estimate
    difference: Estimate
    mean_recall: Estimate
    classes: int
    overconfidence: Estimate
    recalls: Mapping[str, tuple[int, Estimate]]
    found: Estimate | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        scores = ("accuracy", "difference", "mean_recall", "overconfidence")
        return {
            "name": self.name,
            "faces": self.faces,
            "persons": self.persons,
            "found": self.found and self.found.as_dict(),
            **{name: getattr(self, name).as_dict() for name in scores},
            "classes_of_mean_recall": self.classes,
            "classes": [
                {"emotion": name, "support": support, "recall": recall.as_dict()}
                for name, (support, recall) in self.recalls.items()
            ],
        }


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


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model said of N faces, and which further ones were not found.

    Attributes:
        classes: The C classes.
        probabilities: (N, C).
        labels: (N,) indices of the true classes.
        values: (N,) the values of one column.
        missed: (M,) the values of the faces that a detector did not find; None without a detector.
        how: How the resamples of the intervals are drawn.
    """

    classes: Sequence[str]
    probabilities: Floats
    labels: Integers
    values: NDArray[np.str_]
    missed: NDArray[np.str_] | None = None
    how: Resampling = ALONE


def read_groups(path: Path, samples: Samples) -> Columns:
    """The columns of a table that divide the faces of some samples.

    Args:
        path: A CSV file with the column `name`, the names of the images in the store, or `subject`, its persons. Each
            further column divides the faces. Empty cells and NA are unknown.
        samples: The N faces.

    Raises:
        InputError: The file cannot be read.
        DataError: It has no such column or no other one, names something twice with different values, or describes none
            of the faces; no column has a few values; or the store does not know the persons.
    """
    header = next(rows(path), (0, []))[1]
    key = next((name for wanted in KEYS for name in header if name.lower() == wanted), None)
    columns = [name for name in header if name and name.lower() not in KEYS]
    named = [name for name in header if name]
    if key is None or not columns or len(set(named)) < len(named):
        raise DataError(
            f"{path}: expected the column name or subject, and others, each once; the header is "
            f"'{printable(','.join(header))}'",
            hint="name has the names of the images in the store, subject its persons; sex, age or others divide them",
        )
    by_person = key.lower() == "subject"
    if by_person and samples.subjects is None:
        raise DataError(f"{path}: the store does not know its persons", hint="give a table with the column name")
    values: dict[str, tuple[str, ...]] = {}
    for line, record in records(path, [key, *columns]):
        mine = tuple("" if record[name].lower() in _UNKNOWN else record[name] for name in columns)
        if record[key] and values.setdefault(from_cell(record[key]), mine) != mine:
            raise DataError(
                f"{path}: line {line}: {key} '{printable(record[key])}' is there twice, with different values",
                hint=f"give each {key} one row",
            )
    keys = samples.subjects if by_person and samples.subjects is not None else samples.names
    if not any(str(each) in values for each in keys):
        example = printable(next((each for each in keys if each), ""))
        raise DataError(
            f"{path}: no {key} of the table is that of a face of this split",
            hint=f"in the store they look like '{example}'",
        )
    nothing = ("",) * len(columns)
    joined = np.array([values.get(str(each), nothing) for each in keys], np.str_).T
    return _usable(path, dict(zip(columns, joined, strict=True)))


def _usable(path: Path, columns: Mapping[str, NDArray[np.str_]]) -> Columns:
    """The columns that divide the faces, and why the others do not."""
    left_out = {}
    for name, values in columns.items():
        words = np.unique(values[values != ""])
        if not len(words):
            left_out[name] = "is empty for all faces of this split"
        elif len(words) > MOST and _numbers(words) is None:
            left_out[name] = f"has {len(words):,} different values: at most {MOST}, or numbers, divide the faces"
    if len(left_out) == len(columns):
        reasons = "; ".join(f"the column {printable(name)} {why}" for name, why in left_out.items())
        raise DataError(f"{path}: no column divides the faces: {reasons}", hint="give a column such as sex or age")
    return Columns({name: values for name, values in columns.items() if name not in left_out}, left_out, path.name)


def group_scores(column: str, answers: Answers) -> Grouping:
    """The scores of the groups of one column."""
    values, missed = answers.values, np.zeros(0, np.str_) if answers.missed is None else answers.missed
    everyone = np.concatenate([values, missed])
    known = everyone != ""
    part = np.full(len(everyone), -1)
    part[known], names = _parts(everyone[known])
    groups = tuple(_group(name, part, k, answers) for k, name in enumerate(names))
    return Grouping(column, tuple(group for group in groups if group.faces), int((~known[: len(values)]).sum()))


def _numbers(words: NDArray[np.str_]) -> NDArray[np.float64] | None:
    """Words as numbers, also with a decimal comma; None if one is none."""
    try:
        numbers = np.char.replace(words, ",", ".").astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _parts(values: NDArray[np.str_]) -> tuple[NDArray[np.int64], Sequence[str]]:
    """The group (M,) of each value, and the names of the groups; many different numbers become ranges."""
    words, part = np.unique(values, return_inverse=True)
    numbers = _numbers(words)
    if numbers is None:
        order = sorted(range(len(words)), key=lambda k: _natural(str(words[k])))
        return np.argsort(order)[part], [str(words[k]) for k in order]
    different, same = np.unique(numbers, return_inverse=True)
    first = [str(words[np.flatnonzero(same == k)[0]]) for k in range(len(different))]  # 1 and 1.0 are one number
    each = same[part]
    if len(different) <= _NUMBERS:
        return each, first
    place = np.unique(quarters(different[each]), return_inverse=True)[1]
    ends = ((first[each[place == k].min()], first[each[place == k].max()]) for k in range(place.max() + 1))
    return place, [low if low == high else f"{low} to {high}" for low, high in ends]


def _natural(word: str) -> list[tuple[int, str]]:
    """Sorts numbers in words by their value: 3-9 before 10-19."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", word)]


def _group(name: str, part: NDArray[np.int64], k: int, answers: Answers) -> Group:
    count, how = len(answers.labels), answers.how
    mine, other = part[:count] == k, (part[:count] >= 0) & (part[:count] != k)
    said, labels = answers.probabilities.argmax(axis=1), answers.labels
    correct = said == labels
    own, size = how.of(mine), len(answers.classes)
    confusion = confusion_matrix(labels[mine], said[mine], size)
    here, there = np.bincount(labels[mine], minlength=size), np.bincount(labels[other], minlength=size)
    chosen = np.flatnonzero((here > 0) & ((there > 0) | ~other.any())).tolist()
    recalls = mean_recall(filled(resamples(labels[mine], said[mine], size, own), confusion), chosen) if chosen else None
    found = None
    if answers.missed is not None:
        missed = int((part[count:] == k).sum())
        found = wilson(int(mine.sum()), int(mine.sum()) + missed)
    return Group(
        name=name,
        faces=int(mine.sum()),
        persons=how.units(mine),
        accuracy=share_estimate(correct[mine], own, how.units(mine)),
        difference=_difference(correct, mine, other, how),
        mean_recall=Estimate(np.nan, np.nan, np.nan)
        if recalls is None
        else Estimate.from_draws(float(mean_recall(confusion, chosen)), recalls),
        classes=len(chosen),
        overconfidence=mean_estimate(answers.probabilities[mine].max(axis=1) - correct[mine], own)
        if mine.any()
        else Estimate(np.nan, np.nan, np.nan),
        recalls={
            emotion: (
                int(here[row]),
                wilson(int(confusion[row, row]), int(here[row]), how.units(mine & (labels == row))),
            )
            for row, emotion in enumerate(answers.classes)
            if here[row]
        },
        found=found,
    )


def _difference(
    correct: NDArray[np.bool_], mine: NDArray[np.bool_], other: NDArray[np.bool_], how: Resampling
) -> Estimate:
    """The accuracy of a group less that of the others."""
    if how.owners is None:
        return difference_estimate(correct[mine], correct[other])
    return person_difference(correct[mine], correct[other], how.owners[mine], how.owners[other])
