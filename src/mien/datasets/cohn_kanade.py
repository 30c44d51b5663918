"""The files of CK+ (Lucey et al., "The extended Cohn-Kanade dataset (CK+)", CVPR Workshops 2010), in any folders.

A file is known by its name, so both layouts are read by the same code: separate trees, as published
(`cohn-kanade-images/S005/001/S005_001_00000011.png`, `Emotion/S005/001/S005_001_00000011_emotion.txt`, `FACS`,
`Landmarks`), and the files of all kinds in one folder. Frames have numbers of 7 or 8 digits. `emotions.txt` and
`facs.csv`, if they lie at the root, name sequences and their emotions or codes in one list each.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets.class_names import NUMBERINGS
from mien.datasets.csv_rows import RowErrors, quoted, rows
from mien.errors import ConfigError, DataError, InputError
from mien.faces.keypoints import COUNTS, POINTS_68

EMOTIONS: Final = NUMBERINGS["ck"]
LISTS: Final = ("emotions.txt", "facs.csv")

_NAME: Final = re.compile(r"(S\d{3})_(\d{3})_(\d{7,8})(?:_(emotion|facs|landmarks))?(\.\w+)", re.I)
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
# A sequence in a list: "S005_001", "S005/001", with or without the number of its last frame; or "5", "1" in two cells.
_SEQUENCE: Final = re.compile(r"(S\d{3})[_/\\-](\d{3})(?:[_/\\-]\d+)?.*", re.I)
_PERSON: Final = re.compile(r"S?(\d{1,3})", re.I)

Key = tuple[str, str]  # person, sequence
Kind = Literal["image", "emotion", "facs", "landmarks"]


@dataclass
class Sequence:
    """The files of one sequence.

    Attributes:
        subject: The person: "S005".
        number: "001".
        frames: The images by number of frame, in their order.
        landmarks: The files of keypoints by number of frame.
        emotion_file: The file with the number of its emotion.
        facs_file: The file with its action units.
        emotion: The number of its emotion in `emotions.txt`.
        codes: Its action units in `facs.csv`.
    """

    subject: str
    number: str
    frames: dict[int, Path] = field(default_factory=dict)
    landmarks: dict[int, Path] = field(default_factory=dict)
    emotion_file: Path | None = None
    facs_file: Path | None = None
    emotion: int | None = None
    codes: str | None = None

    @property
    def name(self) -> str:
        """Its identifier: "S005/001"."""
        return f"{self.subject}/{self.number}"

    def label(self) -> int | None:
        """The number of its emotion; None if it has none.

        Raises:
            DataError: The file holds something else than the number of an emotion, or not that of `emotions.txt`.
            InputError: The file cannot be read.
        """
        if self.emotion_file is None:
            return self.emotion
        number = emotion_number(_text(self.emotion_file).strip())
        if number is None:
            raise DataError(
                f"{self.emotion_file.name}: the emotion is {quoted(_text(self.emotion_file).strip())}, expected "
                f"{min(EMOTIONS)} to {max(EMOTIONS)}",
                hint="the numbers are those of CK+: 1 anger to 7 surprise",
            )
        if self.emotion not in (None, number):
            raise DataError(
                f"{self.emotion_file.name}: the emotion is {number}, but emotions.txt says {self.emotion}",
                hint="correct one of the two",
            )
        return number


def emotion_number(text: str) -> int | None:
    """The number of an emotion of CK+, which its files write as "3.0000000e+00"; None if the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value in EMOTIONS else None


def read_points(path: Path) -> NDArray[np.float32]:
    """The 68 points (68, 2) of a file of landmarks: x and y in each line, separated by blanks or a comma.

    Raises:
        DataError: The file has another number of points, or something else than two finite numbers in a line.
        InputError: It cannot be read.
    """
    lines = [line for line in _text(path).splitlines() if line.strip()]
    points: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        try:
            cells = [float(cell) for cell in line.replace(",", " ").split()]
        except ValueError:
            cells = []
        if len(cells) != 2 or not np.isfinite(cells).all():
            raise DataError(f"{path.name}: line {number} is {quoted(line.strip())}, expected x and y")
        points.append(cells)
    if len(points) != COUNTS[POINTS_68]:
        raise DataError(f"{path.name}: {len(points)} points, expected {COUNTS[POINTS_68]}")
    return np.asarray(points, np.float32)


