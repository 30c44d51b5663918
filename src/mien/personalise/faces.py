"""The faces that a person gives, with their emotions: class folders, a label.csv, or a corrected table of the analyzer.

One bad image never loses the good ones: it is left out, with its reason. A label that the model does not know is an
error, because the image would be learnt as something else.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import CropSpec
from mien.datasets import ferplus
from mien.datasets.class_folders import read_tree
from mien.datasets.class_names import NameOptions, check_numbers, listed
from mien.datasets.csv_rows import rows
from mien.errors import DataError, InputError
from mien.faces.align import Aligner, CropAligner
from mien.faces.crop import crop_face
from mien.faces.detectors import DetectorOptions
from mien.media import find_images, read_frames
from mien.output.schema import BOX
from mien.results import LANDMARKS, Frame

LIST: Final = "label.csv"
WHOLE_IMAGE: Final = "whole-image"
_BOX: Final = re.compile(r"\(\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*\)")
_IMAGE_COLUMNS: Final = ("source", "image", "file", "filename", "path", "name")
_LABEL_COLUMNS: Final = ("emotion", "label", "class")
_POINTS: Final = tuple(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")
_SHOWN: Final = 5


@dataclass(slots=True)
class GivenFaces:
    """Faces with emotions.

    Attributes:
        crops: (size, size, 3) uint8 RGB each, or (size, size) for a network that reads grey images.
        labels: Their emotions, as the model spells them.
        names: Where each is from.
        left_out: Names of images that could not be used, with the reason.
        notes: What was done that the user may not expect.
    """

    crops: list[NDArray[np.uint8]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Item:
    """An image to read: its label, and where its face is if that is known."""

    path: Path
    label: str
    where: str
    box: tuple[float, ...] | None = None  # of a face crop
    points: tuple[float, ...] | None = None  # the five landmarks


def read_faces(
    source: Path,
    crop_spec: CropSpec,
    classes: Sequence[str],
    *,
    names: NameOptions | None = None,
    detector: DetectorOptions | None = None,
) -> GivenFaces:
    """Reads and crops the faces of a folder or a table.

    Args:
        source: Class folders; a folder with a label.csv; a label.csv, or a table of `mien analyze` (.csv).
        crop_spec: How the model wants them cropped.
        classes: The emotions that it knows.
        names: What numbers and other words mean.
        detector: Finds the faces; `whole-image` if the images are crops.

    Raises:
        InputError: The source does not exist, or no image can be used.
        DataError: It has another form, or labels that the model does not know.
    """
    found = GivenFaces()
    reader = _Labels(classes, names or NameOptions())
    if source.is_dir() and not (source / LIST).is_file():
        items = list(_of_folders(source, reader, found))
    elif source.is_dir() or source.suffix.lower() == ".csv":
        items = list(_of_table(source / LIST if source.is_dir() else source, reader, found))
    elif source.exists():
        raise InputError(
            f"{source}: expected a folder or a .csv file", hint="give class folders, such as DIR/happy/*.jpg"
        )
    else:
        raise InputError(f"{source}: no such file or folder", hint="check the path")
    _crop(items, crop_spec, detector or DetectorOptions(), found)
    return found


class _Labels:
    """The emotion that a word in the source means."""

    def __init__(self, classes: Sequence[str], names: NameOptions) -> None:
        self.classes, self.names = classes, names

    def __call__(self, word: str) -> str | None:
        if word in self.classes:
            return word
        emotion = self.names.emotion(word)
        return emotion if emotion in self.classes else None

    def unknown(self, place: str, words: Sequence[str]) -> DataError:
        """The error for words that are no classes of the model."""
        return DataError(
            f"{place}: the model does not know {listed(words, quote=True)}",
            hint=f"it knows {', '.join(self.classes)}; say what others mean with --map NAME=EMOTION, or remove them",
        )


def _of_folders(root: Path, label: _Labels, found: GivenFaces) -> Iterator[_Item]:
    tree = read_tree(root)
    found.notes += tree.notes
    if tree.has_splits:
        found.notes.append(f"the images of {', '.join(tree)} are used together")
    check_numbers(tree.names, label.names, "class folders")
    if unknown := [name for name in tree.names if label(name) is None]:
        raise label.unknown(str(root), unknown)
    for place in tree.values():
        for name, folders in place.items():
            for folder in folders:
                try:
                    images = find_images([folder])
                except InputError:
                    found.notes.append(f"{folder}: has no images")
                    continue
                for image in images:
                    yield _Item(image, str(label(name)), image.relative_to(root).as_posix())


def _of_table(path: Path, label: _Labels, found: GivenFaces) -> Iterator[_Item]:
    """The rows of a table with a header, or of a list without: `name,emotion`, or FER+'s name, box and ten votes."""
    lines = list(rows(path))
    if not lines:
        raise DataError(f"{path}: is empty", hint="expected a row for each image: name,emotion")
    head = [cell.lower() for cell in lines[0][1]]
    image = next((head.index(name) for name in _IMAGE_COLUMNS if name in head), None)
    emotion = next((head.index(name) for name in _LABEL_COLUMNS if name in head), None)
    unknown: dict[str, None] = {}
    if image is not None and emotion is not None:
        places = {name: head.index(name) for name in (*BOX, *_POINTS, "timestamp") if name in head}
        items = (_of_row(path, line, cells, (image, emotion), places, found) for line, cells in lines[1:])
    else:
        if _is_header(lines[0][1]):
            found.notes.append(f"{path}: line 1 is a header, which is not used: {', '.join(lines[0][1])[:60]}")
            lines = lines[1:]
        items = (_of_list(path, line, cells, found) for line, cells in lines)
    for item in items:
        if item is None:
            continue
        if (known := label(item.label)) is None:
            unknown.setdefault(item.label)
        else:
            yield _Item(item.path, known, item.where, item.box, item.points)
    if unknown:
        raise label.unknown(str(path), list(unknown))


