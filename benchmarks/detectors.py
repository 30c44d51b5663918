"""Compares detectors on the same labelled images: `python -m benchmarks.detectors [NAME ...]`, by default all.

Measured on the valid split of ../shared/data/faces and on copies of it (shrunk, darkened, rotated, masked): recall and
precision at an IoU of 0.4 by size of the face, and errors of the landmarks; also the time for a 640x480 image and for a
photograph of 12 megapixels on one thread. Natural photographs of both data sets are measured apart, with the goals that
detectors are compared with (benchmarks/photographs.py; `--photographs` measures only these). Boxes to ignore are not
counted. YuNet made the boxes of the labels and accepted most faces, so the figures favour it, and `mien`, which was
trained on its labels. Each detector runs with its default options in a process of its own; MIEN_OPENCV4 names a folder
with OpenCV 4 for those that need it. Weights are read from ../shared/weights, or from the cache; `--weights NAME=FILE`
replaces them. If some detectors are named, the saved figures of the others stay as they were measured on this machine
before.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks import photographs
from benchmarks.face_copies import COPIES
from benchmarks.results import FOLDER, Machine, Measurement, Results, load, markdown, measure, save
from mien.datasets import face_images
from mien.errors import UnsupportedError, WeightsError
from mien.evaluation.detection import Tally, evaluate_detector
from mien.faces import detectors
from mien.media import read_image

ROOT: Final = Path(__file__).parent.parent
FACES: Final = ROOT.parent / "shared" / "data" / "faces"
WEIGHTS: Final = {"yunet": ROOT.parent / "shared" / "weights" / "yunet_n_640_640.onnx"}
# Sides (root of the area) in pixels; smaller faces are excluded.
SIZES: Final = {"10-20 px": (10, 20), "20-40 px": (20, 40), "40+ px": (40, 10_000)}
# The origin of the landmarks according to the labels, and the smallest faces that count.
POINTS: Final = {"Helen's human points": ("human", 10), "teacher's points, 40+ px": ("teacher", 40)}
UNCHANGED: Final = "unchanged"
ANY_ROTATION: Final = " --any-rotation"  # follows the name of a detector that searches in all four orientations
# Lowest score of the detections, so that the ranking does not depend on the operating points.
LOWEST: Final = 0.1
PRECISION: Final = 0.97
AT_PRECISION: Final = f"recall at {PRECISION:.0%} precision"


def quality(detector: detectors.Detector, copy: str) -> dict[str, Measurement]:
    """Recall and precision by size, in percent, on one kind of copy, for sizes with at least ten faces."""
    tally = evaluate_detector(detector, map(COPIES[copy], face_images.read(FACES, "valid")), min_score=LOWEST)
    figures = {}
    for title, counted in (("recall", tally.recall), ("precision", tally.precision)):
        for size, (low, high) in SIZES.items():
            hits, trials = counted(low, high)
            if trials >= 10:
                figures[f"{copy}: {title}, {size}"] = Measurement.proportion(hits, trials)
    for size, (low, high) in SIZES.items():
        hits, trials = tally.recall_at(PRECISION, low, high)
        if trials >= 10:
            figures[f"{copy}: {AT_PRECISION}, {size}"] = Measurement.proportion(hits, trials)
    if copy == UNCHANGED:
        figures |= landmarks(tally)
    return figures


def landmarks(tally: Tally) -> dict[str, Measurement]:
    """Mean error of the landmarks in percent of the eye distance, with its 95% interval (bootstrap)."""
    figures = {}
    for name, (origin, low) in POINTS.items():
        errors = 100 * tally.landmark_errors(low, origin=origin)
        if len(errors) >= 10:
            rng = np.random.default_rng(0)
            means = errors[rng.integers(0, len(errors), (2000, len(errors)))].mean(axis=1)
            low_end, high_end = np.quantile(means, [0.025, 0.975]).tolist()
            figures[f"landmarks: {name}"] = Measurement(float(errors.mean()), low_end, high_end, len(errors))
    return figures


def timed(detector: detectors.Detector) -> dict[str, Measurement]:
    """Milliseconds of images of several sizes: the astronaut's portrait, enlarged."""
    portrait = read_image(ROOT / "examples" / "astronaut.jpg")
    figures = {}
    for view, part in (("", portrait), (", close-up", portrait[20:270, 90:340])):
        for width, height in ((640, 480), (4000, 3000)):
            image = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
            figures[f"{width}x{height}{view}"] = measure(functools.partial(detector.detect, image), repeats=40)
    return figures


@dataclass(frozen=True)
class Task:
    """What to measure; the options of the command line.

    Attributes:
        photographs: Only the natural photographs.
        time: Only the times.
        cache: A folder that keeps the detections on them.
        sheet: A folder for the contact sheets of the false alarms on them.
    """

    photographs: bool = False
    time: bool = False
    cache: Path | None = None
    sheet: Path | None = None


