"""Adds recorded soft targets to a store.

    python -m scripts.join_targets fer.h5 research/targets/all-kinds.npz --out soft.h5

`research/targets` holds the mean probabilities that larger networks gave FER2013's training faces, in steps of 1/255. A
student can be distilled from them without training the teachers first. Faces are matched by their pixels.
"""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples, store
from mien.datasets.samples import SPLITS


def digests(samples: Samples) -> NDArray[np.uint64]:
    """A hash of each image's pixels (N,): its name in the files of targets."""
    parts = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in samples.images)
    return np.frombuffer(b"".join(parts), np.uint64)


def joined(samples: Samples, targets: Sequence[Path]) -> Samples:
    """The samples with the mean of these targets; zeros for training faces that no file knows, and for other splits.

    Raises:
        ValueError: A file holds other classes, or none of the training faces.
    """
    sizes = {"soft_labels": len(samples.classes), "soft_votes": len(emotions.ALL)}
    totals = {name: np.zeros((len(samples), classes), np.float32) for name, classes in sizes.items()}
    training = np.flatnonzero(samples.split == SPLITS.index("train"))
    names, counts = digests(samples)[training], np.zeros(len(samples), np.float32)
    for path in targets:
        with np.load(path, allow_pickle=False) as file:
            known, first = np.unique(file["pictures"], return_index=True)
            places = np.searchsorted(known, names).clip(max=len(known) - 1)
            found = known[places] == names
            if not found.any():
                raise ValueError(f"{path}: holds targets of other faces, none of the store's training split")
            counts[training[found]] += 1
            for name, total in totals.items():
                steps = file[name]
                if steps.shape[1:] != total.shape[1:]:
                    raise ValueError(f"{path}: {name} has shape {steps.shape}, expected {total.shape[1]} classes")
                total[training[found]] += steps[first[places[found]]] / np.float32(255)
    print(f"{int((counts > 0).sum()):,} of {len(training):,} training faces have targets")
    mean = {name: total / counts.clip(min=1)[:, None] for name, total in totals.items()}
    return replace(samples, **mean, about={**samples.about, "teachers": [path.stem for path in targets]})


def main() -> None:
    parser = argparse.ArgumentParser(description="Adds recorded soft targets to a store.")
    parser.add_argument("store", type=Path)
    parser.add_argument("targets", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    store.save(joined(store.load(arguments.store), arguments.targets), arguments.out)


if __name__ == "__main__":
    main()
