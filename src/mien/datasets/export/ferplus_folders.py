"""A store as the folders of FER+: PNG files with a label.csv, as `mien data build labelcsv` reads them."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mien import emotions
from mien.datasets import ferplus
from mien.datasets.builders.labelcsv import FOLDERS, LIST
from mien.datasets.export import new_folder
from mien.datasets.samples import SPLITS, Samples
from mien.errors import DataError
from mien.progress import Progress, Steps, unseen

_SUFFIX: Final = ".png"
_NEEDED: Final = 2  # train and valid exist even without rows; their readers expect them


def export(samples: Samples, out: Path, progress: Progress = unseen) -> Mapping[str, int]:
    """Writes the new folder OUT with FER2013Train, FER2013Valid and, if it has rows, FER2013Test.

    Each face keeps its name, with `.png` appended if missing. Rows without a name, which are not faces in FER+, are
    left out and counted.

    Returns:
        The number of rows left out, by reason.

    Raises:
        DataError: The samples have no votes, are in colour, or have names that cannot be names of files.
        OutputError: The folder exists already, or cannot be written.
    """
    named = samples.subset(samples.names != "")
    files = np.asarray(_files(named))
    steps = Steps(progress, len(named))
    with new_folder(out) as folder:
        for code, name in enumerate(FOLDERS):
            rows = np.flatnonzero(named.split == code)
            if len(rows) or code < _NEEDED:
                _write(named.subset(rows), files[rows].tolist(), folder / name, steps)
    return {"without a name": len(samples) - len(named)}


def _files(samples: Samples) -> list[str]:
    """The file name of each face, checked."""
    if samples.votes is None:
        raise DataError("the data has no votes, which this format needs", hint="build it with --votes fer2013new.csv")
    if samples.images.ndim != 3:
        raise DataError("the data is in colour, but this format has grey images", hint="build it from grey images")
    files = [name if name.lower().endswith(_SUFFIX) else name + _SUFFIX for name in samples.names.tolist()]
    if strange := [name for name in files if Path(name).name != name or name != name.strip()]:
        raise DataError(f"{strange[0]!r} cannot be the name of a file", hint="build the store with plain names")
    for code, split in enumerate(SPLITS):
        mine = [name for name, where in zip(files, samples.split, strict=True) if where == code]
        if len(set(mine)) < len(mine):
            twice = next(name for name in mine if mine.count(name) > 1)
            raise DataError(f"{twice!r} names two faces of '{split}'", hint="build the store with unique names")
    return files


def _write(samples: Samples, files: list[str], folder: Path, steps: Steps) -> None:
    """Writes one split: its images and its list."""
    folder.mkdir()
    height, width = samples.images.shape[1:3]
    order = [emotions.ALL.index(name) for name in ferplus.COLUMNS]
    votes = samples.votes[:, order].tolist() if samples.votes is not None else []
    with (folder / LIST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for name, image, counts in zip(files, samples.images, votes, strict=True):
            Image.fromarray(image).save(folder / name, format="PNG")
            writer.writerow([name, f"(0, 0, {width}, {height})", *counts])
            steps.add(1)
