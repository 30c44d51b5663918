"""Times inference, imports and cold starts: `python -m benchmarks.speed [PYTHON]`.

PYTHON is the interpreter of an environment with only the core of mien, by default `.venv/bin/python` from `make demo`.
Run `make demo` before: the environment has the package as it was when it was last made.
"""

import functools
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.assets.manifest import DEFAULT, ENSEMBLES, CropSpec, default_model, shipped_models
from mien.expression import OnnxClassifier, load_classifier
from mien.expression.preprocess import fitted, normalised
from mien.faces import detectors
from mien.faces.crop import crop_face, landmark_points
from mien.media import read_image

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "examples" / "astronaut.jpg"
WHOLE, ALONE = "a cropped face to its expression", "networks alone, one face"
IMPORT = """
import time
start = time.perf_counter()
import mien
for name in mien.__all__:
    getattr(mien, name)
print(1000 * (time.perf_counter() - start))
"""


def inference() -> dict[str, Measurement]:
    """Milliseconds per face and per image, on one thread."""
    cv2.setNumThreads(1)
    image = read_image(PICTURE)
    detector = detectors.load()
    found = detector.detect(image)
    points = landmark_points(
        found.boxes[0], None if found.landmarks is None else found.landmarks[0], detector.mean_landmarks
    )
    frame = np.asarray(cv2.resize(image, (640, 480)), np.uint8)
    figures: dict[str, Measurement] = {}
    for name in (DEFAULT, *shipped_models("expression")):
        classifier = load_classifier(name)
        networks = [OnnxClassifier(member) for member in ENSEMBLES.get(name, (name,))]
        specs = classifier.crop_specs
        cropped = functools.partial(_cropped, image, points, specs)
        one, crowd = ([crops * count for crops in cropped()] for count in (1, 32))
        tensors = [
            normalised(fitted(_cropped(image, points, network.crop_specs)[0], network.info.input), network.info.input)
            for network in networks
        ]
        alone = functools.partial(_run, list(zip(networks, tensors, strict=True)))
        batch = measure(functools.partial(classifier, *crowd), repeats=100)
        figures |= {
            f"{name}: {ALONE}": measure(alone, repeats=500, warm_up=50),
            f"{name}: {WHOLE}": measure(functools.partial(classifier, *one), repeats=500, warm_up=50),
            f"{name}: the same in batches of 32, each": Measurement(
                batch.median / 32, batch.lower / 32, batch.upper / 32, batch.repeats
            ),
            f"{name}: cutting a face out": measure(cropped, repeats=300),
        }
    return figures | {f"detector {detector.name}, 640x480": measure(lambda: detector.detect(frame), repeats=40)}


def _cropped(
    image: NDArray[np.uint8], points: NDArray[np.float32], specs: Sequence[CropSpec]
) -> list[list[NDArray[np.uint8]]]:
    return [[crop_face(image, points, spec)] for spec in specs]


def _run(networks: Sequence[tuple[OnnxClassifier, NDArray[np.float32]]]) -> None:
    for network, tensor in networks:
        network._session.run(tensor)


def starting(python: str) -> dict[str, Measurement]:
    """Milliseconds of new processes."""

    def wall(*arguments: str) -> float:
        start = time.perf_counter()
        subprocess.run([python, *arguments], check=True, capture_output=True)
        return 1000 * (time.perf_counter() - start)

    def imported() -> float:
        done = subprocess.run([python, "-c", IMPORT], check=True, capture_output=True, text=True)
        return float(done.stdout)

    analyze = ("-m", "mien", "analyze", str(PICTURE))
    wall(*analyze)
    return {
        "import mien, all public names touched": Measurement.of([imported() for _ in range(15)]),
        "mien analyze, one photograph, whole process": Measurement.of([wall(*analyze) for _ in range(15)]),
        "an empty Python process": Measurement.of([wall("-c", "pass") for _ in range(15)]),
    }


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / ".venv" / "bin" / "python")
    figures = inference() | starting(python)
    whole, alone, single = (
        figures[f"{name}: {part}"].median
        for name, part in ((DEFAULT, WHOLE), (DEFAULT, ALONE), (default_model(), WHOLE))
    )
    ratios = {
        "mien analyze / an empty Python process": figures["mien analyze, one photograph, whole process"].median
        / figures["an empty Python process"].median,
        f"{DEFAULT}: {WHOLE} / {ALONE}": whole / alone,
        f"{DEFAULT} / {default_model()}, one face": whole / single,
    }
    results = Results.here("speed", "ms", figures, ratios=ratios, packages=("dlib-bin", "pillow", "typer"))
    print(markdown(results))
    save(results)


if __name__ == "__main__":
    main()
