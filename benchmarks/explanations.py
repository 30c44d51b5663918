"""Measures whether the maps of `mien explain` are faithful: `python -m benchmarks.explanations STORE`.

For 200 faces of PublicTest, the parts that a map marks are deleted, and the area under the curve of the class's
probability is compared with that of random orders (`mien.explain.faithfulness`). For some of the faces, the maps are
made again with shuffled weights (Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018): maps of the network
have nothing in common with them, maps of the image alone stay the same. STORE is built by `mien data build`.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.results import Measurement, Results, markdown, save
from mien.datasets import store
from mien.evaluation.intervals import mean_estimate
from mien.explain.attribution import TITLES, Maps, Question, attributions, inputs_of
from mien.explain.faces import randomised
from mien.explain.faithfulness import deletion
from mien.explain.networks import load
from mien.expression import ClassifierOptions
from mien.expression.observation import observed

FACES: Final = 200
SHUFFLED: Final = 40
ORDERS: Final = 3  # random orders of each face


def ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The ranks of the values, flat."""
    return np.argsort(np.argsort(values.ravel(), kind="stable"), kind="stable").astype(np.float64)


def rank_correlation(first: Maps, second: Maps) -> float:
    """Spearman's correlation of two maps of the same image."""
    (one,), (other,) = first, second
    assert one is not None
    assert other is not None
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def mean_of(values: list[float]) -> Measurement:
    """The mean with its 95% interval."""
    found = mean_estimate(np.array(values))
    low, high = min(found.low, found.value), max(found.high, found.value)
    return Measurement(median=found.value, lower=low, upper=high, repeats=len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="mien-m")
    parser.add_argument("--faces", type=int, default=FACES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    samples = store.load(given.store, "val")
    rows = np.random.default_rng(0).choice(len(samples), given.faces, replace=False)
    model = load(ClassifierOptions(model=given.model))
    shuffled = randomised(model)
    head = model.classifier.head.emotions
    areas: dict[str, list[float]] = {"random order": []}
    alike: dict[str, list[float]] = {}
    for number, image in enumerate(track(samples.images[rows], description=given.model)):
        face = inputs_of(model, observed(image))
        with torch.no_grad():
            wanted = int(model.probabilities(model.forward(*face.arrays))[0].argmax())
        question = Question(head.index(model.classifier.emotions[wanted]))
        maps = attributions(model, face, question)
        found = deletion(model, face, maps, wanted, seed=number, orders=ORDERS)
        areas["random order"].append(found.random_area)
        for name, area in found.areas.items():
            areas.setdefault(TITLES[name], []).append(area)
            areas.setdefault(f"{TITLES[name]}, below the random order", []).append(found.random_area - area)
        if number < SHUFFLED:
            for name, each in attributions(shuffled, face, question).items():
                alike.setdefault(TITLES[name], []).append(rank_correlation(maps[name], each))
    for name, unit, values in (
        ("explanations", "area under the deletion curve, mean", areas),
        ("explanations_shuffled", "rank correlation with the map of shuffled weights, mean", alike),
    ):
        measured = {key: mean_of(each) for key, each in values.items()}
        results = Results.here(name, unit, measured, packages=("torch", "captum"), spread="95% interval")
        print(markdown(results))
        if given.faces == FACES:
            save(results)


if __name__ == "__main__":
    main()
