"""Finds likely errors in the labels of a store, and weights its training faces: see `mien.evaluation.curation`.

    python -m scripts.curate soft.h5 --out curated.h5 --report curation.json
    mien train mien-m --data curated.h5 --set row_weights=true --set augmentation.covers=0

The store must have soft targets (`mien data distil`), which are taken as what a model says of each training face.
Labels are judged by confident learning, votes by their distance from the model; a face has the smaller weight of both.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.datasets import Samples, store
from mien.datasets.samples import SPLITS
from mien.errors import DataError
from mien.evaluation.curation import LIGHTEST, Curation, curate, vote_trust
from mien.files import new_file


def curated(samples: Samples, lightest: float = LIGHTEST) -> tuple[Samples, Curation | None]:
    """The samples with weights for the training faces, and what was found of their labels.

    Raises:
        DataError: There are no soft targets, or none for any training face.
    """
    training = samples.split == SPLITS.index("train")
    weights = np.ones(len(samples), np.float32)
    found = None
    if samples.soft_labels is not None:
        said = samples.soft_labels / samples.soft_labels.sum(axis=1, keepdims=True).clip(min=1e-12)
        judged = training & (samples.soft_labels.sum(axis=1) > 0)
        if judged.any():
            found = curate(said, np.where(judged, samples.labels, -1), samples.classes)
            weights = np.minimum(weights, found.weights(lightest))
    if samples.soft_votes is not None and samples.votes is not None:
        rows = np.flatnonzero(training & (samples.soft_votes.sum(axis=1) > 0))
        if len(rows):
            said = samples.soft_votes[rows] / samples.soft_votes[rows].sum(axis=1, keepdims=True)
            weights[rows] = np.minimum(weights[rows], vote_trust(said, samples.votes[rows], lightest=lightest))
    if found is None and (weights == 1).all():
        raise DataError("the store has no soft targets for its training faces", hint="add them with `mien data distil`")
    return replace(samples, weights=weights, about={**samples.about, "curated": True}), found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the store to write")
    parser.add_argument("--report", type=Path, help="also write what was found as JSON")
    parser.add_argument("--lightest", type=float, default=LIGHTEST, help="weight of the most suspicious face")
    arguments = parser.parse_args()
    samples, found = curated(store.load(arguments.store), arguments.lightest)
    store.save(samples, arguments.out)
    if found is not None:
        print(found.text(samples.names.tolist()))
        if arguments.report:
            with new_file(arguments.report, "w", encoding="utf-8") as file:
                file.write(json.dumps(found.as_dict(), indent=1) + "\n")
    assert samples.weights is not None
    lighter = samples.weights < 1
    print(f"{int(lighter.sum()):,} of {len(samples):,} rows count less; mean weight {samples.weights.mean():.3f}")


if __name__ == "__main__":
    main()
