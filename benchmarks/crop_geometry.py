"""Measures the accuracy lost by detection and cropping: `python -m benchmarks.crop_geometry STORE [DETECTOR ...]`.

The faces of PublicTest are padded to a larger canvas and enlarged (`mien.datasets.canvas`), detected, cropped and
classified; the same faces are also classified unchanged. Faces that the detector misses are counted and excluded from
both. A detector with landmarks is measured twice: with crops aligned by the landmarks, as in an analysis, and by the
box alone; and once more on canvases rotated by 25 degrees, where the two differ. STORE is built by
`mien data build fer2013 --votes ...`.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.detectors import WEIGHTS
from benchmarks.results import Measurement, Results, markdown, save
from mien.assets.manifest import CropSpec
from mien.datasets import Samples, store
from mien.datasets.canvas import BORDERS, Border, on_canvas
from mien.evaluation import protocols_of
from mien.expression import OnnxClassifier
from mien.faces import detectors
from mien.faces.crop import crop_face, landmark_points

TURN: Final = 25.0
_SCALE: Final = 4


@dataclass(frozen=True)
class Found:
    """The crops of faces on canvases.

    Attributes:
        rows: (N,) bool: the face was found.
        aligned: (N, S, S, 3) crops by landmarks if the detector gives them; black for a face that was not found.
        boxed: (N, S, S, 3) crops by the box alone.
    """

    rows: NDArray[np.bool_]
    aligned: NDArray[np.uint8]
    boxed: NDArray[np.uint8]


def turned(canvas: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The canvas rotated about its centre."""
    side = len(canvas)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(canvas, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def find(
    faces: Iterable[NDArray[np.uint8]],
    detector: detectors.Detector,
    crop_spec: CropSpec,
    border: Border,
    degrees: float,
) -> Found:
    """Puts faces on canvases, rotated in alternating directions, and crops the largest face found on each."""
    black = np.zeros((crop_spec.size, crop_spec.size, 3), np.uint8)
    rows, aligned, boxed = [], [], []
    for number, face in enumerate(faces):
        canvas = on_canvas(face, _SCALE, border)
        if degrees:
            canvas = turned(canvas, degrees if number % 2 else -degrees)
        seen = detector.detect(canvas)
        rows.append(len(seen) > 0)
        by_box = by_landmarks = black
        if len(seen):
            by_box = crop_face(canvas, landmark_points(seen.boxes[0], None, detector.mean_landmarks), crop_spec)
            by_landmarks = by_box if seen.landmarks is None else crop_face(canvas, seen.landmarks[0], crop_spec)
        aligned.append(by_landmarks)
        boxed.append(by_box)
    return Found(np.asarray(rows, bool), np.stack(aligned), np.stack(boxed))


def measured(name: str, samples: Samples) -> dict[str, Measurement]:
    """All figures of one detector, in percent and points."""
    weights = WEIGHTS.get(name)
    detector = detectors.load(detectors.DetectorOptions(name, weights=weights))
    info = OnnxClassifier().info
    crop_spec = info.crop_spec
    figures: dict[str, Measurement] = {}
    for border, degrees in [*((border, 0.0) for border in BORDERS), ("reflect", TURN)]:
        title = border if not degrees else f"{border}, turned {degrees:.0f}"
        found = find(track(samples.images, description=f"{name}, {title}"), detector, crop_spec, border, degrees)
        figures[f"{title}: faces found"] = Measurement.proportion(int(found.rows.sum()), len(found.rows))
        for protocol in protocols_of(samples):
            if protocol.name == "argmax":
                continue
            rows = found.rows & protocol.kept
            classifier = OnnxClassifier().with_classes(protocol.classes)
            truth = protocol.labels[rows]
            ways = {"unchanged": samples.images, "through detector and crop": found.aligned}
            if not np.array_equal(found.aligned, found.boxed):
                ways["cropped by the box alone"] = found.boxed
            for way, crops in ways.items():
                right = classifier.predict_proba(crops[rows]).argmax(axis=1) == truth
                figures[f"{title}: {protocol.title}, {way}"] = Measurement.proportion(int(right.sum()), len(right))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("detectors", nargs="*", default=[detectors.DEFAULT])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    samples = store.load(given.store, "val")
    for name in given.detectors:
        figures = measured(name, samples)
        results = Results.here(f"crop_geometry_{name}", "%", figures, packages=("dlib-bin",), spread="95% interval")
        print(markdown(results))
        save(results)


if __name__ == "__main__":
    main()
