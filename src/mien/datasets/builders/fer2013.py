"""FER2013 (Goodfellow et al. 2013) from its CSV file, optionally with the votes of FER+ (Barsoum et al. 2016).

`fer2013.csv` and `icml_face_data.csv` have the columns `emotion,pixels,Usage` with 48x48 grey faces as blank-separated
integers; `fer2013new.csv` has the same rows in the same order with ten columns of votes. Columns are found by name.
Usage `PublicTest` is the split val, `PrivateTest` is test; either may be absent. `train.csv` of the challenge has no
Usage: it is divided at random. Files of the same form with other labels need `--numbers` or words.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import ferplus
from mien.datasets.class_names import NUMBERINGS, NameOptions, check_numbers, number_in
from mien.datasets.csv_rows import RowErrors, check_columns, header, quoted, records
from mien.datasets.exclude import RowOptions, Sources, without_duplicates
from mien.datasets.samples import SPLITS, Samples, stratified_split
from mien.datasets.splits import SHARE, SplitOptions, split_of
from mien.emotions import convert, vocabulary
from mien.errors import ConfigError, DataError

YIELDS: Final = {"votes"}
SIDE: Final = 48
USAGE: Final = ("Training", "PublicTest", "PrivateTest")
LABEL: Final = "emotion"
# Names in an archive with several CSV files; those with all three splits first.
FILES: Final = ("fer2013.csv", "icml_face_data.csv", "train.csv")
_VOTES: Final = ("fer2013new.csv",)
# Columns that other files of faces as pixels have in the place of `emotion`; whose numbers they hold is unknown.
_OTHER_LABELS: Final = ("label", "labels", "class", "target", "expression", "emotions")
_ORDER_HINT: Final = "the votes must be in the order of the faces; use the fer2013new.csv of the same release"
_NAMES: Final = NameOptions()
_SPLIT: Final = SplitOptions()
_ROWS: Final = RowOptions()


def build(
    *,
    csv: Annotated[Path, "CSV file of the faces: fer2013.csv, icml_face_data.csv or train.csv, also in an archive."],
    votes: Annotated[Path | None, "CSV file of the votes of FER+ for the same rows: fer2013new.csv."] = None,
    emotions: Annotated[
        int | None,
        "7: labels of FER2013, the default; 6: the same with disgust merged into anger; 8: FER+.",
    ] = None,
    label_mode: Annotated[str, f"With 8 emotions, label processing of FER+: {', '.join(ferplus.MODES)}."] = "majority",
    names: NameOptions = _NAMES,
    split: SplitOptions = _SPLIT,
    choice: RowOptions = _ROWS,
) -> Samples:
    """Builds FER2013 and FER+ from their CSV files.

    With 6 or 7 emotions, all rows are kept with their FER2013 labels; votes, if given, are stored as well. With 8
    emotions, the labels come from the votes, and the rows that FER+ drops are left out. Rows are named by their number;
    with votes, by the image name of FER+, which is blank if the image is not a face. A file without the column Usage is
    divided at random, class by class. Labels that are not those of FER2013 are explained with --numbers or --map.

    Raises:
        InputError: A file is missing or cannot be read.
        DataError: A file breaks its format, has numbers of an unknown data set as labels, or the votes do not belong to
            the faces.
        ConfigError: Options do not exist or do not go together.
    """
    if emotions not in (None, 6, 7, 8):
        raise ConfigError(f"emotions: expected 6, 7 or 8, got {emotions}", hint="8 selects the emotions of FER+")
    if emotions == 8 and votes is None and names == _NAMES:
        raise ConfigError("8 emotions are labels of FER+ and need its votes", hint="add --votes fer2013new.csv")
    mode = ferplus.mode_of(label_mode)
    form = _form(csv, names)
    if votes and not form.usage:
        raise ConfigError(
            f"--votes: {csv.name} has no column Usage, so its rows cannot be matched with the votes",
            hint="use fer2013.csv or icml_face_data.csv, whose rows are in the order of fer2013new.csv",
        )
    faces = _read_faces(csv, form)
    ballots, row_names = _read_votes(votes, faces.split) if votes else (None, _numbers(len(faces.images)))
    processed = ballots is not None and emotions == 8
    size = emotions or (8 if "contempt" in faces.nouns else 7)
    if ballots is not None and processed:
        targets, kept = ferplus.process(ballots, mode)
        kept &= row_names != ""  # not a face
    else:
        targets, kept = _one_hot(csv, faces, size), np.ones(len(faces.images), bool)
    labels = targets.argmax(axis=1)
    shares = split.shares(faces.present, val=0.0 if form.usage else SHARE, test=0.0 if form.usage else SHARE)
    divided = stratified_split(faces.split, labels, shares, split.seed)
    samples = Samples(faces.images, labels, vocabulary(size), divided, targets, row_names, ballots).subset(kept)
    if not len(samples):
        raise DataError(f"{votes}: no face gets a label from its votes", hint="use the fer2013new.csv of FER+")
    about: dict[str, object] = {
        "data_set": "fer2013",
        "labels": f"FER+ {mode}" if processed else f"labels of {csv.name}" if form.other else "FER2013",
        "official_splits": form.usage and not form.other and not any(shares.values()),
        "votes": votes is not None,
        "rows_read": len(faces.images),
        "dropped_by_label_processing": len(faces.images) - len(samples),
        "notes": form.notes,
    }
    if any(shares.values()):
        about["seed"] = split.seed
    if processed:
        chosen = np.asarray([samples.classes[label] for label in samples.labels], np.str_)
        sources = Sources(chosen, {name: name for name in samples.classes}, "votes")
    else:
        meaning = {cell: samples.classes[labels[row]] for cell, row in faces.first.items()}
        sources = Sources(np.asarray(faces.cells, np.str_), meaning, "label")
    return without_duplicates(samples, about, choice=choice, sources=sources)


@dataclass(frozen=True)
class _Form:
    """How a file is read.

    Attributes:
        label: The column of labels.
        usage: There is a column Usage.
        names: What the labels mean.
        expected: The labels that a message names.
        other: The labels may be others than those of FER2013.
        notes: What to tell the user about it.
    """

    label: str
    usage: bool
    names: NameOptions
    expected: str
    other: bool
    notes: list[str]


def _form(path: Path, names: NameOptions) -> _Form:
    """What a file's header says.

    Raises:
        DataError: It is not a file of labelled faces; the hint says which file is.
    """
    found = header(path, FILES)
    if {"neutral", "NF"} <= set(found):
        raise DataError(
            f"{path}: has the votes of FER+, without pixels",
            hint=f"give the faces as well: --csv fer2013.csv --votes {path}",
        )
    label = LABEL if LABEL in found else next((name for name in found if name.lower() in _OTHER_LABELS), LABEL)
    if label == LABEL and "pixels" in found and LABEL not in found:
        raise DataError(
            f"{path}: has pixels, but no column of labels: it is the challenge's test.csv, whose labels were secret",
            hint="use fer2013.csv or icml_face_data.csv, which hold the same faces with their labels",
        )
    check_columns(path, found, (label, "pixels"))
    notes = [] if "Usage" in found else [f"{path}: has no column Usage, so all rows are training data to be divided"]
    if label == LABEL and not names.numbers:  # FER2013 is known by its columns
        codes = NUMBERINGS["fer2013"]
        known = NameOptions("fer2013", names.map)
        return _Form(label, "Usage" in found, known, f"{min(codes)} to {max(codes)}", bool(names.map), notes)
    expected = "an emotion" if not names.numbers else f"a number of {names.numbers} or an emotion"
    return _Form(label, "Usage" in found, names, expected, names.numbers != "fer2013", notes)


@dataclass
class _Faces:
    """The rows of a file.

    Attributes:
        cells: The label of each row, as it is in the file.
        nouns: Its emotion.
        images: (N, 48, 48).
        split: (N,).
        present: The splits that the file names.
    """

    cells: list[str]
    nouns: list[str]
    images: NDArray[np.uint8]
    split: NDArray[np.uint8]
    present: tuple[str, ...]

    @property
    def first(self) -> dict[str, int]:
        """The first row of each label, in the order of numbers, then of words."""
        rows: dict[str, int] = {}
        for row, cell in enumerate(self.cells):
            rows.setdefault(cell, row)
        return dict(sorted(rows.items(), key=lambda item: (number_in(item[0]) is None, number_in(item[0]) or 0, item)))


def _read_faces(path: Path, form: _Form) -> _Faces:
    cells: list[str] = []
    nouns: list[str] = []
    images: list[NDArray[np.uint8]] = []
    split: list[int] = []
    errors = RowErrors(path)
    known: dict[str, str | None] = {}
    unclear: dict[str, int] = {}
    for line, row in records(path, (form.label, "pixels", *(["Usage"] if form.usage else [])), FILES):
        cell, pixels = row[form.label], _pixels(row["pixels"])
        part = split_of(row["Usage"]) if form.usage else "train"
        if cell not in known:
            known[cell] = form.names.emotion(cell)
        noun = known[cell]
        if part is None:
            errors.add(line, f"Usage is {quoted(row['Usage'])}, expected {', '.join(USAGE)}")
        elif noun is None and number_in(cell) is not None and not form.names.numbers:
            unclear[cell] = unclear.get(cell, 0) + 1
        elif noun not in vocabulary(8):
            errors.add(line, f"{form.label} is {quoted(cell)}, expected {form.expected}")
        elif pixels is None:
            stray = next((word for word in row["pixels"].split() if not word.isdecimal()), row["pixels"])
            errors.add(line, f"a pixel is {quoted(stray)}, expected 0 to 255")
        elif len(pixels) != SIDE * SIDE:
            errors.add(line, f"{len(pixels)} pixels, expected {SIDE * SIDE}")
        elif pixels.max() > 255:
            errors.add(line, f"a pixel is '{pixels[pixels > 255][0]}', expected 0 to 255")
        else:
            cells.append(cell)
            nouns.append(str(noun))
            images.append(pixels.astype(np.uint8).reshape(SIDE, SIDE))
            split.append(SPLITS.index(part))
    check_numbers(sorted(unclear, key=lambda cell: number_in(cell) or 0), form.names, "labels", unclear.__getitem__)
    errors.check(
        hint="nothing was written; correct these rows, or download the file again; if the numbers are not those of "
        "FER2013, say whose they are with --numbers, or what they mean with --map 7=contempt"
    )
    if not images:
        raise DataError(f"{path}: has no rows", hint="use the fer2013.csv of Kaggle")
    codes = np.asarray(split, np.uint8)
    present = tuple(SPLITS[code] for code in np.unique(codes)) if form.usage else ()
    return _Faces(cells, nouns, np.stack(images), codes, present)


def _one_hot(path: Path, faces: _Faces, size: int) -> NDArray[np.float32]:
    """The labels as distributions (N, size).

    Raises:
        DataError: The vocabulary lacks an emotion of the file.
    """
    codes = np.asarray([vocabulary(8).index(noun) for noun in faces.nouns], np.int64)
    if size < 8 and (count := faces.nouns.count("contempt")):
        raise DataError(f"{path}: {count:,} rows are contempt, which {size} emotions lack", hint="use --emotions 8")
    if size == 8 and "contempt" not in faces.nouns:
        raise DataError(f"{path}: no row is contempt, so there are only 7 emotions", hint="leave out --emotions 8")
    return convert(np.eye(8, dtype=np.float32)[codes], vocabulary(8), vocabulary(size))


def _numbers(count: int) -> NDArray[np.str_]:
    return np.arange(count).astype(np.str_)


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
    for line, row in records(path, ("Usage", "Image name", *columns), _VOTES):
        place = len(ballots)
        cells = [row[name] for name in columns]
        if place < len(split) and split_of(row["Usage"]) != SPLITS[split[place]]:
            errors.add(line, f"Usage is {quoted(row['Usage'])}, but the face of this row is {SPLITS[split[place]]}")
        if (ballot := ferplus.ballot(cells)) is None:
            errors.add(line, f"votes are {quoted(','.join(cells))}, expected ten numbers from 0 to 255")
        ballots.append(ballot or [0] * len(columns))
        names.append(row["Image name"])
    errors.check(hint=_ORDER_HINT)
    if len(ballots) != len(split):
        raise DataError(f"{path}: {len(ballots)} rows of votes for {len(split)} faces", hint=_ORDER_HINT)
    return np.asarray(ballots, np.uint8).reshape(-1, len(columns)), np.asarray(names, np.str_)
