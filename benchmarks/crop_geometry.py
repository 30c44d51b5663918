"""Measures the accuracy lost by detection and cropping: `python -m benchmarks.crop_geometry STORE [DETECTOR ...]`.

The faces of PublicTest are padded to a larger canvas and enlarged (`mien.datasets.canvas`), detected, cropped and
classified; the same faces are also classified unchanged. Faces that the detector misses are counted and excluded from
both; only what it finds where the face was placed counts. The crops are aligned in three ways: by the landmark network,
as in an analysis, by the detector's own landmarks if it gives any, and by the box alone; and once more on canvases
rotated by 25 degrees, where the ways differ. STORE is built by `mien data build fer2013 --votes ...`.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from mien.datasets.canvas import BORDERS, Border, on_canvas, placed
from mien.evaluation import protocols_of
from mien.expression import OnnxClassifier
from mien.faces import detectors
from mien.faces.align import Aligner
from mien.results import Face

TURN: Final = 25.0
REFINED, OWN, BOXED = "through detector and crop", "aligned by the detector's landmarks", "cropped by the box alone"
WAYS: Final = (REFINED, OWN, BOXED)
_SCALE: Final = 4


@dataclass(frozen=True)
class Found:
    """The crops of faces on canvases.

    Attributes:
        rows: (N,) bool: the face was found.
        crops: (N, S, S), or (N, S, S, 3) of a network for RGB, by each way of aligning, black for a face that was not
            found.
    """

    rows: NDArray[np.bool_]
    crops: dict[str, NDArray[np.uint8]]


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
    """Puts faces on canvases, rotated in alternating directions, and crops those that are found where they are."""
    aligner = Aligner(detector, [crop_spec])
    rows: list[bool] = []
    crops: dict[str, list[NDArray[np.uint8] | None]] = {way: [] for way in WAYS}
    for number, face in enumerate(faces):
        canvas = on_canvas(face, _SCALE, border)
        if degrees:
            canvas = turned(canvas, degrees if number % 2 else -degrees)
        seen = aligner.found_in(canvas, placed(canvas))
        rows.append(seen is not None)
        for way, each in crops.items():
            each.append(None if seen is None else _crop(canvas, seen, way, aligner))
    return Found(np.asarray(rows, bool), {way: _stacked(each) for way, each in crops.items()})


def _stacked(crops: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8]:
    """Crops as one array, grey or RGB as they are, black where there is none; at least one is there."""
    black = np.zeros_like(next(crop for crop in crops if crop is not None))
    return np.stack([black if crop is None else crop for crop in crops])


def _crop(canvas: NDArray[np.uint8], face: Face, way: str, aligner: Aligner) -> NDArray[np.uint8]:
    """The crop of a face, aligned in one of the `WAYS`."""
    if way == REFINED:
        (face,) = aligner.refined(canvas, [face])
    elif way == BOXED:
        face = replace(face, landmarks=None)
    ((crop,),) = aligner.crop(canvas, [face])
    return crop


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
            ways = {"unchanged": samples.images} | found.crops
            if np.array_equal(found.crops[OWN], found.crops[BOXED]):  # a detector without landmarks
                del ways[OWN]
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