def measured(name: str, weights: Path | None, task: Task) -> dict[str, Any]:
    """All figures of one detector, as plain types."""
    cv2.setNumThreads(1)
    plain = name.removesuffix(ANY_ROTATION)
    given = weights or WEIGHTS.get(plain)
    given = given if given and given.exists() else None
    options = detectors.DetectorOptions(plain, weights=given, any_rotation=name.endswith(ANY_ROTATION))
    if task.time:
        times = {key: vars(value) for key, value in timed(photographs.loaded(options)).items()}
        return {"opencv": cv2.__version__, "photographs": {}, "quality": {}, "time": times}
    images = photographs.photographs()
    found = photographs.search(options, images, task.cache)
    if task.sheet:
        file = task.sheet / f"{name}.png"
        print(f"{photographs.sheet(images, found, file)} false alarms of {name}: {file}", file=sys.stderr)
    parts = {"photographs": photographs.figures(images, found), "quality": {}, "time": {}}
    if not task.photographs:
        detector = photographs.loaded(options)
        for copy in COPIES:
            parts["quality"] |= quality(detector, copy)
        parts["time"] = timed(detector)
    values = {part: {key: vars(value) for key, value in figures.items()} for part, figures in parts.items()}
    return {"opencv": cv2.__version__, **values}


def in_its_own_process(name: str, weights: Path | None, arguments: Sequence[str]) -> dict[str, Any] | None:
    """The figures of a detector, with OpenCV 4 if it needs that; None, with a message, if it cannot run."""
    path = [os.environ.get("PYTHONPATH", "")]
    reason = ""
    for first in ("", os.environ.get("MIEN_OPENCV4", "")):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [first, *path]))}
        command = [sys.executable, "-m", "benchmarks.detectors", "--one", name, *arguments]
        command += [f"--weights={name}={weights}"] if weights else []
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if "reason" not in answer:
            return answer
        reason = answer["reason"]
    print(f"{name} skipped: {reason}", file=sys.stderr)
    return None


def one(name: str, weights: Path | None, task: Task) -> None:
    try:
        answer = measured(name, weights, task)
    except (UnsupportedError, WeightsError) as error:
        answer = {"reason": str(error)}
    print(json.dumps(answer))


def kept(results: Results) -> Results:
    """The results, and those of other detectors that were saved on this machine before."""
    path = FOLDER / f"{results.name}.json"
    before = load(path) if path.exists() else None
    if before is None or before.machine != Machine.here():
        return results
    titles = {_title(key) for key in results.measurements}
    others = {key: value for key, value in before.measurements.items() if _title(key) not in titles}
    return replace(results, measurements=dict(sorted((others | results.measurements).items(), key=_order)))


def _title(key: str) -> str:
    """The detector of a figure."""
    return key.partition(":")[0]


def _order(figure: tuple[str, Measurement]) -> str:
    """Sorts the figures by detector; the sort keeps the order within each."""
    return _title(figure[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="detectors; by default all")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--photographs", action="store_true", help="measure only the natural photographs")
    parser.add_argument("--time", action="store_true", help="measure only the times")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep the detections on the natural photographs")
    parser.add_argument("--sheet", type=Path, metavar="FOLDER", help="write contact sheets of the false alarms on them")
    parser.add_argument("--no-save", action="store_true", help="print the figures without saving them")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    weights = {name: Path(file) for name, _, file in (each.partition("=") for each in given.weights)}
    task = Task(given.photographs, given.time, given.cache, given.sheet)
    if given.one:
        one(given.one, next(iter(weights.values()), None), task)
        return
    arguments = [f"--{key}" for key in ("photographs", "time") if getattr(task, key)]
    arguments += [f"--{key}={path.resolve()}" for key in ("cache", "sheet") if (path := getattr(task, key))]
    parts: dict[str, dict[str, Measurement]] = {"quality": {}, "time": {}, "photographs": {}}
    natural: dict[str, dict[str, Measurement]] = {}
    every = [*(name for name in detectors.names() if name != "whole-image"), f"mien{ANY_ROTATION}"]
    for name in given.names or every:
        answer = in_its_own_process(name, weights.get(name.removesuffix(ANY_ROTATION)), arguments)
        if answer:
            title = f"{name} (OpenCV {answer['opencv']})"
            for part, figures in parts.items():
                figures |= {f"{title}: {key}": Measurement(**value) for key, value in answer[part].items()}
            natural[title] = {key: Measurement(**value) for key, value in answer["photographs"].items()}
    packages = ("dlib-bin",)
    made = []
    if parts["quality"]:
        made.append(Results.here("detectors", "%", parts["quality"], packages=packages, spread="95% interval"))
    if parts["time"]:
        made.append(Results.here("detectors_ms", "ms", parts["time"], packages=packages))
    if parts["photographs"]:
        name = "detectors_photographs"
        made.append(Results.here(name, "%", parts["photographs"], packages=packages, spread="95% interval"))
    for results in map(kept, made) if given.names else made:
        print(markdown(results))
        if not given.no_save:
            save(results)
    if parts["photographs"]:
        print(photographs.goals(natural))


if __name__ == "__main__":
    main()
