"""What personalising gives: `python -m benchmarks.personalise --data fer.h5`; a store of FER2013's labels with val.

Five faces of each of seven emotions are given, ten times over; the model is then tested on other faces of the same
kind. The kinds are faces of PublicTest as they are; with a quarter of the light and noise of 8 of 255; blurred by a
Gaussian of 2 pixels; and drawn faces. Written to `benchmarks/results/personalise.json`, in percent with the 95%
interval of the mean over the draws (Student's t): the accuracy before, the change in accuracy of the model that the
command writes (none if it refuses), that with --force, and what it costs the general set with --force.

Of the dark faces, for comparison, what is possible in hindsight on the tested faces: with the best of six fixed filters
that brighten and smooth, and with heads that learn from as many dark faces as are tested, under the best penalty.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tests.drawn import draw_face

from benchmarks.results import Measurement, Results, save
from mien.assets.manifest import model_info
from mien.datasets import store
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.personalise.adapt import (
    STRENGTHS,
    Adaptation,
    Filter,
    Linear,
    Network,
    Seen,
    filters,
    general_correct,
    logits_of,
    moved_head,
)
from mien.personalise.general import shipped_general, spectrum_of, statistics_of
from mien.personalise.run import features_under, fit_seen, network_of

Images = NDArray[np.uint8]
EACH = 5  # faces of each emotion that are given
T = {10: 2.262, 5: 2.776, 3: 4.303}  # 97.5% quantile of Student's t for the mean of so many draws


def dark(image: Images, row: int) -> Images:
    """A quarter of the light, with Gaussian noise of 8 of 255."""
    noise = np.random.default_rng([0, row]).normal(0, 8, image.shape)
    return np.asarray(np.clip(np.rint(image * 0.25 + noise), 0, 255), np.uint8)


def blurred(image: Images, row: int) -> Images:
    """A Gaussian blur of 2 pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8)


KINDS: dict[str, Callable[[Images, int], Images]] = {
    "unshifted": lambda image, row: image,
    "a quarter of the light, noise": dark,
    "blur of 2 px": blurred,
}


