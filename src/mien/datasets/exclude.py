"""Which rows of a source stay: no training images that are in val or test as well, and none of a list.

The list is `--exclude curation.csv` of every builder, as `mien curate` writes it. A line names an image by `name`, as
the builder does, or by the fingerprint of its pixels in `image`, for rows without a name and for the same images in
another form. A name that is a number counts only if the pixels agree, because every CSV file has a row 17. Lines whose
cell `keep` is filled are not left out, so a person can check the list in any spreadsheet, or delete lines.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets.csv_rows import check_columns, quoted, rows
from mien.datasets.samples import SPLITS, Samples, mark_duplicates
from mien.errors import DataError

NAME: Final = "name"
IMAGE: Final = "image"
KEEP: Final = "keep"
_NOT_KEPT: Final = ("", "0", "no", "n", "false")  # what the column `keep` holds for images to leave out
_DIGITS: Final = 16  # of a fingerprint
_SHOWN: Final = 5


# The type of the option `exclude` with its help.
ExcludeFile = Annotated[
    Path | None, "A CSV file of images to leave out, as from `mien curate`: its column name, or image."
]


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Which rows of the source become rows of the store."""

    keep_duplicates: Annotated[bool, "Keep training images that are in val or test as well."] = False
    exclude: ExcludeFile = None


_CHOICE: Final = RowOptions()


@dataclass(frozen=True, slots=True)
class Line:
    """An image of a list: its name and its fingerprint, of which one may be empty; and where it is in the file."""

    number: int
    name: str
    image: str

    def __str__(self) -> str:
        return self.name or f"line {self.number}"


