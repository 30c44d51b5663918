"""What finding and cropping a face costs in accuracy: `python -m benchmarks.crop_geometry STORE [DETECTOR]`.

PublicTest's faces are padded into a larger canvas and enlarged (`evaluation.canvas`), go through the detector and the
crop function, and are read; the same faces are read as they are. Faces that the detector misses are counted and left
out of both. STORE is built by `mien data build fer2013 --votes ...`.
"""

import sys
from pathlib import Path

from rich.progress import track

from benchmarks.results import Measurement, Results, markdown, save
from mien.datasets import store
from mien.evaluation import protocols_of
from mien.evaluation.canvas import BORDERS, find_and_crop
from mien.expression import Classifier
from mien.faces import detectors
from mien.faces.crop import Template


def _figure(value: float) -> Measurement:
    return Measurement(median=value, lower=value, upper=value, repeats=1)


def main() -> None:
    samples = store.read(Path(sys.argv[1]), "val")
    name = sys.argv[2] if len(sys.argv) > 2 else detectors.DEFAULT
    detector = detectors.load(name)
    protocols = [protocol for protocol in protocols_of(samples) if protocol.name != "argmax"]
    entry = Classifier().entry
    template = Template(entry.input.size, entry.template)
    figures: dict[str, Measurement] = {}
    for border in BORDERS:
        crops, found = find_and_crop(track(samples.images, description=border), detector, template, border)
        figures[f"{border}: faces found"] = _figure(100 * float(found.mean()))
        for protocol in protocols:
            rows = found & protocol.kept
            classifier = Classifier(emotions=protocol.classes)
            truth = protocol.labels[rows]
            raw = (classifier.probabilities(samples.images[rows]).argmax(axis=1) == truth).mean()
            through = (classifier.probabilities(crops[rows]).argmax(axis=1) == truth).mean()
            figures[f"{border}: {protocol.title}, as they are"] = _figure(100 * float(raw))
            figures[f"{border}: {protocol.title}, through {name} and the crop"] = _figure(100 * float(through))
            figures[f"{border}: {protocol.title}, lost (points)"] = _figure(100 * float(raw - through))
    results = Results.here(f"crop_geometry_{name}", "%", figures, packages=("dlib-bin",))
    print(markdown(results))
    save(results)


if __name__ == "__main__":
    main()