def read_sequences(folder: Path) -> dict[Key, Sequence]:
    """The sequences in a folder and its subfolders, by person and number, in ascending order.

    Raises:
        InputError: The folder is missing or cannot be listed.
        DataError: It holds no sequences, a file is there twice, or a list at its root is not one of CK+.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", hint="give the folder that contains the images and Emotion")
    found: dict[Key, Sequence] = {}
    for path in _files(folder):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        subject, number, frame, kind, suffix = name.groups()
        key = (subject.upper(), number)
        if kind is None and suffix.lower() in _IMAGES:
            _add(found.setdefault(key, Sequence(*key)), "image", int(frame), path)
        elif kind is not None and suffix.lower() == ".txt":
            _add(found.setdefault(key, Sequence(*key)), kind.lower(), int(frame), path)
    _read_lists(folder, found)
    if not any(sequence.frames for sequence in found.values()):
        archives = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".zip")
        raise DataError(
            f"{folder}: has no images of CK+, such as S005_001_00000011.png",
            hint=f"unpack {', '.join(archives[:3])} first" if archives else "give the folder of CK+",
        )
    for sequence in found.values():
        sequence.frames = dict(sorted(sequence.frames.items()))
    return dict(sorted(found.items()))


def _add(sequence: Sequence, kind: str, frame: int, path: Path) -> None:
    """Adds a file to its sequence.

    Raises:
        DataError: The sequence has this file already.
    """
    known: Path | None
    if kind in ("image", "landmarks"):
        files = sequence.frames if kind == "image" else sequence.landmarks
        known = files.setdefault(frame, path)
    else:
        known = getattr(sequence, f"{kind}_file") or path
        setattr(sequence, f"{kind}_file", known)
    if known != path:
        what = f"the frame {frame}" if kind in ("image", "landmarks") else "the sequence"
        raise DataError(
            f"{path}: {what} of {sequence.name} has this {kind} twice, also in {known.parent}",
            hint="give a folder with one copy of the data set",
        )


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in ascending order; links to folders are followed, each folder is read once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        folders.sort()
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise InputError(f"the folder '{error.filename}' cannot be listed: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: is not a text file", hint="download it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="check the file") from error


def _read_lists(folder: Path, found: Mapping[Key, Sequence]) -> None:
    """Adds what `emotions.txt` and `facs.csv` say; a list of the emotions' numbers is only compared.

    Raises:
        DataError: A line is neither about a sequence nor the number and name of an emotion of CK+.
    """
    table = folder / LISTS[0]
    if table.is_file():
        errors = RowErrors(table)
        for number, line in enumerate(_text(table).splitlines(), 1):
            cells = [cell for cell in re.split(r"[\s,;:=]+", line.strip()) if cell]
            if not cells or (number == 1 and not any(map(str.isdigit, line))):
                continue  # empty, or a header
            key, rest = _key(cells)
            if key is not None and len(rest) == 1 and (emotion := emotion_number(rest[0])) is not None:
                if key in found:
                    found[key].emotion = emotion
            elif not _is_emotion(cells):
                errors.add(number, f"{quoted(line.strip())} is not a sequence and its emotion, nor a number and a name")
        errors.check(hint="the numbers are those of CK+: " + ", ".join(f"{k} {v}" for k, v in EMOTIONS.items()))
    table = folder / LISTS[1]
    if table.is_file():
        for _, cells in rows(table):
            key, rest = _key(cells)
            if key is not None and key in found and rest:
                found[key].codes = rest[-1]


def _key(cells: list[str]) -> tuple[Key | None, list[str]]:
    """The sequence that a row of a list is about, and its other cells; None if it is about none."""
    if name := _SEQUENCE.fullmatch(cells[0]):
        return (name[1].upper(), name[2]), cells[1:]
    if len(cells) > 2 and (person := _PERSON.fullmatch(cells[0])) and cells[1].isdigit():
        return (f"S{int(person[1]):03}", f"{int(cells[1]):03}"), cells[2:]
    return None, cells


def _is_emotion(cells: list[str]) -> bool:
    """Whether a row is the number and the name of an emotion of CK+, in this or the other order."""
    if len(cells) != 2:
        return False
    number, name = cells if cells[0].isdigit() else cells[::-1]
    try:
        return number.isdigit() and EMOTIONS.get(int(number)) == emotions.parse(name)
    except ConfigError:
        return False
