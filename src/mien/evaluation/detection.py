"""How well faces are found: detections beside labels, recall, precision, operating points, errors of landmarks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_images import FaceImage
from mien.faces.boxes import iou
from mien.faces.detectors import Detections, Detector

__all__ = ["SMALLEST", "Matches", "Tally", "judge", "match", "operating_point", "sides"]

# Faces with a smaller side (root of the area), in pixels, are neither asked for nor held against a detector.
SMALLEST: Final = 10.0


@dataclass(frozen=True)
class Matches:
    """Detections beside labels.

    Attributes:
        face: (D,) for each detection the index of its face; -1 if it has none.
        false: (D,) bool: the detection is neither on a face nor on a box to ignore.
    """

    face: NDArray[np.int64]
    false: NDArray[np.bool_]


def match(found: Detections, image: FaceImage, threshold: float = 0.4, ignored: float = 0.2) -> Matches:
    """Gives each detection, best score first, the free face that it overlaps most.

    Args:
        found: What a detector gave.
        image: What is there.
        threshold: Least IoU with a face.
        ignored: A detection without a face is no mistake if its IoU with a box to ignore is at least this.
    """
    overlaps = iou(found.boxes, image.boxes)  # (D, N)
    doubtful = (iou(found.boxes, image.ignore) >= ignored).any(axis=1)
    face = np.full(len(found), -1)
    for index in np.argsort(-found.scores, kind="stable"):
        if overlaps.shape[1] and overlaps[index].max() >= threshold:
            face[index] = overlaps[index].argmax()
            overlaps[:, face[index]] = 0
    return Matches(face=face, false=(face < 0) & ~doubtful)


def sides(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Roots of the areas (N,) of boxes (N, 4)."""
    return np.asarray(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)), np.float64)


@dataclass
class Tally:
    """Faces and detections of many images.

    A detection on a box to ignore, or on a face below `SMALLEST`, counts neither way.

    Attributes:
        faces: Side of each labelled face, pixels.
        found: Score of the detection on it; nan where there is none.
        errors: Mean distance of its five landmarks from the labelled ones, in eye distances; nan where one is missing.
        origins: Who set the labelled landmarks.
        detections: Side of each judged detection: its face's where it has one, else its own.
        scores: Likewise its score.
        right: Likewise whether it has a face.
    """

    faces: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    detections: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, found: Detections, image: FaceImage) -> None:
        """Takes up one image."""
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
            if side >= SMALLEST and (face >= 0 or matches.false[index]):
                self.detections.append(float(side))
                self.scores.append(float(found.scores[index]))
                self.right.append(bool(face >= 0))

    def recall(self, low: float = SMALLEST, high: float = np.inf, *, score: float = 0.5) -> tuple[int, int]:
        """Faces of sides in low..high found with at least that score, and all of them."""
        size, found = np.array(self.faces), np.array(self.found)
        chosen = (low <= size) & (size < high)
        return int((found[chosen] >= score).sum()), int(chosen.sum())

    def precision(self, low: float = SMALLEST, high: float = np.inf, *, score: float = 0.5) -> tuple[int, int]:
        """Right detections of such sides with at least that score, and all such detections."""
        size, scores = np.array(self.detections), np.array(self.scores)
        chosen = (low <= size) & (size < high) & (scores >= score)
        return int(np.array(self.right, bool)[chosen].sum()), int(chosen.sum())

    def recall_at(self, precision: float, low: float = SMALLEST, high: float = np.inf) -> tuple[int, int]:
        """As `recall`, at the lowest score from which on detections of such sides have at least that precision.

        Taken with a low `min_score`, it says how good a detector could be, wherever its operating point lies.
        """
        size, scores = np.array(self.detections), np.array(self.scores)
        chosen = (low <= size) & (size < high)
        order = np.argsort(-scores[chosen], kind="stable")
        right = np.cumsum(np.array(self.right, bool)[chosen][order])
        good = np.flatnonzero(right >= precision * np.arange(1, len(right) + 1))
        least = scores[chosen][order][good[-1]] if len(good) else np.inf
        return self.recall(low, high, score=float(least))

    def landmark_errors(
        self, low: float = SMALLEST, high: float = np.inf, *, origin: str | None = None
    ) -> NDArray[np.float64]:
        """Errors of the found faces of such sides whose landmarks `origin` set, in eye distances."""
        size, errors = np.array(self.faces), np.array(self.errors)
        mine = np.array([origin in (None, each) for each in self.origins], bool)
        chosen: NDArray[np.float64] = errors[(low <= size) & (size < high) & mine & np.isfinite(errors)]
        return chosen


def _error(found: NDArray[np.floating], known: NDArray[np.floating]) -> float:
    apart = float(np.linalg.norm(known[0] - known[1]))
    return float(np.linalg.norm(found - known, axis=1).mean() / max(apart, 1e-6))


def judge(detector: Detector, images: Iterable[FaceImage], *, min_score: float = 0.5) -> Tally:
    """What a detector finds on labelled images."""
    tally = Tally()
    for image in images:
        tally.add(detector.detect(image.image, min_score=min_score), image)
    return tally


def operating_point(tally: Tally) -> float:
    """The score at which the harmonic mean of precision and recall (F1) is highest.

    Args:
        tally: Taken with a low `min_score`.

    Raises:
        ValueError: There is no face, or nothing right was found.
    """
    scores, right = np.array(tally.scores), np.array(tally.right, bool)
    if not tally.faces or not right.any():
        raise ValueError("tally: expected faces, and some of them found")
    order = np.argsort(-scores, kind="stable")
    hits, taken = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    f1 = 2 * hits / (taken + len(tally.faces))
    # The middle of the range of scores that are as good.
    best = np.flatnonzero(f1 >= f1.max() - 1e-3)
    return float(scores[order[[best[0], best[-1]]]].mean())
