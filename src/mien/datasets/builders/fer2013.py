"""FER2013 (Goodfellow et al. 2013) from its CSV file, optionally with the votes of FER+ (Barsoum et al. 2016).

`fer2013.csv` has the columns `emotion,pixels,Usage` with 48x48 grey faces as blank-separated integers; `fer2013new.csv`
has the same rows in the same order with ten columns of votes. Columns are found by name. Usage `PublicTest` is the
split val, `PrivateTest` is test; either may be absent.
"""

import warnings
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import ferplus
from mien.datasets.csv_rows import RowErrors, quoted, records
from mien.datasets.samples import SPLITS, Samples, without_duplicates
from mien.emotions import convert, vocabulary
from mien.errors import ConfigError, DataError

YIELDS: Final = {"votes"}
SIDE: Final = 48
USAGE: Final = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
_ORDER_HINT: Final = "the votes must be in the order of the faces; use the fer2013new.csv of the same release"


def build(
    *,
    csv: Annotated[Path, "fer2013.csv, as distributed by Kaggle."],
    votes: Annotated[Path | None, "fer2013new.csv: the votes of FER+ for the same rows."] = None,
    emotions: Annotated[int, "7: labels of FER2013; 6: the same with disgust merged into anger; 8: FER+."] = 7,
    label_mode: Annotated[str, f"With 8 emotions, label processing of FER+: {', '.join(ferplus.MODES)}."] = "majority",
    keep_duplicates: Annotated[bool, "Keep training images that are in val or test as well."] = False,
) -> Samples:
    """Builds FER2013 and FER+ from their CSV files.

    With 6 or 7 emotions, all rows are kept with their FER2013 labels; votes, if given, are stored as well. With 8
    emotions, the labels come from the votes, and the rows that FER+ drops are left out. Rows are named by their number;
    with votes, by the image name of FER+, which is blank if the image is not a face.

    Raises:
        InputError: A file is missing or cannot be read.
        DataError: A file breaks its format, or the votes do not belong to the faces.
        ConfigError: Options do not exist or do not go together.
    """
    if emotions not in (6, 7, 8):
        raise ConfigError(f"emotions: expected 6, 7 or 8, got {emotions}", hint="8 selects the emotions of FER+")
    if emotions == 8 and votes is None:
        raise ConfigError("8 emotions are labels of FER+ and need its votes", hint="add --votes fer2013new.csv")
    mode = ferplus.mode_of(label_mode)
    codes, images, split = _read_faces(csv)
    ballots, names = _read_votes(votes, split) if votes else (None, np.arange(len(images)).astype(np.str_))
    if emotions == 8 and ballots is not None:
        targets, kept = ferplus.process(ballots, mode)
        kept &= names != ""  # not a face
    else:
        one_hot = np.eye(7, dtype=np.float32)[codes]  # the codes of FER2013 have the order of the 7 emotions
        targets = convert(one_hot, vocabulary(7), vocabulary(emotions))
        kept = np.ones(len(images), bool)
    samples = Samples(images, targets.argmax(axis=1), vocabulary(emotions), split, targets, names, ballots).subset(kept)
    if not len(samples):
        raise DataError(f"{votes}: no face gets a label from its votes", hint="use the fer2013new.csv of FER+")
    about = {
        "data_set": "fer2013",
        "labels": "FER2013" if emotions != 8 else f"FER+ {mode}",
        "votes": votes is not None,
        "rows_read": len(images),
        "dropped_by_label_processing": len(images) - len(samples),
    }
    return without_duplicates(samples, about, keep=keep_duplicates)


def _read_faces(path: Path) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes (N,), images (N, 48, 48) and splits (N,)."""
    codes: list[int] = []
    images: list[NDArray[np.uint8]] = []
    split: list[int] = []
    errors = RowErrors(path)
    for line, row in records(path, ("emotion", "pixels", "Usage")):
        pixels = _pixels(row["pixels"])
        if row["Usage"] not in USAGE:
            errors.add(line, f"Usage is {quoted(row['Usage'])}, expected {', '.join(USAGE)}")
        elif row["emotion"] not in set("0123456"):
            errors.add(line, f"emotion is {quoted(row['emotion'])}, expected 0 to 6")
        elif pixels is None:
            stray = next((word for word in row["pixels"].split() if not word.isdecimal()), row["pixels"])
            errors.add(line, f"a pixel is {quoted(stray)}, expected 0 to 255")
        elif len(pixels) != SIDE * SIDE:
            errors.add(line, f"{len(pixels)} pixels, expected {SIDE * SIDE}")
        elif pixels.max() > 255:
            errors.add(line, f"a pixel is '{pixels[pixels > 255][0]}', expected 0 to 255")
        else:
            codes.append(int(row["emotion"]))
            images.append(pixels.astype(np.uint8).reshape(SIDE, SIDE))
            split.append(SPLITS.index(USAGE[row["Usage"]]))
    errors.check(hint="nothing was written; correct these rows, or download the file again")
    if not images:
        raise DataError(f"{path}: has no rows", hint="use the fer2013.csv of Kaggle")
    return np.asarray(codes, np.int64), np.stack(images), np.asarray(split, np.uint8)


def _pixels(cell: str) -> NDArray[np.int64] | None:
    """The blank-separated integers of a cell; None if it contains anything else."""
    if "-" in cell:  # numpy reads a single one as 0
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older numpy only warns about invalid text
        try:
            return np.fromstring(cell, dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            return None


def _read_votes(path: Path, split: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Votes (N, 10) in the order of `emotions.ALL` and image names (N,), checked against the splits of the faces."""
    columns = tuple("NF" if name == "not_a_face" else name for name in ferplus.COLUMNS)
    ballots: list[list[int]] = []
    names: list[str] = []
    errors = RowErrors(path)
    for line, row in records(path, ("Usage", "Image name", *columns)):
        place = len(ballots)
        cells = [row[name] for name in columns]
        if place < len(split) and USAGE.get(row["Usage"]) != SPLITS[split[place]]:
            errors.add(line, f"Usage is {quoted(row['Usage'])}, but the face of this row is {SPLITS[split[place]]}")
        if (ballot := ferplus.ballot(cells)) is None:
            errors.add(line, f"votes are {quoted(','.join(cells))}, expected ten numbers from 0 to 255")
        ballots.append(ballot or [0] * len(columns))
        names.append(row["Image name"])
    errors.check(hint=_ORDER_HINT)
    if len(ballots) != len(split):
        raise DataError(f"{path}: {len(ballots)} rows of votes for {len(split)} faces", hint=_ORDER_HINT)
    return np.asarray(ballots, np.uint8).reshape(-1, len(columns)), np.asarray(names, np.str_)
