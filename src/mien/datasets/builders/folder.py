"""Class folders of images, any size and format: `DIR/happy/*.jpg`, or `DIR/train/happy/*.jpg`, with val and test.

The folders' names are the classes: emotions by their noun, a common alias or FER2013's number ("happiness", "Happy",
"3"), or with `--classes own` whatever they are called. A class holds the images of the folders inside of it as well.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import InputSpec, default_model, model_info
from mien.datasets import class_folders as classfolders
from mien.datasets.samples import SPLITS, Samples, without_duplicates
from mien.errors import ConfigError, DataError, InputError
from mien.faces import detectors
from mien.files import new_file
from mien.media import find_images, read_frames
from mien.results import Frame

__all__ = ["build"]

SIZES: Final = (16, 512)  # of a recipe's input
CHANNELS: Final = ("grey", "rgb")
FRACTION: Final = 0.1  # of each class, for a split that nothing is said of
_SHOWN: Final = 5  # files left out that a store's `about` names


def build(
    folder: Annotated[Path, "the folder of class folders, or of train, val and test with these inside"],
    *,
    classes: Annotated[str | None, "6, 7 or 8 emotions, or own: the folders' names; by default what they show"] = None,
    size: Annotated[int, "width and height of the stored faces in pixels"] = 48,
    channels: Annotated[str, "grey or rgb"] = "grey",
    crop_faces: Annotated[bool, "find the largest face of each image and crop it as the shipped model's are"] = False,
    keep_faceless: Annotated[bool, "with --crop-faces: keep a image without a face, whole"] = False,
    detector: Annotated[str | None, f"with --crop-faces: {', '.join(detectors.names())}"] = None,
    detector_weights: Annotated[Path | None, "the detector's network, where it needs one"] = None,
    val: Annotated[float | None, "share of each class for val, where there is no such folder; by default 0.1"] = None,
    test: Annotated[float | None, "likewise for test; by default 0.1, or 0 where train has a folder of its own"] = None,
    seed: Annotated[int, "of what goes into val and test"] = 0,
    keep_duplicates: Annotated[bool, "keep training images that stand in val or test as well"] = False,
    report: Annotated[Path | None, "write the files that were left out, and why, to this CSV"] = None,
) -> Samples:
    """Class folders of images.

    Images are brought to one size; the short sides of one that is not square are continued by its outermost pixels.
    One that cannot be read is left out, counted and named, and the rest goes on; the exit code is then 3.

    Raises:
        InputError: The folder is missing or cannot be listed.
        DataError: The folders' names are no classes, a class is empty, or there is only one.
        ConfigError: Options that do not exist or do not go together.
        UnsupportedError: The detector cannot run here.
        WeightsError: The detector's weights are missing or damaged.
        OutputError: The report cannot be written.
    """
    spec = _spec(size, channels)
    shaper = _Shaper(spec, _finder(crop_faces, keep_faceless, detector, detector_weights), keep_faceless)
    tree = classfolders.read_tree(folder)
    shares = _shares(tree, val, test)
    naming = classfolders.naming(tree, classes)
    found = _Found(folder)
    for split, place in tree.items():
        for name, path in place.items():
            found.read(path, split, naming.place[name], shaper)
    if report:
        _write_report(report, found.left_out)
    labels = np.asarray(found.labels, np.int64)
    _check_full(labels, naming.classes, folder)
    split_codes = _divided(np.asarray(found.splits, np.uint8), labels, shares, seed)
    samples = Samples(
        images=np.stack(found.images),
        labels=labels,
        classes=naming.classes,
        split=split_codes,
        targets=np.eye(len(naming.classes), dtype=np.float32)[labels],
        names=np.asarray(found.names, np.str_),
    )
    about: dict[str, object] = {
        "data_set": "folder",
        "labels": f"folder {folder.resolve().name}",
        "votes": False,
        "rows_read": len(samples) + len(found.left_out),
        "folders": {name: naming.classes[index] for name, index in naming.place.items()},
        "faces_cropped": crop_faces,
        "kept_without_a_face": shaper.kept_whole,
        "seed": seed,
        **{f"dropped_{reason}": count for reason, count in found.counts().items()},
        "left_out": [f"{path}: {why}" for path, _, why in found.left_out[:_SHOWN]],
    }
    samples = without_duplicates(samples, about, keep=keep_duplicates)
    _check_training(samples, folder)
    return samples


def _spec(size: int, channels: str) -> InputSpec:
    if channels not in CHANNELS:
        raise ConfigError(f"there are no channels '{channels}'", hint=f"choose {' or '.join(CHANNELS)}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(f"size: expected {SIZES[0]} to {SIZES[1]} pixels, got {size}", hint="FER2013's faces have 48")
    depth = 1 if channels == "grey" else 3
    return InputSpec(size, cast(Literal["grey", "rgb"], channels), (0.0,) * depth, (1.0,) * depth)


def _finder(wanted: bool, keep_faceless: bool, name: str | None, weights: Path | None) -> detectors.Detector | None:
    if not wanted:
        if keep_faceless or name or weights:
            raise ConfigError("these options are of --crop-faces", hint="add it, or leave out the others")
        return None
    return detectors.load(detectors.DetectorOptions(name or detectors.DEFAULT, weights))


def _shares(tree: classfolders.Tree, val: float | None, test: float | None) -> dict[str, float]:
    """The share of each class that goes from train to val and to test."""
    alone = list(tree) == ["train"] and not tree.given
    shares = {}
    for split, share, usual in (("val", val, FRACTION), ("test", test, FRACTION if alone else 0.0)):
        if share is not None and not 0 <= share < 1:
            raise ConfigError(f"{split}: expected a share from 0 to below 1, got {share}", hint="as in --val 0.1")
        if split in tree:
            if share is not None:
                raise ConfigError(f"--{split}: there is a folder '{split}' already", hint="leave one of them out")
            shares[split] = 0.0
        else:
            shares[split] = usual if share is None else share
    if sum(shares.values()) >= 1:
        raise ConfigError("val and test together leave nothing to learn from", hint="as in --val 0.1 --test 0.1")
    return shares


class _Shaper:
    """Brings images to their stored form."""

    def __init__(self, spec: InputSpec, detector: detectors.Detector | None, keep_faceless: bool) -> None:
        from mien.faces.align import Aligner  # late, as below: the command line lists data sets without OpenCV

        self.spec, self.keep_faceless = spec, keep_faceless
        crop_spec = model_info(default_model()).crop_spec.resized(spec.size)
        self.aligner = None if detector is None else Aligner(detector, [crop_spec])
        self.kept_whole = 0

    def __call__(self, frame: Frame) -> NDArray[np.uint8] | None:
        """The face (size, size) grey or (size, size, 3) RGB, uint8; None where there is none."""
        from mien.expression.preprocess import fitted

        image = frame.image
        if self.aligner is not None:
            if (crops := self.aligner.largest(image)) is not None:
                (image,) = crops
            elif not self.keep_faceless:
                return None
            else:
                self.kept_whole += 1
        channels = fitted([image], self.spec)[0]  # (C, size, size)
        return channels[0] if len(channels) == 1 else np.ascontiguousarray(channels.transpose(1, 2, 0))


@dataclass
class _Found:
    """What was read so far, and what was not."""

    root: Path
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)  # path, kind, reason

    def read(self, path: Path, split: str, label: int, shaper: _Shaper) -> None:
        """Adds the images of one class folder."""
        images = list(_images(path))
        for image, frame in zip(images, read_frames(images), strict=True):
            name = _printable(image.relative_to(self.root).as_posix())
            if not isinstance(frame, Frame):
                self.left_out.append((name, "unreadable", frame.error or ""))
            elif (face := shaper(frame)) is None:
                self.left_out.append((name, "without_a_face", "no face was found"))
            else:
                self.images.append(face)
                self.labels.append(label)
                self.splits.append(SPLITS.index(split))
                self.names.append(name)

    def counts(self) -> Mapping[str, int]:
        """Files left out, by kind."""
        kinds = [kind for _, kind, _ in self.left_out]
        return {kind: kinds.count(kind) for kind in ("unreadable", "without_a_face")}


def _images(path: Path) -> Iterator[Path]:
    """The images below a class folder; links to folders inside of it are not followed, so none leads round."""
    try:
        yield from find_images([path])
    except InputError:
        if not os.access(path, os.R_OK):
            raise


def _printable(name: str) -> str:
    """A path as text that can be written: stray bytes escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _check_full(labels: NDArray[np.int64], classes: Sequence[str], folder: Path) -> None:
    """Every class needs a image."""
    empty = [name for index, name in enumerate(classes) if not (labels == index).any()]
    if empty:
        raise DataError(
            f"{folder}: no image that can be used of {', '.join(empty)}",
            hint="add images, or remove the empty folders; --classes own takes those that are left as the classes",
        )


