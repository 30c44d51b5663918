"""Detectors on natural photographs: figures, the goals they are compared with, and a contact sheet of false alarms.

The photographs are the valid splits of ../shared/data/people (people, masks, bodies, things) and of
../shared/data/faces (scenes, portraits, Helen), unchanged. Recall and precision are counted at the operating point, by
the size of the face; a false alarm has its own size. Detections on boxes to ignore and of less than 10 pixels do not
count. The boxes, and most of the decisions what is a face, are YuNet's, so YuNet's own figures are too good.

Detections are cached with all scores, so that another look at them takes a second.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Measurement
from mien.datasets import face_images
from mien.datasets.face_images import FaceImage
from mien.evaluation.detection import SMALLEST, Tally, match, sides
from mien.faces import detectors
from mien.faces.boxes import iou
from mien.faces.detectors import Detections
from mien.faces.tiling import find
from mien.opencv import resized

DATA: Final = Path(__file__).parent.parent.parent / "shared" / "data"
SETS: Final = {"people": ("people", "bodies", "masks", "things"), "faces": ("scenes", "portraits", "helen")}
MASKS: Final = "masks"
SIZES: Final = {"12-20 px": (12.0, 20.0), "20-40 px": (20.0, 40.0), "40+ px": (40.0, np.inf)}
LOWEST: Final = 0.01  # the lowest score of the cached detections
SEEN: Final = 0.2  # IoU from which a detection is on a box to ignore
SMALL_PRECISION: Final = 0.9  # at which the recall of the smallest faces is compared


@dataclass(frozen=True)
class Goal:
    """What a figure, in percent, should at least be, or at most."""

    figure: str
    limit: float
    at_most: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value reaches the goal."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


ALARMS: Final = "false alarms per 100 images without a face"
ANIMALS: Final = ("things.zip/animalpose_", "things.zip/raccoon_")  # photographs of animals, some with people
WITH_ANIMALS: Final = "photographs of animals without a human face: with a finding"
# Faces of animals, statues, dolls and drawings, and human ones that are hidden, turned away or doubtful.
LIKENESSES: Final = "boxes to ignore of 30+ px: found"
LARGE_LIKENESS: Final = 30.0
OTHERS: Final = (WITH_ANIMALS, LIKENESSES)
GOALS: Final = (
    Goal("precision, 40+ px", 97),
    Goal("recall, 40+ px", 98),
    Goal("precision, 20-40 px", 94),
    Goal("recall, 20-40 px", 94),
    Goal("recall at 90% precision, 12-20 px", 85),
    Goal("masks: precision, 20+ px", 95),
    Goal("masks: recall, 20+ px", 96),
    Goal(ALARMS, 5, at_most=True),
)


@dataclass(frozen=True)
class Photographs:
    """The photographs of one data set.

    Attributes:
        images: Image and labels.
        counted: (N,) bool: the image has no face and belongs to those on which false alarms per image are counted.
    """

    images: tuple[FaceImage, ...]
    counted: tuple[bool, ...]


def photographs(data: Path = DATA, split: str = "valid") -> Photographs:
    """All photographs, in a fixed order.

    Args:
        data: The folder of the data sets `people` and `faces`.
        split: "valid" or "train".

    Raises:
        InputError: A data set is missing.
    """
    images, counted = [], []
    for name, sets in SETS.items():
        for image in face_images.read(data / name, split, sets=sets):
            images.append(image)
            counted.append(name == "people" and not len(image.boxes))
    return Photographs(tuple(images), tuple(counted))


class AnyRotation:
    """A detector that searches images in all four orientations, as `--any-rotation` does."""

    def __init__(self, detector: detectors.Detector) -> None:
        self.name, self.mean_landmarks, self._detector = detector.name, detector.mean_landmarks, detector

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        return find(self._detector, image, min_score=min_score, any_rotation=True)


def loaded(options: detectors.DetectorOptions) -> detectors.Detector:
    """The detector, which searches in all orientations if the options say so."""
    detector = detectors.load(options)
    return AnyRotation(detector) if options.any_rotation else detector


def search(options: detectors.DetectorOptions, found_in: Photographs, cache: Path | None = None) -> list[Detections]:
    """The detections on each photograph, with all scores from `LOWEST`; read from the cache if they are there.

    Args:
        options: The detector.
        found_in: The photographs.
        cache: A folder; the name of the file depends on the photographs, the options, the weights and the code.
    """
    file = cache / f"{_key(options, found_in)}.npz" if cache else None
    if file and file.exists():
        return _loaded(file)
    detector = loaded(options)
    found = [detector.detect(image.image, min_score=LOWEST) for image in found_in.images]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        boxes = np.concatenate([each.boxes for each in found])
        scores = np.concatenate([each.scores for each in found])
        np.savez(file, counts=[len(each) for each in found], boxes=boxes, scores=scores)
    return found


def _loaded(file: Path) -> list[Detections]:
    with np.load(file) as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        parts = zip(np.split(arrays["boxes"], ends), np.split(arrays["scores"], ends), strict=True)
        return [Detections(boxes, scores) for boxes, scores in parts]


def _key(options: detectors.DetectorOptions, found_in: Photographs) -> str:
    digest = hashlib.sha256(repr(options).encode())
    weights = (
        [options.weights]
        if options.weights
        else sorted((Path(detectors.__file__).parents[2] / "assets").glob("*.onnx"))
    )
    code = sorted(Path(detectors.__file__).parents[1].rglob("*.py"))
    for path in (*weights, *code):
        digest.update(path.read_bytes())
    for image in found_in.images:
        digest.update(f"{image.source} {image.image.shape}".encode())
    return f"{options.name}-{digest.hexdigest()[:16]}"


def figures(found_in: Photographs, found: Sequence[Detections]) -> dict[str, Measurement]:
    """The figures of one detector, in percent; those of `GOALS` among them."""
    everywhere, masks, empty = Tally(), Tally(), []
    for image, counted, each in zip(found_in.images, found_in.counted, found, strict=True):
        everywhere.add(each, image)
        if image.source.startswith(f"{MASKS}.zip/"):
            masks.add(each, image)
        if counted:
            empty.append(len(_alarms(each, image)))
    result: dict[str, Measurement] = {}
    for size, (low, high) in SIZES.items():
        counts = {"recall": everywhere.recall(low, high), "precision": everywhere.precision(low, high)}
        for precision in (0.9, 0.97):
            counts[f"recall at {precision:.0%} precision"] = everywhere.recall_at(precision, low, high)
        for recall in (0.85, 0.95):
            counts[f"precision at {recall:.0%} recall"] = everywhere.precision_at(recall, low, high)
        result |= {f"{name}, {size}": Measurement.proportion(*count) for name, count in counts.items() if count[1]}
        average = everywhere.average_precision(low, high)
        if np.isfinite(average):
            result[f"average precision, {size}"] = Measurement(100 * average, 100 * average, 100 * average, 1)
    for name, count in {"recall": masks.recall(20), "precision": masks.precision(20)}.items():
        if count[1]:
            result[f"masks: {name}, 20+ px"] = Measurement.proportion(*count)
    if empty:
        result[ALARMS] = _mean(100 * np.array(empty, float))
    return result | _likenesses(found_in, found)


def _likenesses(found_in: Photographs, found: Sequence[Detections]) -> dict[str, Measurement]:
    """What is found of animals, and of the boxes that the labels leave out."""
    animals: list[bool] = []
    likenesses: list[bool] = []
    for image, each in zip(found_in.images, found, strict=True):
        sure = each.at_least(0.5, int(SMALLEST))
        if image.source.startswith(ANIMALS) and not len(image.boxes):
            animals.append(len(sure) > 0)
        large = image.ignore[sides(image.ignore) >= LARGE_LIKENESS]
        likenesses += [bool(row.any()) for row in iou(large, sure.boxes) >= SEEN]
    parts = zip(OTHERS, (animals, likenesses), strict=True)
    return {name: Measurement.proportion(sum(hits), len(hits)) for name, hits in parts if hits}


def _mean(values: NDArray[np.float64]) -> Measurement:
    """The mean with its 95% interval (bootstrap over images)."""
    draws = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975]).tolist()
    mean = float(values.mean())
    return Measurement(mean, min(low, mean), max(high, mean), len(values))


def _alarms(found: Detections, image: FaceImage) -> NDArray[np.int64]:
    """The detections at the operating point that are false alarms of at least `SMALLEST`."""
    wrong = match(found, image).false_alarm & (sides(found.boxes) >= SMALLEST) & (found.scores >= 0.5)
    return np.flatnonzero(wrong)


def goals(measured: dict[str, dict[str, Measurement]]) -> str:
    """A Markdown table: each goal, what each detector reaches, with counts, and whether the goal holds."""
    lines = [f"| | goal | {' | '.join(measured)} |", "|---|---|" + "---|" * len(measured)]
    for goal in GOALS:
        cells = []
        for each in measured.values():
            found = each.get(goal.figure)
            if found is None:
                cells.append("-")
                continue
            spread = f"{found.median:.1f} ({found.lower:.1f}-{found.upper:.1f}) of {found.repeats:,}"
            cells.append(f"{spread}: {'yes' if goal.holds(found.median) else 'no'}")
        lines.append(f"| {goal.figure} | {goal} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def sheet(found_in: Photographs, found: Sequence[Detections], file: Path, *, side: int = 96, columns: int = 12) -> int:
    """Writes an image of the false alarms at the operating point, each with its surroundings, highest score first.

    Args:
        found_in: The photographs.
        found: The detections on them.
        file: The image file to write. It shows people: keep it out of the repository.
        side: Of each view, in pixels.
        columns: Views in a row.

    Returns:
        The number of false alarms.
    """
    views = []
    for image, each in zip(found_in.images, found, strict=True):
        for index in _alarms(each, image):
            views.append((float(each.scores[index]), _view(image.image, each.boxes[index], side)))
    views.sort(key=lambda view: -view[0])
    rows = -(-len(views) // columns)
    canvas = np.zeros((max(1, rows) * side, columns * side, 3), np.uint8)
    for number, (_, view) in enumerate(views):
        y, x = side * (number // columns), side * (number % columns)
        canvas[y : y + side, x : x + side] = view
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), canvas[:, :, ::-1])
    return len(views)


def _view(image: NDArray[np.uint8], box: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """A square cut-out of twice the size of the box, which is drawn into it."""
    middle, reach = (box[:2] + box[2:]) / 2, max(8.0, float((box[2:] - box[:2]).max()))
    border = int(np.ceil(reach))
    wide = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT)
    x, y = np.clip(middle, 0, np.array(image.shape[1::-1]) - 1).astype(int)
    cut = np.asarray(wide[y : y + 2 * border, x : x + 2 * border], np.uint8)
    view, factor = resized(cut, side / len(cut))
    view = np.ascontiguousarray(cv2.resize(view, (side, side)))
    corners = ((box.reshape(2, 2) - (x, y) + border) * factor).round().astype(int)
    cv2.rectangle(view, corners[0].tolist(), corners[1].tolist(), (255, 60, 60), 1)
    return np.asarray(view, np.uint8)
