"""A CSV list of images with labels and, optionally, the valence and the arousal that people gave them.

The file has the columns `file` (relative to the CSV file) and `label`, and optionally `valence` and `arousal` (-1 to 1,
together), `subject` and `split`:

    file,label,valence,arousal,subject
    faces/0001.jpg,happy,0.7,0.3,ann
    faces/0002.jpg,,-0.2,0.5,ben

A cell without a label or without valence and arousal is unknown; a row needs one of the two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.datasets.class_names import ClassOptions, naming
from mien.datasets.csv_rows import LeftOut, RowError, RowErrors, check_columns, header, quoted, rows
from mien.datasets.exclude import RowOptions, Sources, without_duplicates
from mien.datasets.folds import PersonSplitOptions, check_subjects, subject_split
from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.datasets.splits import split_of
from mien.datasets.stored_faces import FaceOptions, FaceReader
from mien.errors import DataError
from mien.faces.detectors import DetectorOptions
from mien.media import read_frames
from mien.progress import Progress, unseen
from mien.results import Frame

YIELDS: Final = {"affect", "subjects"}
AFFECT: Final = ("valence", "arousal")
_COLUMNS: Final = ("file", "label")
_FACES: Final = FaceOptions()
_NAMES: Final = ClassOptions()
_DETECTOR: Final = DetectorOptions()
_SPLIT: Final = PersonSplitOptions()
_ROWS: Final = RowOptions()


def build(
    source: Annotated[Path, "CSV file with the columns file, label; also valence, arousal, subject, split."],
    *,
    names: ClassOptions = _NAMES,
    faces: FaceOptions = _FACES,
    detector: DetectorOptions = _DETECTOR,
    split: PersonSplitOptions = _SPLIT,
    choice: RowOptions = _ROWS,
    report: Annotated[Path | None, "Write the files that were left out, and the reasons, to this CSV file."] = None,
    progress: Progress = unseen,
) -> Samples:
    """Builds a data set from a CSV list of images, with valence and arousal if the list has them.

    The file names are relative to the CSV file. An empty cell means that a label, or valence and arousal, are unknown.
    All images of a person stay in one split. Images that cannot be read are left out, counted and reported; the exit
    code is then 3.

    Raises:
        InputError: The file is missing or cannot be read.
        DataError: A column is missing, rows or names of classes are wrong, a person is in two splits, or no image can
            be used.
        ConfigError: Options do not exist or do not go together.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
        OutputError: The report cannot be written.
    """
    reader = FaceReader(faces, detector)
    found = read_list(source)
    present = sorted({row.split for row in found if row.split})
    shares = split.shares(present)
    labels = list(dict.fromkeys(row.label for row in found if row.label))
    if not labels:
        raise DataError(
            f"{source}: no row has a label", hint="fill the column label of some rows: networks learn both together"
        )
    meaning = naming(labels, names, lambda name: sum(row.label == name for row in found), what="label")
    kept, images, left_out = _read(source, found, reader, progress)
    if report:
        left_out.write(report)
    if not images:
        raise DataError(
            f"{source}: no image can be used; the first: {': '.join(left_out[0][::2])}", hint="check the files"
        )
    samples = _samples(kept, images, meaning.classes, meaning.place)
    check_subjects(samples)
    if not present:
        samples = replace(samples, split=subject_split(samples, shares, split.seed))
    about: dict[str, object] = {
        "data_set": "list",
        "labels": f"list {source.resolve().stem}",
        "votes": False,
        "rows_read": len(found),
        "faces_cropped": faces.crop_faces,
        "kept_without_a_face": reader.kept_whole,
        "seed": split.seed,
        **left_out.about("unreadable", "without_a_face"),
    }
    places = {name: meaning.classes[index] for name, index in meaning.place.items()}
    sources = Sources(np.asarray([row.label for row in kept], np.str_), places, "label")
    return without_duplicates(samples, about, choice=choice, sources=sources)


class ListedImage(NamedTuple):
    """A row of a list; `affect` is valence and arousal, nan if unknown."""

    file: str
    label: str
    affect: tuple[float, float]
    subject: str = ""
    split: str = ""


def read_list(path: Path) -> list[ListedImage]:
    """The rows of a list.

    Raises:
        InputError: The file is missing or cannot be read.
        DataError: A column is missing, there are no rows, or rows are wrong; all of them are named.
    """
    columns = [name.lower() for name in header(path)]
    check_columns(path, columns, _COLUMNS)
    if len(set(columns) & set(AFFECT)) == 1:
        check_columns(path, columns, AFFECT)
    found: dict[str, ListedImage] = {}
    errors = RowErrors(path)
    lines = rows(path)
    next(lines)
    for line, cells in lines:
        try:
            image = _row(dict(zip(columns, cells, strict=False)))
            if image.file in found:
                raise RowError(f"{quoted(image.file)} is already in an earlier line")
            found[image.file] = image
        except RowError as error:
            errors.add(line, str(error))
    errors.check(hint="nothing was written; correct these rows")
    if not found:
        raise DataError(f"{path}: has no rows", hint="expected a row for each image")
    if without := sum(not row.split for row in found.values()) if any(row.split for row in found.values()) else 0:
        raise DataError(
            f"{path}: {without:,} rows have no split, and others have", hint="fill the column, or remove it"
        )
    return list(found.values())


def _row(cells: Mapping[str, str]) -> ListedImage:
    """One row.

    Raises:
        RowError: It is wrong.
    """
    if not cells.get("file"):
        raise RowError("has no file")
    written = [cells.get(name, "") for name in AFFECT]
    if all(written):
        affect = (_number("valence", written[0]), _number("arousal", written[1]))
    elif any(written):
        raise RowError("has valence or arousal alone, expected both or neither")
    else:
        affect = (math.nan, math.nan)
    label = cells.get("label", "")
    if not label and not all(written):
        raise RowError("has neither a label nor valence and arousal" if "valence" in cells else "has no label")
    split = split_of(cells["split"]) if cells.get("split") else ""
    if split is None:
        raise RowError(f"split is {quoted(cells['split'])}, expected {', '.join(SPLITS)}")
    return ListedImage(cells["file"], label, affect, cells.get("subject", ""), split)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:  # also refuses nan
        raise RowError(f"{name} is {quoted(text)}, expected a number from -1 to 1")
    return value


def _read(
    source: Path, found: Sequence[ListedImage], reader: FaceReader, progress: Progress
) -> tuple[list[ListedImage], list[NDArray[np.uint8]], LeftOut]:
    """The rows whose image can be used, these images, and the files that were left out."""
    kept, images, left_out = list[ListedImage](), list[NDArray[np.uint8]](), LeftOut()
    paths = [source.parent / row.file for row in found]
    for number, (row, frame) in enumerate(zip(found, read_frames(paths), strict=True), 1):
        if not isinstance(frame, Frame):
            left_out.append((row.file, "unreadable", frame.error or ""))
        elif (face := reader.face(frame.image)) is None:
            left_out.append((row.file, "without_a_face", "no face was found"))
        else:
            kept.append(row)
            images.append(face)
        progress(number, len(found))
    return kept, images, left_out


def _samples(
    kept: Sequence[ListedImage],
    images: Sequence[NDArray[np.uint8]],
    classes: tuple[str, ...],
    place: Mapping[str, int],
) -> Samples:
    """The samples, in the splits of the source, else in train."""
    labels = np.array([place[row.label] if row.label else NO_LABEL for row in kept], np.int64)
    targets = np.zeros((len(kept), len(classes)), np.float32)
    known = np.flatnonzero(labels != NO_LABEL)
    targets[known, labels[known]] = 1
    affect = np.array([row.affect for row in kept], np.float32)
    subjects = np.array([row.subject for row in kept], np.str_)
    return Samples(
        images=np.stack(images),
        labels=labels,
        classes=classes,
        split=np.array([SPLITS.index(row.split or "train") for row in kept], np.uint8),
        targets=targets,
        names=np.array([row.file for row in kept], np.str_),
        subjects=subjects if (subjects != "").any() else None,
        affect=affect if np.isfinite(affect).any() else None,
    )
