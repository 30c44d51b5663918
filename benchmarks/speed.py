"""Times inference, imports and cold starts: `python -m benchmarks.speed [PYTHON]`.

PYTHON is the interpreter of an environment with only the core of mien, by default `.venv/bin/python` from `make demo`.
"""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.expression import OnnxClassifier
from mien.expression.preprocess import fitted, normalised
from mien.faces import detectors
from mien.faces.crop import crop_face, landmark_points
from mien.media import read_image

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "examples" / "astronaut.jpg"
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
    classifier = OnnxClassifier()
    info = classifier.info
    points = landmark_points(
        found.boxes[0], None if found.landmarks is None else found.landmarks[0], detector.mean_landmarks
    )
    crop_spec = info.crop_spec
    crop = crop_face(image, points, crop_spec)
    tensor = normalised(fitted([crop], info.input), info.input)
    frame = np.asarray(cv2.resize(image, (640, 480)), np.uint8)
    crowd = [crop] * 32
    batch = measure(lambda: classifier(crowd), repeats=100)
    return {
        "network alone, one face": measure(lambda: classifier._session.run(tensor), repeats=1000, warm_up=50),
        "a cropped face to its expression": measure(lambda: classifier([crop]), repeats=1000, warm_up=50),
        "the same in batches of 32, each": Measurement(
            median=batch.median / 32, lower=batch.lower / 32, upper=batch.upper / 32, repeats=batch.repeats
        ),
        "cutting a face out": measure(lambda: crop_face(image, points, crop_spec), repeats=300),
        f"detector {detector.name}, 640x480": measure(lambda: detector.detect(frame), repeats=40),
    }


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
    ratios = {
        "mien analyze / an empty Python process": figures["mien analyze, one photograph, whole process"].median
        / figures["an empty Python process"].median,
        "a cropped face to its expression / network alone": figures["a cropped face to its expression"].median
        / figures["network alone, one face"].median,
    }
    results = Results.here("speed", "ms", figures, ratios=ratios, packages=("dlib-bin", "pillow", "typer"))
    print(markdown(results))
    save(results)


if __name__ == "__main__":
    main()
