"""Detectors on the same labelled pictures: `python -m benchmarks.detectors [NAME ...]`, by default all.

Recall and precision at an IoU of 0.4 by size of the face, and the time of a 640x480 picture on one thread, on the valid
split of ../shared/data/faces. Boxes to ignore count neither way. The labels' boxes are YuNet's and most faces were
accepted by it: its own figures flatter it. Each detector runs with its defaults, in a process of its own; MIEN_OPENCV4
names a folder with OpenCV 4 for those that need it. Weights come from ../shared/weights, else from the cache.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.labelled_faces import match, pictures
from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.errors import UnsupportedError, WeightsError
from mien.faces import detectors
from mien.media import read_picture

ROOT: Final = Path(__file__).parent.parent
FACES: Final = ROOT.parent / "shared" / "data" / "faces"
WEIGHTS: Final = {"yunet": ROOT.parent / "shared" / "weights" / "yunet_n_640_640.onnx"}
# Sides (root of the area) in pixels; faces under 10 are left out.
SIZES: Final = {"10-20 px": (10, 20), "20-40 px": (20, 40), "40-60 px": (40, 60), "60+ px": (60, 10_000)}
OVERALL: Final = "10+ px"


@dataclass
class Counts:
    """Sides of faces and of detections, and which of them have a partner.

    A detection on a box to ignore, or on a face under 10 px, is in neither list.
    """

    faces: list[float] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    detections: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)


def sides(boxes: np.ndarray[Any, Any]) -> list[float]:
    """Roots of the areas of boxes (N, 4)."""
    return np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)).tolist()  # type: ignore[no-any-return]


def counted(detector: detectors.Detector) -> Counts:
    """Every labelled face and every detection of the valid split."""
    counts = Counts()
    for picture in pictures(FACES, "valid"):
        found = detector.detect(picture.image)
        matches = match(found, picture)
        counts.faces += sides(picture.boxes)
        counts.found += np.isin(np.arange(len(picture.boxes)), matches.face).tolist()
        judged = (matches.face >= 0) | matches.false
        counts.detections += sides(found.boxes[judged])
        counts.right += (matches.face[judged] >= 0).tolist()
    return counts


def proportions(counts: Counts) -> dict[str, Measurement]:
    """Recall and precision by size; where there was nothing to judge, no figure."""
    figures = {}
    for title, side, hit in (("recall", counts.faces, counts.found), ("precision", counts.detections, counts.right)):
        size, hits = np.array(side), np.array(hit, bool)
        for name, (low, high) in {**SIZES, OVERALL: (10, 10_000)}.items():
            chosen = hits[(low <= size) & (size < high)]
            if len(chosen):
                figures[f"{title}, {name}"] = Measurement.proportion(int(chosen.sum()), len(chosen))
    return figures


def measured(name: str) -> dict[str, Any]:
    """All figures of one detector, as plain types."""
    cv2.setNumThreads(1)
    given = WEIGHTS.get(name)
    detector = detectors.load(name, detectors.DetectorOptions(weights=given if given and given.exists() else None))
    photograph = cv2.resize(read_picture(ROOT / "examples" / "astronaut.jpg"), (640, 480))
    picture = np.asarray(photograph, np.uint8)
    time = measure(lambda: detector.detect(picture), repeats=40)
    quality = {key: vars(value) for key, value in proportions(counted(detector)).items()}
    return {"opencv": cv2.__version__, "time": vars(time), "quality": quality}


def in_its_own_process(name: str) -> dict[str, Any] | None:
    """`measured`, with OpenCV 4 if that is what it takes; None, and a word why, if it cannot run."""
    path = [os.environ.get("PYTHONPATH", "")]
    reason = ""
    for first in ("", os.environ.get("MIEN_OPENCV4", "")):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [first, *path]))}
        command = [sys.executable, "-m", "benchmarks.detectors", "--one", name]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if "reason" not in answer:
            return answer
        reason = answer["reason"]
    print(f"{name} is left out: {reason}", file=sys.stderr)
    return None


def one(name: str) -> None:
    try:
        answer = measured(name)
    except (UnsupportedError, WeightsError) as error:
        answer = {"reason": str(error)}
    print(json.dumps(answer))


def main() -> None:
    quality: dict[str, Measurement] = {}
    time: dict[str, Measurement] = {}
    for name in sys.argv[1:] or detectors.names():
        answer = in_its_own_process(name)
        if answer:
            title = f"{name} (OpenCV {answer['opencv']})"
            time[title] = Measurement(**answer["time"])
            quality |= {f"{title}: {key}": Measurement(**value) for key, value in answer["quality"].items()}
    packages = ("dlib-bin",)
    for results in (
        Results.here("detectors", "%", quality, packages=packages, spread="95% interval"),
        Results.here("detectors_ms", "ms a picture of 640x480", time, packages=packages),
    ):
        print(markdown(results))
        save(results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        main()