def _check_training(samples: Samples, folder: Path) -> None:
    training = samples.labels[samples.split == SPLITS.index("train")]
    empty = [name for index, name in enumerate(samples.classes) if not (training == index).any()]
    if empty:
        raise DataError(
            f"{folder}: nothing to learn {', '.join(empty)} from: all of it stands in val or test",
            hint="add images to train, or keep them with --keep-duplicates",
        )


def _divided(
    splits: NDArray[np.uint8], labels: NDArray[np.int64], shares: Mapping[str, float], seed: int
) -> NDArray[np.uint8]:
    """The splits (N,), with shares of each class's training rows moved to val and test, drawn by the seed.

    Each class is drawn on its own, so that another class more changes nothing. One of two images goes to val, one of
    three to test, however small the share; at least one stays in train.
    """
    result = splits.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (splits == SPLITS.index("train")))
        order = np.random.default_rng([seed, int(label)]).permutation(rows)
        start, spare = 0, len(rows) - 1
        for split, share in shares.items():
            if share > 0 and spare > 0:
                count = min(spare, max(1, round(share * len(rows))))
                result[order[start : start + count]] = SPLITS.index(split)
                start, spare = start + count, spare - count
    return result


def _write_report(path: Path, left_out: Sequence[tuple[str, str, str]]) -> None:
    with new_file(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "kind", "reason"])
        writer.writerows(left_out)
