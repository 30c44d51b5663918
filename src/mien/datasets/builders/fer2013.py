"""FER2013 (Goodfellow et al. 2013) from its CSV, with FER+'s votes (Barsoum et al. 2016) beside it.

`fer2013.csv` has `emotion,pixels,Usage`, 48x48 grey faces as blank-separated integers; `fer2013new.csv` has the
same rows in the same order with ten columns of votes. The columns are found by name. Usage `PublicTest` is our
`val`, `PrivateTest` our `test`; either may be absent.
"""

import csv
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import ferplus
from mien.datasets.row_errors import RowErrors, quoted
from mien.datasets.samples import SPLITS, Samples, without_duplicates
from mien.errors import ConfigError, DataError, InputError

__all__ = ["build"]

SIDE: Final = 48
USAGE: Final = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def build(
    *,
    csv: Annotated[Path, "fer2013.csv, as distributed by Kaggle"],
    votes: Annotated[Path | None, "fer2013new.csv, FER+'s votes for the same rows"] = None,
    emotions: Annotated[int, "7 or 6: FER2013's labels (6: disgust joined to anger); 8: FER+'s"] = 7,
    label_mode: Annotated[str, f"with 8: FER+ label processing, {'|'.join(ferplus.MODES)}"] = "majority",
    keep_duplicates: Annotated[bool, "keep training images that stand in val or test as well"] = False,
) -> Samples:
    """FER2013 and FER+ from their CSV files.

    With 6 or 7 emotions every row is kept, labelled by FER2013; votes, where given, lie beside the labels. With 8
    the votes make the labels and the rows that FER+ drops are left out. `about` counts what was left out. Rows are
    named by their number; with votes they have FER+'s image names, which are blank for what is not a face.

    Raises:
        InputError: A file is missing or cannot be read.
        DataError: A file breaks its format, or the votes do not belong to the rows.
        ConfigError: Options that do not go together.
    """
    _check_options(emotions, label_mode, votes)
    codes, images, split = _read_faces(csv)
    ballots, named = _read_votes(votes, split) if votes else (None, None)
    samples = (
        _with_ferplus_labels(images, split, ballots, named, label_mode)
        if emotions == 8 and ballots is not None and named is not None
        else _with_fer2013_labels(images, split, codes, emotions, ballots, named)
    )
    if not len(samples):
        raise DataError(f"{votes}: the votes leave no face with a label", hint="use FER+'s fer2013new.csv")
    about = {
        "data_set": "fer2013",
        "labels": "FER2013" if emotions != 8 else f"FER+ {label_mode}",
        "votes": votes is not None,
        "rows_read": len(images),
        "dropped_by_label_processing": len(images) - len(samples),
    }
    return without_duplicates(samples, about, keep=keep_duplicates)


def _check_options(size: int, label_mode: str, votes: Path | None) -> None:
    if size not in (6, 7, 8):
        raise ConfigError(f"FER2013 has no labels for {size} emotions", hint="choose 6, 7 or 8")
    if size == 8 and votes is None:
        raise ConfigError("eight emotions are FER+'s labels and need its votes", hint="add --votes fer2013new.csv")
    ferplus.mode_of(label_mode)


def _with_fer2013_labels(
    images: NDArray[np.uint8],
    split: NDArray[np.uint8],
    codes: NDArray[np.int64],
    size: int,
    ballots: NDArray[np.uint8] | None,
    named: NDArray[np.str_] | None,
) -> Samples:
    classes = emotions.vocabulary(size)
    one_hot = np.eye(7, dtype=np.float32)[codes]  # FER2013's codes are the order of the vocabulary of seven
    targets = emotions.convert(one_hot, emotions.vocabulary(7), classes)
    names = np.arange(len(images)).astype(np.str_) if named is None else named
    return Samples(images, targets.argmax(axis=1), classes, split, targets, names, ballots)


def _with_ferplus_labels(
    images: NDArray[np.uint8],
    split: NDArray[np.uint8],
    ballots: NDArray[np.uint8],
    named: NDArray[np.str_],
    label_mode: str,
) -> Samples:
    targets, kept = ferplus.process(ballots, ferplus.mode_of(label_mode))
    kept &= named != ""  # a blank image name: not a face
    samples = Samples(images, targets.argmax(axis=1), emotions.vocabulary(8), split, targets, named, ballots)
    return samples.subset(kept)


