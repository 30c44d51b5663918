"""Faces whose places are known: a table of boxes, joined to the images and videos that it names.

The boxes are those of another program, of a data set, or of an earlier analysis. One row is one face; the names of the
columns may be those of mien or of other programs, see `read_boxes`.
"""

import csv
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mien.analyzer.arguments import known_faces
from mien.errors import ConfigError, DataError
from mien.names import counted, printable
from mien.output.saved_tables import number, read_table
from mien.results import Face, Frame, FrameResult

# Names of columns in lower case, the best first.
_SOURCES: Final = ("source", "file", "image", "path", "filename", "file_name", "image_path", "subdirectory_filepath")
_EDGES: Final = (
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
    ("x1", "y1", "x2", "y2"),
)
_SIZES: Final = (
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("left", "top", "width", "height"),
    ("face_x", "face_y", "face_width", "face_height"),
)


@dataclass(eq=False, slots=True)
class KnownFaces:
    """The faces of a table, by their images and frames.

    Attributes:
        path: The table.
        sources: The images and videos that it names, in its order.
        unlisted: Images and videos that were read and that the table does not name: their faces are not known.
    """

    path: Path
    sources: tuple[str, ...]
    unlisted: list[str] = field(default_factory=list)
    _faces: Mapping[tuple[str, int], tuple[Face, ...]] = field(default_factory=dict)
    _named: dict[str, str | None] = field(default_factory=dict)  # what was read, and its name in the table

    def files(self) -> list[str]:
        """The images and videos as paths: as the table has them, or from the folder of the table."""
        beside = (os.path.join(self.path.parent, source) for source in self.sources)
        return [
            source if os.path.exists(source) or not os.path.exists(near) else near
            for source, near in zip(self.sources, beside, strict=True)
        ]

    def match(self, sources: Iterable[str]) -> None:
        """Finds each image and video in the table: by its path, or by the end of its path.

        Raises:
            ConfigError: None is in the table, or two have the same name in it.
        """
        ends: dict[str, list[str]] = defaultdict(list)
        for listed in self.sources:
            ends[os.path.basename(os.path.normpath(listed))].append(listed)
        taken: dict[str, str] = {}
        for source in sources:
            self._named[source] = name = _named(source, ends, self.path.parent)
            if name is None:
                self.unlisted.append(source)
            elif taken.setdefault(name, source) != source:
                raise ConfigError(
                    f"--boxes {self.path}: '{printable(name)}' is the name of '{taken[name]}' and of '{source}'",
                    hint="write the folders of the images into the table",
                )
        if not taken:
            example = printable(self.sources[0]) if self.sources else "nothing"
            raise ConfigError(
                f"--boxes {self.path}: names none of the inputs",
                hint=f"it names '{example}', the first input is '{next(iter(self._named), '')}'",
            )

    @property
    def left(self) -> int:
        """How many images and videos of the table are not among the inputs."""
        return len(self.sources) - len(set(self._named.values()) - {None})

    def of(self, frames: Iterable[Frame | FrameResult]) -> Iterator[Frame | FrameResult]:
        """The frames with their faces; the note of a frame says which lie outside the image and are left out."""
        for frame in frames:
            if isinstance(frame, FrameResult):
                yield frame
                continue
            name = self._named.get(frame.source)
            number = 0 if frame.timestamp is None else frame.index
            faces = () if name is None else self._faces.get((name, number), ())
            height, width = frame.image.shape[:2]
            inside = tuple(
                face for face in faces if (face.box[:2] < (width, height)).all() and (face.box[2:] > 0).all()
            )
            notes = [frame.note] if frame.note else []
            if outside := len(faces) - len(inside):
                lie = "lies" if outside == 1 else "lie"
                notes.append(f"{counted(outside, 'face')} of {self.path} {lie} outside the {width} x {height} pixels")
            yield replace(frame, faces=inside, note="; ".join(notes) or None)


def read_boxes(path: Path) -> KnownFaces:
    """The boxes of a table.

    Args:
        path: A table in a format that `mien analyze --table` writes: a CSV file, for example, with columns for the
            image (`source`, `file`, `image`, `path`, `filename`) and the box in pixels of the upright image (`x0, y0,
            x1, y1`; `xmin, ymin, xmax, ymax`; `left, top, right, bottom`; or `x, y, width, height`), and if wanted the
            `score` and, for videos, the `frame`, from 0, and the `track`. A row without a box names an image without
            faces. Paths are as given, or from the folder of the table.

    Raises:
        InputError: The file cannot be read.
        DataError: It has no such columns, or a row has no such box.
        MissingExtraError: Parquet needs packages that are not installed.
    """
    names, rows = read_table(path)
    lower = {name.strip().lower(): name for name in reversed(names) if name}
    source = next((lower[name] for name in _SOURCES if name in lower), None)
    places = next((each for each in (*_EDGES, *_SIZES) if lower.keys() >= set(each)), None)
    if source is None or places is None:
        raise DataError(
            f"'{path}' has no boxes of faces: its columns are {printable(', '.join(names))}",
            hint="expected source, x0, y0, x1, y1; or file, x, y, width, height",
        )
    cells = [lower[each] for each in places]
    faces: dict[tuple[str, int], list[Face]] = {}
    found: dict[str, None] = {}
    read = 0
    try:
        for row in rows:
            read += 1
            name = str(row[source] or "")
            if not name:
                raise ValueError(f"{source} is empty")
            found[name] = None
            box = [number(row.get(cell)) for cell in cells]
            if all(map(math.isnan, box)):  # an image without faces
                continue
            key = name, _whole(row, lower, "frame") or 0
            faces.setdefault(key, []).append(_face(box, row, lower, sizes=places in _SIZES))
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        what = str(error).removeprefix("faces: box 0: ")
        raise DataError(f"'{path}', row {read}: {what}") from error
    return KnownFaces(path, tuple(found), _faces={key: tuple(each) for key, each in faces.items()})


def _face(box: Sequence[float], row: Mapping[str, Any], lower: Mapping[str, str], *, sizes: bool) -> Face:
    """The face of a row; ValueError if it has none."""
    x0, y0, x1, y1 = box
    if sizes:
        x1, y1 = x0 + x1, y0 + y1
    (face,) = known_faces([x0, y0, x1, y1], 2**31, 2**31)
    score = number(row.get(lower.get("score", "")))
    return replace(face, score=1.0 if math.isnan(score) else score, track=_whole(row, lower, "track"))


def _whole(row: Mapping[str, Any], lower: Mapping[str, str], name: str) -> int | None:
    """A whole number of a row; None if it has none."""
    value = number(row.get(lower.get(name, "")))
    if math.isnan(value):
        return None
    if value != int(value) or value < 0:
        raise ValueError(f"{name}: expected a whole number from 0, got {value:g}")
    return int(value)


def _named(source: str, ends: Mapping[str, Sequence[str]], folder: Path) -> str | None:
    """The name in a table of an image or video: the same file, or the longest that the path ends with."""
    whole = os.path.abspath(source)
    near = ends.get(os.path.basename(os.path.normpath(source)), ())
    for name in near:
        if whole in (os.path.abspath(name), os.path.abspath(folder / name)):
            return name
    parts = Path(whole).parts
    fitting = [name for name in near if parts[-len(_parts(name)) :] == _parts(name)]
    return max(fitting, key=lambda name: len(_parts(name)), default=None)


def _parts(name: str) -> tuple[str, ...]:
    return Path(os.path.normpath(name)).parts
