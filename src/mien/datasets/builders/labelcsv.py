"""FER+ in its folder form (Barsoum et al. 2016): images as PNG files, a list of votes in each folder.

`FER2013Train`, `FER2013Valid` and `FER2013Test` (which may be absent) hold PNG files and a `label.csv` without header:

    fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0

a image's name, the box of the face in it (left, top, right, bottom; pixels), and the votes in FER+'s column order.
`mien data export ferplus-folders` writes this form; images, votes, splits and names come back bit for bit.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import emotions
from mien.datasets import ferplus
from mien.datasets.row_errors import RowErrors, quoted
from mien.datasets.samples import NO_LABEL, Samples, without_duplicates
from mien.errors import ConfigError, DataError, InputError

__all__ = ["FOLDERS", "LIST", "build"]

# Of each split, in the order of `SPLITS`.
FOLDERS: Final = ("FER2013Train", "FER2013Valid", "FER2013Test")
LIST: Final = "label.csv"

_BOX: Final = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)")
# What Pillow turns to grey without loss of range; a 16-bit image is none of them.
_MODES: Final = {"1", "L", "LA", "P", "RGB", "RGBA"}
_HINT: Final = "nothing was written; mend the rows or export the folders again"


def build(
    *,
    folder: Annotated[Path, "where FER2013Train, FER2013Valid and perhaps FER2013Test lie"],
    label_mode: Annotated[str, f"FER+ label processing, {'|'.join(ferplus.MODES)}"] = "majority",
    side: Annotated[int, "width and height of every face in pixels"] = 48,
    keep_unlabelled: Annotated[bool, "keep the rows that the label processing drops, without a label"] = False,
    keep_duplicates: Annotated[bool, "keep training images that stand in val or test as well"] = False,
) -> Samples:
    """FER+ from folders of PNG files with a label.csv.

    The votes make the labels over eight emotions. `about` counts what was left out: rows without a image's name
    (not a face), rows that the label processing drops, training duplicates.

    Raises:
        InputError: A folder or its list is missing or cannot be read.
        DataError: A list breaks its format, or a image is missing, damaged or of another size.
        ConfigError: There is no such label mode, or the side is no number of pixels.
    """
    mode = ferplus.mode_of(label_mode)
    if side < 1:
        raise ConfigError(f"side: expected a number of pixels above 0, got {side}", hint="FER+'s faces have 48")
    faces, blank = [], 0
    for split, place in enumerate(_places(folder)):
        rows, unnamed = _read_list(place, side)
        faces += [(row, split) for row in rows]
        blank += unnamed
    if not faces:
        raise DataError(f"{folder}: its lists name no images", hint="give FER+'s folders with their label.csv")
    votes = np.asarray([row.votes for row, _ in faces], np.uint8)
    targets, kept = ferplus.process(votes, mode)
    samples = Samples(
        images=np.stack([row.image for row, _ in faces]),
        labels=np.where(kept, targets.argmax(axis=1), NO_LABEL),
        classes=emotions.vocabulary(8),
        split=np.asarray([split for _, split in faces], np.uint8),
        targets=targets,
        names=np.asarray([row.name for row, _ in faces], np.str_),
        votes=votes,
    )
    if not keep_unlabelled:
        samples = samples.subset(kept)
    if not len(samples):
        raise DataError(f"{folder}: the votes leave no face with a label", hint="choose another --label-mode")
    about = {
        "data_set": "fer2013",
        "labels": f"FER+ {mode}",
        "votes": True,
        "rows_read": len(faces) + blank,
        "dropped_without_a_name": blank,
        "dropped_by_label_processing": len(faces) - len(samples),
    }
    return without_duplicates(samples, about, keep=keep_duplicates)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    image: NDArray[np.uint8]  # (side, side)
    votes: list[int]  # in the order of `emotions.ALL`


def _places(folder: Path) -> Iterator[Path]:
    """The folders of the splits, in their order; a missing test folder is passed over."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", hint="give the folder that holds FER2013Train")
    for name in FOLDERS:
        place = folder / name
        if place.is_dir():
            yield place
        elif name != FOLDERS[-1]:
            raise InputError(f"{place}: no such folder", hint=f"give the folder that holds {', '.join(FOLDERS)}")


class _RowError(Exception):
    """What is wrong with one row, in words."""


def _read_list(place: Path, side: int) -> tuple[list[_Row], int]:
    """The rows of a folder's list with their images, and how many had no name."""
    path = place / LIST
    rows: dict[str, _Row] = {}
    blank = 0
    mistakes = RowErrors(path)
    for line, cells in _lines(path):
        if not cells[0]:
            blank += 1
            continue
        try:
            row = _row(place, cells, side)
            if row.name in rows:
                raise _RowError(f"{quoted(row.name)} stands in an earlier line already")
            rows[row.name] = row
        except _RowError as error:
            mistakes.add(line, str(error))
    mistakes.check(_HINT)
    return list(rows.values()), blank


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not empty."""
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="each folder needs its list of boxes and votes")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV text file: {error}", hint="give FER+'s label.csv") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="give FER+'s label.csv") from error


def _row(place: Path, cells: list[str], side: int) -> _Row:
    count = len(ferplus.COLUMNS)
    if len(cells) != 2 + count:
        raise _RowError(f"{len(cells)} cells, expected {2 + count}: a name, a box in quotation marks, {count} votes")
    name, box, *votes = cells
    if not all(cell.isdecimal() and int(cell) <= 255 for cell in votes):
        raise _RowError(f"votes are {quoted(','.join(votes))}, expected ten small numbers")
    if Path(name).name != name:
        raise _RowError(f"the name {quoted(name)} leads out of the folder")
    corners = _BOX.fullmatch(box)
    if not corners:
        raise _RowError(f"the box is {quoted(box)}, expected '(left, top, right, bottom)'")
    left, top, right, bottom = (int(edge) for edge in corners.groups())
    image = _image(place / name, (left, top, right, bottom), side)
    return _Row(name, image, [int(votes[ferplus.COLUMNS.index(emotion)]) for emotion in emotions.ALL])


def _image(path: Path, box: tuple[int, int, int, int], side: int) -> NDArray[np.uint8]:
    """The part of a image that the box shows, grey."""
    name = quoted(path.name)
    left, top, right, bottom = box
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if right > image.width or bottom > image.height:
                raise _RowError(f"the box {box} leaves {name}, which has {image.width}x{image.height} pixels")
            if (right - left, bottom - top) != (side, side):
                raise _RowError(f"the face in {name} has {right - left}x{bottom - top} pixels, expected {side}x{side}")
            if image.mode not in _MODES:
                raise _RowError(f"{name} is of the kind {image.mode}, expected 8-bit grey")
            return np.asarray(image.convert("L").crop(box), np.uint8)
    except FileNotFoundError as error:
        raise _RowError(f"there is no image {name}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow raises them all
        raise _RowError(f"{name} cannot be read as a PNG file") from error
