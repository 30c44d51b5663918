"""Evaluation of face detectors: matches of detections and labels, recall, precision, operating points, landmarks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_images import FaceImage
from mien.faces.boxes import areas, iou
from mien.faces.detectors import Detections, Detector

# Smaller faces, by their side (square root of the area) in pixels, count neither as missed nor as false alarms.
SMALLEST: Final = 10.0
_NEARLY: Final = 0.01  # of F1, below the best, at an operating point
_FEWEST: Final = 10  # faces of a range of sizes that has an operating point of its own


@dataclass(frozen=True)
class Matches:
    """Detections of one image, matched with its labels.

    Attributes:
        face: (D,) index of the labelled face of each detection; -1 if it has none.
        false_alarm: (D,) bool: the detection is neither on a face nor on a box to ignore.
    """

    face: NDArray[np.int64]
    false_alarm: NDArray[np.bool_]


def match(found: Detections, image: FaceImage, threshold: float = 0.4, ignored: float = 0.2) -> Matches:
    """Matches each detection, best score first, with the free face of largest overlap.

    Args:
        found: The detections.
        image: The labels.
        threshold: Smallest IoU with a face.
        ignored: A detection without a face is no false alarm if its IoU with a box to ignore is at least this.
    """
    overlaps = iou(found.boxes, image.boxes)  # (D, N)
    on_ignored = (iou(found.boxes, image.ignore) >= ignored).any(axis=1)
    face = np.full(len(found), -1)
    for index in np.argsort(-found.scores, kind="stable"):
        if overlaps.shape[1] and overlaps[index].max() >= threshold:
            face[index] = overlaps[index].argmax()
            overlaps[:, face[index]] = 0
    return Matches(face=face, false_alarm=(face < 0) & ~on_ignored)


def sides(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sides (N,) of boxes (N, 4): the square roots of their areas."""
    return np.asarray(np.sqrt(areas(boxes)), np.float64)