def _records(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the named columns of each row; a missing cell is an empty string."""
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="give the path of the official CSV")
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            header = {name.strip(): name for name in reader.fieldnames or ()}
            missing = [name for name in columns if name not in header]
            if missing:
                raise DataError(
                    f"{path}: the header lacks {', '.join(missing)}; found {quoted(', '.join(header))}",
                    hint=f"expected {','.join(columns)}",
                )
            for row in reader:
                yield reader.line_num, {name: (row[header[name]] or "").strip() for name in columns}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV text file: {error}", hint="give the official CSV") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="give the official CSV") from error
    finally:
        csv.field_size_limit(limit)


def _pixels(cell: str) -> NDArray[np.int64] | None:
    """The blank-separated whole numbers of a cell; None where it holds anything else."""
    if "-" in cell:  # numpy reads a lone one as 0
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older numpy only warns of what it cannot read
        try:
            return np.fromstring(cell, dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            return None


def _read_faces(path: Path) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes (N,), images (N, 48, 48) and splits (N,)."""
    codes: list[int] = []
    images: list[NDArray[np.uint8]] = []
    split: list[int] = []
    mistakes = RowErrors(path)
    for line, row in _records(path, ("emotion", "pixels", "Usage")):
        pixels = _pixels(row["pixels"])
        if row["Usage"] not in USAGE:
            mistakes.add(line, f"Usage is {quoted(row['Usage'])}, expected {', '.join(USAGE)}")
        elif row["emotion"] not in set("0123456"):
            mistakes.add(line, f"emotion is {quoted(row['emotion'])}, expected 0 to 6")
        elif pixels is None:
            stray = next((word for word in row["pixels"].split() if not word.isdecimal()), row["pixels"])
            mistakes.add(line, f"a pixel is {quoted(stray)}, expected 0 to 255")
        elif len(pixels) != SIDE * SIDE:
            mistakes.add(line, f"{len(pixels)} pixels, expected {SIDE * SIDE}")
        elif pixels.max() > 255:
            mistakes.add(line, f"a pixel is '{pixels[pixels > 255][0]}', expected 0 to 255")
        else:
            codes.append(int(row["emotion"]))
            images.append(pixels.astype(np.uint8).reshape(SIDE, SIDE))
            split.append(SPLITS.index(USAGE[row["Usage"]]))
    mistakes.check(hint="nothing was written; mend the rows or fetch the file again")
    if not images:
        raise DataError(f"{path}: holds no rows", hint="give the official CSV")
    return np.asarray(codes, np.int64), np.stack(images), np.asarray(split, np.uint8)


def _read_votes(path: Path, split: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Votes (N, 10) in the order of `emotions.ALL` and image names (N,), checked against the faces' splits."""
    official = tuple("NF" if name == "not_a_face" else name for name in ferplus.COLUMNS)
    order = [ferplus.COLUMNS.index(name) for name in emotions.ALL]
    ballots: list[list[int]] = []
    named: list[str] = []
    mistakes = RowErrors(path)
    for line, row in _records(path, ("Usage", "Image name", *official)):
        place = len(ballots)
        cells = [row[name] for name in official]
        if place < len(split) and USAGE.get(row["Usage"]) != SPLITS[split[place]]:
            mistakes.add(line, f"Usage is {quoted(row['Usage'])}, but the face of this row is {SPLITS[split[place]]}")
        if not all(cell.isdecimal() and int(cell) <= 255 for cell in cells):
            mistakes.add(line, f"votes are {quoted(','.join(cells))}, expected ten small numbers")
            cells = ["0"] * len(official)
        ballots.append([int(cells[index]) for index in order])
        named.append(row["Image name"])
    mistakes.check(hint="the votes must stand in the rows' order; use the fer2013new.csv of the same release")
    if len(ballots) != len(split):
        raise DataError(
            f"{path}: {len(ballots)} rows of votes for {len(split)} faces",
            hint="the votes must stand in the rows' order; use the fer2013new.csv of the same release",
        )
    return np.asarray(ballots, np.uint8).reshape(-1, len(official)), np.asarray(named, np.str_)
