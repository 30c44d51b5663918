"""Writes improved labels of labelled images into a new folder; the archives are linked, not copied.

    python -m scripts.detection_labels DATA OUT --landmarks FILE.npz
    python -m scripts.detection_labels DATA OUT --mistakes [--weights own.onnx]

`--landmarks` replaces the landmarks of faces by those of a denser set (../shared/data/landmarks): 68 points in the iBUG
order, from which the five are made (eye: mean of its six points; nose tip; mouth corners). Doubtful faces, and faces
whose landmarks people set, keep theirs. `--mistakes` searches the training images with a detector and adds the boxes of
its false alarms and of the faces that it misses, so that training shows them more often. Both may be given.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from mien.datasets import face_images
from mien.evaluation.detection import match, sides
from mien.faces import detectors
from mien.faces.detectors import Detector

SMALLEST = 10.0  # sides of faces and false alarms that count as mistakes, pixels
RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH = slice(36, 42), slice(42, 48), 30, 48, 54  # iBUG, from 0


@dataclass
class Counts:
    """What was changed."""

    landmarks: int = 0
    alarms: int = 0
    missed: int = 0


def five_points(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Five landmarks (N, 5, 2) made of 68 points (N, 68 or more, 2) in the iBUG order."""
    eyes = [points[:, part].mean(axis=1) for part in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, *(points[:, each] for each in (NOSE, RIGHT_MOUTH, LEFT_MOUTH))], axis=1).astype(float)


def improve_landmarks(rows: list[dict[str, Any]], file: Path, counts: Counts) -> None:
    """Replaces landmarks by those of `file`, whose points count from the centre of the first pixel, in 1/16 pixel."""
    with np.load(file) as arrays:
        zips, names = arrays["zip_names"].astype(str)[arrays["zip"]], arrays["name"].astype(str)
        faces, ok = arrays["face"], arrays["ok"].astype(bool)
        points = five_points(arrays["points"][:, :68].astype(float) / 16 + 0.5)
    by_face = {
        (str(zips[i]), str(names[i]), int(faces[i])): points[i].round(2).tolist() for i in np.flatnonzero(ok).tolist()
    }
    for row in rows:
        for number, face in enumerate(row["faces"]):
            better = by_face.get((row["zip"], row["file"], number))
            if better and face.get("origin") != "human":
                face["landmarks"], face["origin"] = better, "mesh"
                face.pop("lm_diff", None)
                counts.landmarks += 1


def add_mistakes(rows: list[dict[str, Any]], folder: Path, detector: Detector, score: float, counts: Counts) -> None:
    """Sets `mistakes` of the training images: false alarms and missed faces at that score."""
    training = [row for row in rows if row["split"] == "train"]
    images: Iterable[face_images.FaceImage] = face_images.read(folder, "train")
    for row, image in zip(training, track(images, total=len(training), console=Console(stderr=True)), strict=True):
        found = detector.detect(image.image, min_score=score)
        matches = match(found, image)
        alarms = found.boxes[matches.false_alarm & (sides(found.boxes) >= SMALLEST)]
        seen = np.isin(np.arange(len(image.boxes)), matches.face)
        missed = image.boxes[~seen & (sides(image.boxes) >= SMALLEST)]
        counts.alarms += len(alarms)
        counts.missed += len(missed)
        row["mistakes"] = np.concatenate([alarms, missed]).round(1).tolist()


def link(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`: a link, or a copy where the system has no links."""
    try:
        os.symlink(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--landmarks", type=Path, metavar="FILE")
    parser.add_argument(
        "--mistakes", action="store_true", help="search the training images for false alarms and misses"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the detector; by default the shipped ones")
    parser.add_argument("--min-score", type=float, default=0.4, help="of the detections that count")
    given = parser.parse_args()
    lines = (given.data / face_images.LABELS).read_text(encoding="utf-8").splitlines()
    rows, counts = [json.loads(line) for line in lines], Counts()
    if given.landmarks:
        improve_landmarks(rows, given.landmarks, counts)
    if given.mistakes:
        detector = detectors.load(detectors.DetectorOptions("mien", weights=given.weights))
        add_mistakes(rows, given.data, detector, given.min_score, counts)
    given.out.mkdir(parents=True)
    for name in sorted({row["zip"] for row in rows}):
        link(given.data / name, given.out / name)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (given.out / face_images.LABELS).write_text(text, encoding="utf-8")
    print(f"{counts.landmarks:,} faces with better landmarks, {counts.alarms:,} false alarms, {counts.missed:,} missed")


if __name__ == "__main__":
    main()
