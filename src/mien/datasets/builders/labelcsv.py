"""FER+ as folders (Barsoum et al. 2016): images as PNG files, with a list of votes in each folder.

`FER2013Train`, `FER2013Valid` and `FER2013Test` (which may be absent) hold PNG files and a `label.csv` without header:

    fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0

The cells are the name of an image, the box of its face (left, top, right, bottom; pixels), and the votes in the column
order of FER+. `mien data export ferplus-folders` writes this format; images, votes, splits and names round-trip.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.datasets import ferplus
from mien.datasets.csv_rows import RowError, RowErrors, quoted, rows
from mien.datasets.exclude import RowOptions, Sources, without_duplicates
from mien.datasets.samples import NO_LABEL, Samples
from mien.emotions import vocabulary
from mien.errors import ConfigError, DataError, InputError
from mien.progress import Progress, Steps, unseen

YIELDS: Final = {"votes"}
# One for each split, in the order of `SPLITS`.
FOLDERS: Final = ("FER2013Train", "FER2013Valid", "FER2013Test")
LIST: Final = "label.csv"

_ROWS: Final = RowOptions()
_BOX: Final = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)")
# Modes that Pillow converts to grey without loss of range, unlike 16-bit images.
_MODES: Final = {"1", "L", "LA", "P", "RGB", "RGBA"}


def build(
    *,
    folder: Annotated[Path, "The folder that contains FER2013Train, FER2013Valid and optionally FER2013Test."],
    label_mode: Annotated[str, f"Label processing of FER+: {', '.join(ferplus.MODES)}."] = "majority",
    side: Annotated[int, "Width and height of the faces in pixels."] = 48,
    keep_unlabelled: Annotated[bool, "Keep the rows that label processing drops, without a label."] = False,
    choice: RowOptions = _ROWS,
    progress: Progress = unseen,
) -> Samples:
    """Builds FER+ from folders of PNG files with a label.csv.

    The votes give the labels over eight emotions. Rows without an image name (not a face), rows that label processing
    drops and duplicated training images are left out and counted.

    Raises:
        InputError: A folder or its list is missing or cannot be read.
        DataError: A list breaks its format, or an image is missing, damaged or of another size.
        ConfigError: The label mode does not exist, or the side is not above 0.
    """
    mode = ferplus.mode_of(label_mode)
    if side < 1:
        raise ConfigError(f"side: expected a number of pixels above 0, got {side}", hint="the faces of FER+ have 48")
    faces: list[tuple[_Row, int]] = []
    blank = 0
    lists = [(place, list(rows(place / LIST))) for place in _places(folder)]
    steps = Steps(progress, sum(len(lines) for _, lines in lists))
    for split, (place, lines) in enumerate(lists):
        found, unnamed = _read_list(place, lines, side, steps)
        faces += [(row, split) for row in found]
        blank += unnamed
    if not faces:
        raise DataError(
            f"{folder}: its label.csv files name no images", hint="use the folders of FER+ with their label.csv"
        )
    votes = np.asarray([row.votes for row, _ in faces], np.uint8)
    targets, kept = ferplus.process(votes, mode)
    samples = Samples(
        images=np.stack([row.image for row, _ in faces]),
        labels=np.where(kept, targets.argmax(axis=1), NO_LABEL),
        classes=vocabulary(8),
        split=np.asarray([split for _, split in faces], np.uint8),
        targets=targets,
        names=np.asarray([row.name for row, _ in faces], np.str_),
        votes=votes,
    )
    if not keep_unlabelled:
        samples = samples.subset(kept)
    if not len(samples):
        raise DataError(f"{folder}: no face gets a label from its votes", hint="choose another --label-mode")
    about: dict[str, object] = {
        "data_set": "fer2013",
        "labels": f"FER+ {mode}",
        "votes": True,
        "rows_read": len(faces) + blank,
        "dropped_without_a_name": blank,
        "dropped_by_label_processing": len(faces) - len(samples),
    }
    chosen = np.asarray(["" if label == NO_LABEL else samples.classes[label] for label in samples.labels], np.str_)
    sources = Sources(chosen, {name: name for name in samples.classes}, "votes")
    return without_duplicates(samples, about, choice=choice, sources=sources)


class _Row(NamedTuple):
    name: str
    image: NDArray[np.uint8]  # (side, side)
    votes: list[int]  # in the order of `emotions.ALL`


def _places(folder: Path) -> Iterator[Path]:
    """The folders of the splits, in their order; the test folder may be missing."""
    for name in FOLDERS:
        place = folder / name
        if place.is_dir():
            yield place
        elif name != FOLDERS[-1]:
            raise InputError(f"{place}: no such folder", hint=f"give the folder that contains {', '.join(FOLDERS)}")


def _read_list(place: Path, lines: list[tuple[int, list[str]]], side: int, steps: Steps) -> tuple[list[_Row], int]:
    """The rows of the list in a folder with their images, and the number of rows without a name."""
    found: dict[str, _Row] = {}
    blank = 0
    errors = RowErrors(place / LIST)
    for line, cells in lines:
        steps.add(1)
        if not cells[0]:
            blank += 1
            continue
        try:
            row = _row(place, cells, side)
            if row.name in found:
                raise RowError(f"{quoted(row.name)} is already in an earlier line")
            found[row.name] = row
        except RowError as error:
            errors.add(line, str(error))
    if errors.found and not any(place.glob("*.png")):
        raise DataError(
            f"{place}: has a list of votes, but no images, as in the repository of FER+",
            hint="the CSV files give the same: mien data build fer2013 --csv fer2013.csv --votes fer2013new.csv",
        )
    errors.check(hint="nothing was written; correct these rows, or export the folders again")
    return list(found.values()), blank


def _row(place: Path, cells: list[str], side: int) -> _Row:
    count = len(ferplus.COLUMNS)
    if len(cells) != 2 + count:
        raise RowError(f"{len(cells)} cells, expected {2 + count}: a name, a box in quotation marks, {count} votes")
    name, box, *votes = cells
    if (ballot := ferplus.ballot(votes)) is None:
        raise RowError(f"votes are {quoted(','.join(votes))}, expected ten numbers from 0 to 255")
    if Path(name).name != name:
        raise RowError(f"the name {quoted(name)} points outside the folder")
    corners = _BOX.fullmatch(box)
    if not corners:
        raise RowError(f"the box is {quoted(box)}, expected '(left, top, right, bottom)'")
    left, top, right, bottom = (int(edge) for edge in corners.groups())
    return _Row(name, _image(place / name, (left, top, right, bottom), side), ballot)


def _image(path: Path, box: tuple[int, int, int, int], side: int) -> NDArray[np.uint8]:
    """The part of an image inside the box, in grey."""
    name = quoted(path.name)
    left, top, right, bottom = box
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if right > image.width or bottom > image.height:
                raise RowError(f"the box {box} is larger than {name} with {image.width}x{image.height} pixels")
            if (right - left, bottom - top) != (side, side):
                raise RowError(f"the face in {name} has {right - left}x{bottom - top} pixels, expected {side}x{side}")
            if image.mode not in _MODES:
                raise RowError(f"{name} has the mode {image.mode}, expected 8-bit grey")
            return np.asarray(image.convert("L").crop(box), np.uint8)
    except FileNotFoundError as error:
        raise RowError(f"the image {name} is missing") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow raises them all
        raise RowError(f"{name} cannot be read as a PNG file") from error
