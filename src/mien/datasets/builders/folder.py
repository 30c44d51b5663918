"""Class folders with images of any size and format: `DIR/happy/*.jpg`, or `DIR/train/happy/*.jpg` with val and test.

The names of the folders are the classes: emotions by their noun or a common alias ("happiness", "Happy", "3_happy"), by
a number together with the data set whose number it is (`--numbers affectnet`), or any names with `--classes own`.
Folders inside a class folder belong to the class.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets.class_folders import Tree, read_tree
from mien.datasets.class_names import ClassOptions, naming
from mien.datasets.csv_rows import LeftOut
from mien.datasets.exclude import RowOptions, Sources, without_duplicates
from mien.datasets.samples import SPLITS, Samples, stratified_split
from mien.datasets.splits import SHARE, SplitOptions
from mien.datasets.stored_faces import FaceOptions, FaceReader
from mien.errors import DataError, InputError
from mien.faces.detectors import DetectorOptions
from mien.media import find, find_images, read_frames
from mien.progress import Progress, Steps, unseen
from mien.results import Frame

YIELDS: Final[set[str]] = set()


_FACES: Final = FaceOptions()
_NAMES: Final = ClassOptions()
_SPLIT: Final = SplitOptions()
_ROWS: Final = RowOptions()
_DETECTOR: Final = DetectorOptions()


def build(
    folder: Annotated[Path, "The folder with the class folders, or with train, val and test that contain them."],
    *,
    names: ClassOptions = _NAMES,
    faces: FaceOptions = _FACES,
    detector: DetectorOptions = _DETECTOR,
    split: SplitOptions = _SPLIT,
    choice: RowOptions = _ROWS,
    report: Annotated[Path | None, "Write the files that were left out, and the reasons, to this CSV file."] = None,
    progress: Progress = unseen,
) -> Samples:
    """Builds a data set from class folders of images.

    All images are resized to one size; images that are not square are padded by repeating their outermost pixels.
    Images that cannot be read are left out, counted and reported; the exit code is then 3.

    Raises:
        InputError: The folder is missing or cannot be listed.
        DataError: The folder names are not classes, or are numbers of an unknown data set, a class is empty, or there
            is only one class.
        ConfigError: Options do not exist or do not go together.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
        OutputError: The report cannot be written.
    """
    reader = _Reader(folder, FaceReader(faces, detector))
    tree = read_tree(folder)
    shares = split.shares(tree if tree.has_splits else (), val=SHARE, test=0.0 if tree.has_splits else SHARE)
    found = naming(tree.names, names, lambda name: _count(tree, name))
    images = [
        (list(_images(path)), split_name, name)
        for split_name, place in tree.items()
        for name, paths in place.items()
        for path in paths
    ]
    steps = Steps(progress, sum(len(paths) for paths, _, _ in images))
    for paths, split_name, name in images:
        reader.read(paths, split_name, name, steps)
    if report:
        reader.left_out.write(report)
    labels = np.asarray([found.place[name] for name in reader.folders], np.int64)
    if empty := _missing(labels, found.classes):
        raise DataError(
            f"{folder}: the classes {', '.join(empty)} have no usable image",
            hint="add images, or remove the empty folders; --classes own uses the remaining folders as classes",
        )
    samples = Samples(
        images=np.stack(reader.images),
        labels=labels,
        classes=found.classes,
        split=stratified_split(np.asarray(reader.splits, np.uint8), labels, shares, split.seed),
        targets=np.eye(len(found.classes), dtype=np.float32)[labels],
        names=np.asarray(reader.names, np.str_),
    )
    about: dict[str, object] = {
        "data_set": "folder",
        "labels": f"folder {folder.resolve().name}",
        "votes": False,
        "rows_read": len(samples) + len(reader.left_out),
        "faces_cropped": faces.crop_faces,
        "kept_without_a_face": reader.faces.kept_whole,
        "seed": split.seed,
        **reader.left_out.about("unreadable", "without_a_face"),
        "notes": [*tree.notes, *_passed_over(tree)],
    }
    meaning = {name: found.classes[index] for name, index in found.place.items()}
    sources = Sources(np.asarray(reader.folders, np.str_), meaning, "folder")
    samples = without_duplicates(samples, about, choice=choice, sources=sources)
    training = samples.labels[samples.split == SPLITS.index("train")]
    if "train" in tree and (empty := _missing(training, samples.classes)):
        raise DataError(
            f"{folder}: the classes {', '.join(empty)} have no training images, only images in val or test",
            hint="add images to train, or keep duplicates of val and test with --keep-duplicates",
        )
    return samples


@dataclass
class _Reader:
    """Reads images and brings them to their stored form."""

    root: Path
    faces: FaceReader
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def read(self, paths: list[Path], split: str, folder: str, steps: Steps) -> None:
        """Adds the images at `paths` of the class folder `folder`."""
        for image, frame in zip(paths, read_frames(paths), strict=True):
            name = image.relative_to(self.root).as_posix().encode("utf-8", "backslashreplace").decode()
            if not isinstance(frame, Frame):
                self.left_out.append((name, "unreadable", frame.error or ""))
            elif (face := self.faces.face(frame.image)) is None:
                self.left_out.append((name, "without_a_face", "no face was found"))
            else:
                self.images.append(face)
                self.folders.append(folder)
                self.splits.append(SPLITS.index(split))
                self.names.append(name)
            steps.add(1)


def _images(path: Path) -> Iterator[Path]:
    """The images below a class folder; links to folders inside it are followed once."""
    try:
        yield from find_images([path])
    except InputError:  # no images
        if not os.access(path, os.R_OK):
            raise


def _passed_over(tree: Tree) -> list[str]:
    """What the class folders have besides images that are read, by kind."""
    places = [path for place in tree.values() for paths in place.values() for path in paths]
    with suppress(InputError):  # no images
        return [f"passed over: {text}" for text in find(places).passed_over]
    return []


def _count(tree: Tree, name: str) -> int:
    """Number of images in the folders of one class."""
    return sum(1 for place in tree.values() for path in place.get(name, ()) for _ in _images(path))


def _missing(labels: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """The classes that no label names."""
    return [name for index, name in enumerate(classes) if not (labels == index).any()]