@dataclass(frozen=True, slots=True, eq=False)
class Excluded:
    """What a list leaves out of some samples.

    Attributes:
        rows: (N,) bool: is left out.
        kept: Number of lines of the list whose images stay because `keep` says so.
        missing: Lines whose image is not in the data.
    """

    rows: NDArray[np.bool_]
    kept: int
    missing: Sequence[Line]

    def note(self, path: Path) -> str:
        """One line in words."""
        parts = [f"--exclude {path.name}: left out {int(self.rows.sum()):,} images"]
        if self.kept:
            parts.append(f"{self.kept:,} stay, by their column {KEEP}")
        if self.missing:
            more = ", ..." if len(self.missing) > _SHOWN else ""
            parts.append(f"{len(self.missing):,} were not found: {', '.join(map(str, self.missing[:_SHOWN]))}{more}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Sources:
    """What the classes were called in the source.

    Attributes:
        names: (N,) the name that each sample's class had there; empty if it had none.
        classes: The class that each name means, also of names without a sample.
        kind: What the names are: "folder", "label", "votes".
    """

    names: NDArray[np.str_]
    classes: Mapping[str, str]
    kind: str

    def counts(self, split: NDArray[np.uint8], rows: NDArray[np.bool_]) -> dict[str, dict[str, object]]:
        """By name: its class, and the number of samples at `rows` in each split that has any."""
        splits = [(code, name) for code, name in enumerate(SPLITS) if ((split == code) & rows).any()]
        return {
            name: {
                "class": label,
                **{each: int(((self.names == name) & (split == code) & rows).sum()) for code, each in splits},
            }
            for name, label in self.classes.items()
        }


def fingerprint(image: NDArray[np.uint8]) -> str:
    """Identifies an image (H, W) or (H, W, 3) uint8 by its size and pixels."""
    content = hashlib.sha256(repr(image.shape).encode())
    content.update(np.ascontiguousarray(image).tobytes())
    return content.hexdigest()[:_DIGITS]


def read_exclusions(path: Path) -> tuple[list[Line], int]:
    """The lines of a list to leave out, and how many others say that their image is kept.

    Raises:
        InputError: The file is missing or cannot be read.
        DataError: It is no CSV text, has neither the column `name` nor `image`, or a line has nothing in them.
    """
    lines = rows(path)
    _, head = next(lines, (0, []))
    columns = [cell.lower() for cell in head]
    if IMAGE not in columns:
        check_columns(path, columns, [NAME])
    found: list[Line] = []
    kept = 0
    for number, cells in lines:
        row = dict(zip(columns, cells, strict=False))
        if row.get(KEEP, "").lower() not in _NOT_KEPT:
            kept += 1
            continue
        line = Line(number, row.get(NAME, ""), row.get(IMAGE, "").lower())
        if not line.name and not line.image:
            raise DataError(
                f"{path}: line {number} has neither a {NAME} nor an {IMAGE}, found {quoted(','.join(cells))}",
                hint="correct the line, or delete it",
            )
        found.append(line)
    return found, kept


def excluded(samples: Samples, path: Path) -> Excluded:
    """Finds the images of a list in some samples.

    Raises:
        InputError: The list is missing or cannot be read.
        DataError: It has another form, or none of its images is in the data.
    """
    lines, kept = read_exclusions(path)
    out = np.zeros(len(samples), bool)
    prints = np.array([fingerprint(image) for image in samples.images]) if any(each.image for each in lines) else None
    by_name: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(samples.names.tolist()):
        by_name[name].append(row)
    unnamed: list[Line] = []
    for line in lines:
        places = by_name.get(line.name, []) if line.name else []
        if line.name.isdecimal() and line.image and prints is not None:
            places = [row for row in places if prints[row] == line.image]
        if places:
            out[places] = True
        else:
            unnamed.append(line)
    missing = _by_fingerprint(unnamed, prints, out)
    if lines and not out.any():
        raise DataError(
            f"{path}: none of its {len(lines):,} images is in this data set; the first: {quoted(str(lines[0]))}",
            hint="give the list that `mien curate` wrote for this data set",
        )
    return Excluded(out, kept, missing)


def _by_fingerprint(lines: Sequence[Line], prints: NDArray[np.str_] | None, out: NDArray[np.bool_]) -> list[Line]:
    """Leaves out one more image for each line with its fingerprint, the last ones first; gives the lines without one.

    Of equal images without names, as many go as the list has lines for them, so that one stays where one shall stay.
    """
    wanted = Counter(line.image for line in lines if line.image)
    places: dict[str, list[int]] = defaultdict(list)
    if wanted and prints is not None:
        for row in np.flatnonzero(np.isin(prints, list(wanted)) & ~out).tolist():
            places[str(prints[row])].append(row)
    missing = []
    for line in lines:
        if line.image and places.get(line.image):
            out[places[line.image].pop()] = True
        else:
            missing.append(line)
    return missing


def check_classes(samples: Samples, left: NDArray[np.bool_], path: Path) -> None:
    """Makes sure that no class of a split with training loses all its images to a list.

    Raises:
        DataError: One does.
    """
    for label, name in enumerate(samples.classes):
        for split in (None, 0):
            mine = (samples.labels == label) & (True if split is None else samples.split == split)
            if mine.any() and not (mine & left).any():
                where = "" if split is None else " training"
                raise DataError(
                    f"{path}: leaves out every{where} image of the class '{name}'",
                    hint=f"keep some: fill the column {KEEP} in their lines, or delete these lines",
                )


def without_duplicates(
    samples: Samples, about: Mapping[str, object], *, choice: RowOptions = _CHOICE, sources: Sources | None = None
) -> Samples:
    """The rows of a source that stay: without those of a list and, in train, without cross-split duplicates.

    `about` counts what is dropped, and says what the classes were called in the source and how many samples of each
    are left.

    Raises:
        InputError: The list is missing or cannot be read.
        DataError: The list has another form, has no image of the data, or leaves nothing of a class.
    """
    if choice.exclude is not None:
        found = excluded(samples, choice.exclude)
        check_classes(samples, ~found.rows, choice.exclude)
        notes = about.get("notes")
        notes = [*(notes if isinstance(notes, list) else []), found.note(choice.exclude)]
        about = {**about, "dropped_by_the_list": int(found.rows.sum()), "notes": notes}
        if sources is not None:
            sources = replace(sources, names=sources.names[~found.rows])
        samples = samples.subset(~found.rows)
    duplicate = mark_duplicates(samples.images, samples.split)
    dropped = duplicate & (samples.split == SPLITS.index("train")) & (not choice.keep_duplicates)
    about = {**about, "dropped_training_duplicates": int(dropped.sum())}
    if sources is not None:
        about |= {"sources": sources.counts(samples.split, ~dropped), "source_kind": sources.kind}
    return replace(samples, duplicate=duplicate, about=about).subset(~dropped)
