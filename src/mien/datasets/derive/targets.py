"""What teachers say of training images, kept in a small file, so that distillation can be repeated without them.

A file of targets (.npz) holds for every image a hash of its pixels (`pictures`), the names of the teachers, and what
each of them gave: `soft_labels` (T, N, C) and `soft_votes` (T, N, 10), as float16, or in steps of 1/255 if that would
take more than `MOST` bytes. Files with the mean of the teachers only, (N, C), are read too.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples
from mien.datasets.samples import SPLITS
from mien.errors import DataError, InputError
from mien.files import replacing

MOST: Final = 10_000_000
KINDS: Final = ("soft_labels", "soft_votes")


@dataclass(frozen=True, eq=False)
class Targets:
    """The probabilities of T teachers on N images.

    Attributes:
        hashes: (N,) uint64 hashes of the images.
        teachers: Their names.
        soft: By kind, "soft_labels" or "soft_votes", (T, N, C) float32.
    """

    hashes: NDArray[np.uint64]
    teachers: tuple[str, ...]
    soft: dict[str, NDArray[np.float32]]

    def save(self, path: Path) -> None:
        """Writes the file, which appears only when it is complete.

        Raises:
            OutputError: It cannot be written.
        """
        size = sum(values.size * 2 for values in self.soft.values())
        kept: dict[str, NDArray[Any]] = {
            kind: values.astype(np.float16) if size <= MOST else np.rint(values * 255).astype(np.uint8)
            for kind, values in self.soft.items()
        }
        with replacing(path) as partial, partial.open("wb") as file:
            arrays: dict[str, Any] = {"pictures": self.hashes, "teachers": np.array(self.teachers), **kept}
            np.savez_compressed(file, **arrays)


def image_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A hash of each image's pixels (N,), by which targets find their image whatever the order of a store."""
    parts = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(parts), np.uint64)


def load_targets(path: Path) -> Targets:
    """Reads a file of targets.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    again = "make it with `mien data distil STORE --teacher MODEL --targets FILE`"
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in ("pictures", "teachers", *KINDS) if name in file}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of targets", hint=again) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is not a file of targets: {error}", hint=again) from error
    soft: dict[str, NDArray[np.float32]] = {kind: _floats(data[kind]) for kind in KINDS if kind in data}
    hashes = data.get("pictures", np.empty(0, np.uint64))
    counts = {values.shape[:2] for values in soft.values()}
    if len(counts) != 1 or next(iter(counts))[1] != len(hashes) or hashes.dtype != np.uint64:
        raise InputError(f"{path}: is not a file of targets", hint=again)
    teachers = tuple(map(str, data.get("teachers", np.array([path.stem]))))
    return Targets(hashes, teachers, soft)


def _floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """Saved probabilities; in steps of 1/255 they sum to 1 only nearly, so they are scaled to it."""
    found = values.astype(np.float32)
    found /= np.maximum(found.sum(axis=-1, keepdims=True), np.finfo(np.float16).tiny)
    return np.asarray(found if found.ndim == 3 else found[None], np.float32)


def with_targets(samples: Samples, targets: Sequence[Targets], temperatures: dict[str, float] | None = None) -> Samples:
    """The samples with the vote of all teachers of all files as their soft targets.

    Args:
        samples: Existing soft targets are replaced. Rows of other splits than train get zeros, and so do training
            images that no file knows.
        targets: What the teachers said; images that several files know get the mean over all their teachers.
        temperatures: By kind, of the mean: above 1 softens it, below 1 sharpens it.

    Raises:
        DataError: The targets have other classes, or are of other images.
    """
    training = np.flatnonzero(samples.split == SPLITS.index("train"))
    hashes = image_hashes(samples.images[training])
    sizes = {"soft_labels": len(samples.classes), "soft_votes": len(emotions.ALL)}
    found: dict[str, NDArray[np.float32]] = {}
    for kind, classes in sizes.items():
        known = [each for each in targets if kind in each.soft]
        total = np.zeros((len(training), classes), np.float32)
        count = np.zeros(len(training), np.float32)
        for each in known:
            values = each.soft[kind]
            if values.shape[2] != classes:
                raise DataError(
                    f"the targets of {', '.join(each.teachers)} have {values.shape[2]} classes, the data has {classes}",
                    hint="use the store they were made for",
                )
            names, first = np.unique(each.hashes, return_index=True)
            places = np.searchsorted(names, hashes).clip(max=max(0, len(names) - 1))
            mine = names[places] == hashes if len(names) else np.zeros(len(hashes), bool)
            total[mine] += values[:, first[places[mine]]].sum(axis=0)
            count[mine] += len(values)
        if count.any():
            mean = tempered(total / count.clip(min=1)[:, None], (temperatures or {}).get(kind, 1.0))
            found[kind] = np.zeros((len(samples), classes), np.float32)
            found[kind][training] = mean
    if not found:
        raise DataError(
            "the targets are of other images than the training split", hint="use the store they were made for"
        )
    teachers = [name for each in targets for name in each.teachers]
    about = {**samples.about, "teachers": teachers, "teachers_temperatures": temperatures or {}}
    return replace(samples, soft_labels=found.get("soft_labels"), soft_votes=found.get("soft_votes"), about=about)


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities (N, C) to the power of 1 / temperature, renormalised; rows of zeros stay."""
    if temperature == 1:
        return probabilities
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True).clip(min=1e-12), np.float32)