class Faces:
    """Faces of one kind, and what the network computes of them under each filter, computed once."""

    def __init__(self, classifier: OnnxClassifier, images: Sequence[Images], labels: NDArray[np.str_]) -> None:
        self.classifier, self.labels = classifier, labels
        self.pixels = classifier.inputs(images)[0]
        self.statistics = statistics_of(self.pixels)
        self._known: dict[tuple[str, int], tuple[NDArray[np.float32], ...]] = {}

    def features(self, shape: Filter, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The features (N, F) of the faces at `rows` and of the mirrored ones under a filter."""
        missing = [row for row in rows.tolist() if (shape.name, row) not in self._known]
        if missing:
            pairs = zip(*features_under(self.classifier, self.pixels[missing], shape), strict=True)
            self._known |= {(shape.name, row): pair for row, pair in zip(missing, pairs, strict=True)}
        straight, mirrored = zip(*(self._known[shape.name, row] for row in rows.tolist()), strict=True)
        return np.stack(straight), np.stack(mirrored)

    def seen(self, rows: NDArray[np.int64], shapes: Sequence[Filter]) -> Seen:
        """The faces at `rows` under these filters, as `mien.personalise` sees them."""
        found = {shape.name: self.features(shape, rows) for shape in shapes}
        straight, mirrored = ({name: pair[place] for name, pair in found.items()} for place in (0, 1))
        return Seen(shapes, straight, mirrored, self.statistics[rows], self.labels[rows])


def mean_of(values: Sequence[float]) -> Measurement:
    """The mean of some percentages, with its interval."""
    middle = float(np.mean(values))
    reach = T[len(values)] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Measurement(median=middle, lower=middle - reach, upper=middle + reach, repeats=len(values))


def measured(faces: Faces, network: Network, held: int, draws: int) -> dict[str, Measurement]:
    """The figures of one kind."""
    head, old = network.heads[0]
    names = np.asarray(head.emotions)
    found: dict[str, list[float]] = {"before": [], "change": [], "change, forced": [], "general, forced": []}
    everyone = np.arange(len(faces.labels))
    tested = np.random.default_rng(1).permutation(everyone)[:held]  # the same in all draws, never given
    others = np.setdiff1d(everyone, tested)
    usual = general_correct(Adaptation(), head, old, network.general)
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        pools = [others[faces.labels[others] == name] for name in names]
        given = np.concatenate([rng.choice(pool, EACH, replace=False) for pool in pools])
        shapes = filters(spectrum_of(faces.pixels[given]), network.general.spectrum)
        done = fit_seen(faces.seen(given, shapes), network, "")
        used = [shapes[0], *([done.adaptation.filter[0]] if done.adaptation.filter else [])]
        seen = faces.seen(tested, used)
        everything = np.arange(len(tested))
        right = [
            100 * float((names[logits_of(each, seen, everything, head, old).argmax(axis=1)] == seen.labels).mean())
            for each in (Adaptation(), done.adaptation)
        ]
        found["before"].append(right[0])
        found["change"].append(right[1] - right[0] if done.helps else 0.0)
        found["change, forced"].append(right[1] - right[0])
        still = general_correct(done.adaptation, head, old, network.general)
        found["general, forced"].append(100 * float(still.mean() - usual.mean()))
        print(
            f"  draw {draw}: {done.adaptation.describe()}; helps {done.helps}; {right[0]:.1f} to {right[1]:.1f}",
            flush=True,
        )
    return {name: mean_of(values) for name, values in found.items()}


def bounds(faces: Faces, network: Network, held: int) -> dict[str, float]:
    """What is possible on the tested faces in hindsight: changes of the accuracy in percent."""
    head, old = network.heads[0]
    names = np.asarray(head.emotions)
    everyone = np.arange(len(faces.labels))
    tested = np.random.default_rng(1).permutation(everyone)[:held]
    others = np.setdiff1d(everyone, tested)

    def accuracy(heads: Linear, shape: Filter) -> float:
        found = heads(faces.features(shape, tested)[0]).argmax(axis=1)
        return 100 * float((names[found] == faces.labels[tested]).mean())

    plain = Filter("")
    before = accuracy(old, plain)
    lines = {sigma: cv2.getGaussianKernel(9, sigma) for sigma in (0.8, 1.3)}
    shapes = [
        Filter(f"light x{gain}, smoothing {sigma}", gain, np.asarray(line @ line.T, np.float32))
        for gain in (1, 2, 4)
        for sigma, line in lines.items()
    ]
    seen = faces.seen(others, [plain])
    heads = [moved_head(seen, "", np.arange(held), head, old, network, strength) for strength in STRENGTHS]
    return {
        "best of six filters in hindsight": max(accuracy(old, shape) for shape in shapes) - before,
        f"heads of {held} faces in hindsight": max(accuracy(each, plain) for each in heads if each) - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=10, choices=list(T))
    parser.add_argument("--kinds", nargs="+", help="only these kinds, of which nothing is saved")
    parser.add_argument("--held", type=int, default=600, help="faces to test on")
    arguments = parser.parse_args()
    classifier = OnnxClassifier(ClassifierOptions(model="mien-m", emotions=7))
    general = shipped_general(model_info("mien-m"))
    assert general is not None
    samples = store.load(arguments.data, "val")
    rows = np.random.default_rng(2).permutation(len(samples))[: 2 * arguments.held]
    labels = np.asarray(samples.classes)[samples.labels]
    network = network_of(classifier, samples.classes, general)
    found: dict[str, Measurement] = {}
    kinds = {
        kind: Faces(classifier, [change(samples.images[row], row) for row in rows.tolist()], labels[rows])
        for kind, change in KINDS.items()
    }
    emotions = np.resize(np.asarray(samples.classes), 2 * arguments.held)
    drawn = [draw_face(name, np.random.default_rng([3, row])) for row, name in enumerate(emotions.tolist())]
    kinds["drawn faces"] = Faces(classifier, drawn, emotions)
    for kind, faces in kinds.items():
        if arguments.kinds and not any(kind.startswith(each) for each in arguments.kinds):
            continue
        start = time.process_time()
        print(kind, flush=True)
        found |= {
            f"{kind}: {name}": each for name, each in measured(faces, network, arguments.held, arguments.draws).items()
        }
        if KINDS.get(kind) is dark:
            found |= {
                f"{kind}: {name}": Measurement.of([value])
                for name, value in bounds(faces, network, arguments.held).items()
            }
        print(f"  {time.process_time() - start:.0f} s of processor time", flush=True)
    for name, each in found.items():
        print(f"{name}: {each.median:.2f} ({each.lower:.2f} to {each.upper:.2f})")
    if arguments.kinds:
        return
    print(save(Results.here("personalise", "%", found, packages=["onnx"], spread="95% interval")))


if __name__ == "__main__":
    main()
