"""What lifts or spoils published accuracies of classic networks: `python -m benchmarks.classic_claims STORE MODEL ...`.

On PublicTest, FER2013's seven labels, for each exported file (or classic network in `weights/`):

- all faces, and the duplicates alone: faces that are also in Training, bit for bit, where they were left out;
- all faces if the network had learnt their training labels by heart, as it can where they are kept;
- all faces with values of 0-255 in place of 0-1, as programs read them that forget to divide.

STORE is built with `--keep-duplicates`, so that the training labels of the duplicates are known; with keypoints for a
network that reads them. Written to `benchmarks/results/classic_claims.json`, in percent with Wilson's 95% intervals.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Measurement, Results, markdown, save
from mien.assets.signature import ImageInput
from mien.datasets import Samples, store
from mien.datasets.derive.targets import image_hashes
from mien.evaluation import evaluate_model
from mien.expression import OnnxClassifier

NAME: Final = "classic_claims"
PROTOCOL: Final = "labels"


def same_label(samples: Samples) -> NDArray[np.bool_]:
    """Which faces of val (N,) have a training face of the same pixels and the same label.

    Raises:
        ValueError: The training duplicates were left out of the store.
    """
    training, held = samples.only("train"), samples.only("val")
    known = set(zip(image_hashes(training.images).tolist(), training.labels.tolist(), strict=True))
    found = [pair in known for pair in zip(image_hashes(held.images).tolist(), held.labels.tolist(), strict=True)]
    if not any(found):
        raise ValueError("no face of val is in train: build the store with --keep-duplicates")
    return np.array(found)


def unscaled(model: str) -> OnnxClassifier:
    """The network, given values of 0-255 where it expects 0-1."""
    classifier = OnnxClassifier(model)
    spec = classifier.info.input
    wrong = replace(spec, mean=tuple(value / 255 for value in spec.mean), std=tuple(value / 255 for value in spec.std))
    inputs = tuple(
        replace(part, spec=wrong) if isinstance(part, ImageInput) else part for part in classifier.info.inputs
    )
    classifier.info = replace(classifier.info, inputs=inputs)
    return classifier


def measured(model: str, held: Samples, learnt: NDArray[np.bool_]) -> dict[str, Measurement]:
    """The measurements of one network.

    Args:
        model: The network.
        held: The faces that it is measured on.
        learnt: Which of them (N,) have a training face with the same label.
    """
    found = evaluate_model(model, held, split="val")
    answers = found.predictions[PROTOCOL]
    duplicates = held.duplicate[answers.rows]
    kinds = {
        "all faces": answers.correct,
        "the duplicates alone": answers.correct[duplicates],
        "all faces, the duplicates learnt by heart": np.where(duplicates, learnt[answers.rows], answers.correct),
        "all faces, values 0-255": evaluate_model(unscaled(model), held, split="val").predictions[PROTOCOL].correct,
    }
    return {
        f"{found.model}, {kind}": Measurement.proportion(int(right.sum()), len(right)) for kind, right in kinds.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("models", nargs="+")
    asked = parser.parse_args()
    samples = store.load(asked.store)
    learnt, held = same_label(samples), samples.only("val")
    measurements: dict[str, Measurement] = {}
    for model in asked.models:
        measurements |= measured(model, held, learnt)
    results = Results.here(NAME, "%", measurements, spread="95% interval")
    save(results)
    print(markdown(results))


if __name__ == "__main__":
    main()