@dataclass
class Tally:
    """Faces and detections of many images.

    A detection on a box to ignore, or on a face below `SMALLEST`, does not count.

    Attributes:
        faces: Side of each labelled face in pixels.
        found: Score of its detection; nan if it has none.
        errors: Mean distance of the five landmarks from the labelled ones, in eye distances; nan if one is missing.
        origins: Who set the labelled landmarks.
        detections: Side of each detection that counts: that of its face, or else its own.
        scores: Score of each detection that counts.
        correct: Whether each detection that counts has a face.
    """

    faces: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    detections: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)

    def add(self, found: Detections, image: FaceImage) -> None:
        """Adds one image."""
        matches = match(found, image)
        partner = {int(face): int(index) for index, face in enumerate(matches.face) if face >= 0}
        size = sides(image.boxes)
        for index in np.flatnonzero(size >= SMALLEST).tolist():
            self.faces.append(float(size[index]))
            self.origins.append(image.origin[index] if image.origin else "")
            mine = partner.get(index)
            self.found.append(np.nan if mine is None else float(found.scores[mine]))
            known = mine is not None and found.landmarks is not None
            self.errors.append(_error(found.landmarks[mine], image.landmarks[index]) if known else np.nan)  # type: ignore[index]
        own = sides(found.boxes)
        for index, face in enumerate(matches.face):
            side = size[face] if face >= 0 else own[index]
            if side >= SMALLEST and (face >= 0 or matches.false_alarm[index]):
                self.detections.append(float(side))
                self.scores.append(float(found.scores[index]))
                self.correct.append(bool(face >= 0))

    def recall(self, low: float = SMALLEST, high: float = np.inf, *, score: float = 0.5) -> tuple[int, int]:
        """Number of faces with sides in low..high found with at least that score, and number of all of them."""
        size, found = np.array(self.faces), np.array(self.found)
        chosen = (low <= size) & (size < high)
        return int((found[chosen] >= score).sum()), int(chosen.sum())

    def precision(self, low: float = SMALLEST, high: float = np.inf, *, score: float = 0.5) -> tuple[int, int]:
        """Number of correct detections of such sides with at least that score, and number of all of them."""
        size, scores = np.array(self.detections), np.array(self.scores)
        chosen = (low <= size) & (size < high) & (scores >= score)
        return int(np.array(self.correct, bool)[chosen].sum()), int(chosen.sum())

    def recall_at(self, precision: float, low: float = SMALLEST, high: float = np.inf) -> tuple[int, int]:
        """As `recall`, at the lowest score at which the detections of such sides have at least that precision.

        With detections from a low `min_score`, this compares detectors independently of their operating points.
        """
        return self.recall(low, high, score=self.score_at(precision, low, high))

    def score_at(self, precision: float, low: float = SMALLEST, high: float = np.inf) -> float:
        """The lowest score at which the detections of such sides have at least that precision; infinite if none has."""
        scores, hits, taken = self.curve(low, high)
        good = np.flatnonzero(hits >= precision * taken)
        return float(scores[good[-1]]) if len(good) else math.inf

    def precision_at(self, recall: float, low: float = SMALLEST, high: float = np.inf) -> tuple[int, int]:
        """As `precision`, at the highest score at which at least that share of such faces is found; (0, 0) if none."""
        size, found = np.array(self.faces), np.array(self.found)
        mine = found[(low <= size) & (size < high)]
        needed = max(1, math.ceil(recall * len(mine) - 1e-9))
        ranked = -np.sort(-mine[np.isfinite(mine)])
        return self.precision(low, high, score=float(ranked[needed - 1])) if needed <= len(ranked) else (0, 0)

    def average_precision(self, low: float = SMALLEST, high: float = np.inf) -> float:
        """Area, 0-1, under the curve of precision over recall of such sides, the precision made monotonic.

        As PASCAL VOC measures it since 2010 (Everingham et al., IJCV 2015, section 4.2); nan without faces.
        """
        _, hits, taken = self.curve(low, high)
        faces = self.recall(low, high)[1]
        if not faces:
            return math.nan
        best = np.maximum.accumulate((hits / taken)[::-1])[::-1]
        return float((best * np.diff(hits, prepend=0)).sum() / faces)

    def curve(
        self, low: float = SMALLEST, high: float = np.inf
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """What each threshold lets through: the scores that occur, highest first, and from there up the counts.

        Detections of equal scores pass a threshold together or not at all.

        Returns:
            The scores (S,); the number of correct detections of such sides with at least that score (S,); and the
            number of all of them (S,).
        """
        size, scores = np.array(self.detections), np.array(self.scores)
        chosen = (low <= size) & (size < high)
        order = np.argsort(-scores[chosen], kind="stable")
        ranked, hits = scores[chosen][order], np.cumsum(np.array(self.correct, bool)[chosen][order])
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
        return ranked[last], hits[last], last + 1

    def landmark_errors(
        self, low: float = SMALLEST, high: float = np.inf, *, origin: str | None = None
    ) -> NDArray[np.float64]:
        """Errors, in eye distances, of the found faces of such sides whose landmarks were set by `origin`."""
        size, errors = np.array(self.faces), np.array(self.errors)
        mine = np.array([origin in (None, each) for each in self.origins], bool)
        chosen: NDArray[np.float64] = errors[(low <= size) & (size < high) & mine & np.isfinite(errors)]
        return chosen


def _error(found: NDArray[np.floating], known: NDArray[np.floating]) -> float:
    apart = float(np.linalg.norm(known[0] - known[1]))
    return float(np.linalg.norm(found - known, axis=1).mean() / max(apart, 1e-6))


def evaluate_detector(detector: Detector, images: Iterable[FaceImage], *, min_score: float = 0.5) -> Tally:
    """Counts the detections on labelled images."""
    tally = Tally()
    for image in images:
        tally.add(detector.detect(image.image, min_score=min_score), image)
    return tally


def operating_point(tally: Tally) -> float:
    """The score with the highest F1 (harmonic mean of precision and recall).

    Args:
        tally: Counts from detections with a low `min_score`.

    Raises:
        ValueError: There are no faces, or none of them was found.
    """
    if not tally.faces or not any(tally.correct):
        raise ValueError("tally: expected faces, and at least one found")
    scores, hits, taken = tally.curve()
    f1 = 2 * hits / (taken + len(tally.faces))
    # The middle of the range of scores with nearly the best F1.
    best = np.flatnonzero(f1 >= f1.max() - _NEARLY)
    return float(scores[[best[0], best[-1]]].mean())


def operating_points(
    tally: Tally, precision: float, edges: Sequence[float] = (10, 22, 34, 56, 110)
) -> tuple[tuple[float, float], ...]:
    """The operating point of each range of sizes: the lowest score at which the detections have that precision.

    It is at least the lowest score whose F1 is within .01 of the best one, because images with few false alarms would
    otherwise give points near 0. Ranges with fewer than ten faces are left out.

    Args:
        tally: Counts from detections with a low `min_score`.
        precision: At the operating point, the same at every size.
        edges: Lower ends of the ranges in pixels; the last range has no upper end.

    Returns:
        A typical side of each range (geometric middle; of the last one 1.3 times its lower end) and its score.
    """
    points = []
    for low, high in pairwise((*edges, math.inf)):
        scores, hits, taken = tally.curve(low, high)
        faces = tally.recall(low, high)[1]
        if faces < _FEWEST or not hits.any():
            continue
        f1 = 2 * hits / (taken + faces)
        lowest = float(scores[np.flatnonzero(f1 >= f1.max() - _NEARLY)[-1]])
        point = max(lowest, tally.score_at(precision, low, high))
        if math.isinf(point):  # that precision is never reached
            point = float(scores[f1.argmax()])
        side = 1.3 * low if math.isinf(high) else math.sqrt(low * high)
        points.append((round(side, 1), float(np.clip(point, 0.01, 0.99))))
    return tuple(points)