def _is_header(cells: list[str]) -> bool:
    """Whether the first row of a list names its columns: it has no box, no number and no name of an image."""
    return not any(_BOX.fullmatch(cell) or cell.isdecimal() for cell in cells) and not Path(cells[0]).suffix


def _located(table: Path, name: str) -> Path:
    """An image that a table names: beside the table, or from the working folder, as the analyzer writes it."""
    beside = table.parent / name
    return beside if beside.is_file() else Path(name)


def _of_row(
    table: Path, line: int, cells: list[str], chosen: tuple[int, int], places: dict[str, int], found: GivenFaces
) -> _Item | None:
    """A row of a table with a header; None for one without a face, or that cannot be used."""
    cells = cells + [""] * (max(*chosen, *places.values(), 0) + 1 - len(cells))
    name, emotion = cells[chosen[0]], cells[chosen[1]]
    where = f"{table.name}, line {line}: {name}"
    if not name or not emotion:  # an image without a face, or a row that the user has emptied
        return None
    if "timestamp" in places and cells[places["timestamp"]]:
        found.left_out.append((where, "is a frame of a video; save it as an image first"))
        return None
    try:
        box = tuple(float(cells[places[key]]) for key in BOX) if set(BOX) <= set(places) else None
        points = None
        if set(_POINTS) <= set(places) and cells[places[_POINTS[0]]]:
            points = tuple(float(cells[places[key]]) for key in _POINTS)
    except ValueError:
        found.left_out.append((where, "its box or landmarks are not numbers"))
        return None
    return _Item(_located(table, name), emotion, where, box, points)


def _of_list(table: Path, line: int, cells: list[str], found: GivenFaces) -> _Item | None:
    """A row without a header: `name,emotion`, or FER+'s name, box and ten votes."""
    where = f"{table.name}, line {line}: {cells[0]}"
    if len(cells) == 2:
        return _Item(_located(table, cells[0]), cells[1], where)
    if len(cells) != 2 + len(ferplus.COLUMNS):
        raise DataError(
            f"{table}: line {line} has {len(cells)} cells, expected name,emotion or a name, a quoted box and "
            f"{len(ferplus.COLUMNS)} votes",
            hint="correct the row; a header must name the columns 'image' and 'emotion'",
        )
    votes = ferplus.ballot(cells[2:])
    corners = _BOX.fullmatch(cells[1])
    if corners is None:
        found.left_out.append((where, f"the box is '{cells[1][:40]}', expected '(left, top, right, bottom)'"))
        return None
    if votes is None or not sum(votes):
        found.left_out.append((where, "the votes are not ten counts"))
        return None
    from mien.emotions import ALL

    return _Item(_located(table, cells[0]), ALL[int(np.argmax(votes))], where, tuple(map(float, corners.groups())))


def _crop(items: list[_Item], crop_spec: CropSpec, detector: DetectorOptions, found: GivenFaces) -> None:
    """Reads the images and adds their faces."""
    whole = CropAligner([crop_spec])
    aligner = Aligner(detector, [crop_spec], crop_aligner=whole)
    several: list[str] = []
    for item, frame in zip(items, read_frames([item.path for item in items]), strict=True):
        if not isinstance(frame, Frame):
            found.left_out.append((item.where, frame.error or "cannot be read"))
            continue
        height, width = frame.image.shape[:2]
        if item.box is not None:
            left, top, right, bottom = item.box
            if not (left < right and top < bottom and left < width and top < height and right > 0 and bottom > 0):
                shown = ", ".join(f"{value:g}" for value in item.box)
                found.left_out.append(
                    (item.where, f"the box ({shown}) is outside of the image of {width}x{height} pixels")
                )
                continue
        if item.points is not None:
            points = np.array(item.points, np.float32).reshape(5, 2)
            if not np.isfinite(points).all() or float(np.ptp(points, axis=0).max()) < 1:
                found.left_out.append((item.where, "its landmarks are not those of a face"))
                continue
            crop = crop_face(frame.image, points, crop_spec)
        elif item.box is not None:
            edges = np.clip(np.rint(item.box), 0, [width, height, width, height]).astype(int)
            part = np.ascontiguousarray(frame.image[edges[1] : edges[3], edges[0] : edges[2]])
            if not part.size:
                found.left_out.append((item.where, "its box holds no pixel"))
                continue
            aligned = whole(part)
            crop = part if aligned is None else aligned[0]
        else:
            faces = aligner.find(frame.image)
            if not faces:
                found.left_out.append((item.where, "no face was found"))
                continue
            if len(faces) > 1:
                several.append(item.where)
            # As `mien analyze` crops it: what is learnt must be what is classified.
            crop = aligner.crop(frame.image, aligner.refined(frame.image, faces[:1]))[0][0]
        found.crops.append(crop)
        found.labels.append(item.label)
        found.names.append(item.where)
    if several:
        more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
        found.notes.append(
            f"{len(several)} images show several faces; the largest was taken: {', '.join(several[:_SHOWN])}{more}"
        )
