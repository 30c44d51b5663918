"""Images that show no face, and images of low quality.

Whether an image of a data set shows a face is asked in three steps, cheapest first: the landmark network, once on the
whole image; where it is not sure, the detector on a small canvas; where that finds none, the detector again with the
image turned. An image is reported if all of them fail, and the classifier, if it knows what is no face, agrees: faces
that are cut, covered or turned away are hard for the others.

Quality is measured on grey levels at 48x48 pixels, so an enlarged small image is as blurred as it looks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.curate.copies import grey
from mien.datasets import Samples
from mien.datasets.canvas import on_canvas, placed, rgb
from mien.faces.align import Aligner
from mien.faces.boxes import iou
from mien.faces.detectors import DEFAULT, DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.faces.landmarks.mien import load as load_landmarks
from mien.progress import Progress, unseen

SURE: Final = 0.94  # face score of the landmark network from which an image shows a face
UNKNOWN: Final = 0.6  # the same if no classifier is asked as well
NO_FACE: Final = 0.2  # least probability of `not_a_face` of an image that shows none
CERTAIN: Final = 0.5  # the same from which the detector is asked although the landmark network is sure
FOUND: Final = 0.3  # score of the detector from which it has found a face
OVERLAP: Final = 0.2  # IoU of that face with the image
_CANVAS: Final = 144  # side of the canvas in pixels; the image is half as wide
_BATCH: Final = 64
_SIDE: Final = 48

# Limits of quality; the first three in grey levels of 0-255.
DARK: Final = 20.0  # mean
BRIGHT: Final = 235.0  # mean
FLAT: Final = 12.0  # standard deviation
BLURRED: Final = 0.31  # 98th percentile of the Laplacian over the range of the grey levels


@dataclass(frozen=True, slots=True, eq=False)
class Faceness:
    """How far images show faces.

    Attributes:
        landmarks: (N,) face score of the landmark network, 0-1.
        detector: (N,) score of the detector, 0-1; nan if it was not asked.
    """

    landmarks: NDArray[np.float64]
    detector: NDArray[np.float64]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """The images (N,) that show no face."""
        return np.asarray(self.detector < FOUND)  # nan is not below

    @property
    def suspicion(self) -> NDArray[np.float64]:
        """How sure it is that an image shows none (N,), 0-1."""
        return 1 - (self.landmarks + np.nan_to_num(self.detector, nan=1.0)) / 2


def faceness(samples: Samples, not_a_face: NDArray[np.floating] | None, progress: Progress = unseen) -> Faceness:
    """Asks whether images show faces.

    Args:
        samples: The images.
        not_a_face: (N,) what a classifier says; None if it does not know that class.
        progress: Called with the number of images seen so far and their number.

    Raises:
        WeightsError: The weights of the networks are missing or damaged.
    """
    landmarker = load_landmarks(LandmarkOptions(), most=1)
    scores = np.zeros(len(samples))
    sure = UNKNOWN if not_a_face is None else SURE
    doubted = np.ones(len(samples), bool) if not_a_face is None else np.asarray(not_a_face > NO_FACE)
    certain = np.zeros(len(samples), bool) if not_a_face is None else np.asarray(not_a_face > CERTAIN)
    detector = np.full(len(samples), np.nan)
    upright, turned = Aligner(DEFAULT), Aligner(DetectorOptions(any_rotation=True))
    for start in range(0, len(samples), _BATCH):
        batch = samples.images[start : start + _BATCH]
        scores[start : start + _BATCH] = landmarker.face_scores([rgb(image) for image in batch])
        for row in range(start, start + len(batch)):
            if (scores[row] < sure and doubted[row]) or certain[row]:
                found = _detected(upright, samples.images[row])
                detector[row] = found if found >= FOUND else max(found, _detected(turned, samples.images[row]))
        progress(start + len(batch), len(samples))
    return Faceness(scores, detector)


def _detected(aligner: Aligner, image: NDArray[np.uint8]) -> float:
    """The score of the face that the detector finds in an image, 0 without one."""
    canvas = on_canvas(image, _CANVAS / (2 * max(image.shape[:2])))
    faces = aligner.find(canvas, min_score=FOUND / 3)
    if not faces:
        return 0.0
    overlaps = iou(np.stack([face.box for face in faces]), placed(canvas)[None])[:, 0]
    return max((face.score for face, overlap in zip(faces, overlaps, strict=True) if overlap >= OVERLAP), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """The quality of images.

    Attributes:
        blank: (N,) bool: all pixels are the same.
        trouble: By row of an image of low quality, the reason in words and how bad it is, 0-1.
    """

    blank: NDArray[np.bool_]
    trouble: dict[int, tuple[str, float]]


def quality(samples: Samples) -> Quality:
    """Measures light, contrast and sharpness."""
    import cv2

    blank = np.array([bool((image == image.reshape(-1, *image.shape[2:])[0]).all()) for image in samples.images], bool)
    trouble: dict[int, tuple[str, float]] = {}
    for row in np.flatnonzero(~blank).tolist():
        pixels = grey(samples.images[row], _SIDE)
        mean, spread = float(pixels.mean()), float(pixels.std())
        low, high = np.percentile(pixels, [5, 95])
        edges = float(np.percentile(np.abs(cv2.Laplacian(pixels, cv2.CV_32F)), 98))
        sharpness = edges / max(float(high - low), 8.0)
        reasons = [
            (f"dark: mean grey level {mean:.0f}", 1 - mean / DARK),
            (f"bright: mean grey level {mean:.0f}", (mean - BRIGHT) / (255 - BRIGHT)),
            (f"little contrast: grey levels spread by {spread:.0f}", 1 - spread / FLAT),
            (f"blurred: sharpness {sharpness:.2f}", 1 - sharpness / BLURRED),
        ]
        worst = max(reasons, key=lambda each: each[1])
        if worst[1] > 0:
            trouble[row] = worst
    return Quality(blank, trouble)
