"""The labelled pictures of ../shared/data/faces, and how detections compare with their labels."""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.faces.detectors import Detections

__all__ = ["MIRRORED", "SETS", "Matches", "Picture", "iou", "match", "pictures"]

# The order of the five points in a mirrored face.
MIRRORED: Final = [1, 0, 2, 4, 3]
SETS: Final = ("portraits", "frames", "helen", "scenes", "negatives")


@dataclass(frozen=True)
class Picture:
    """One labelled picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) faces, xyxy pixels.
        landmarks: (N, 5, 2) their points, in the order of `results.LANDMARKS`.
        ignore: (M, 4) boxes that may hold a face.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    ignore: NDArray[np.float64]

    def mirrored(self) -> "Picture":
        """The same picture with left and right exchanged, labels included."""
        width = self.image.shape[1]
        return Picture(
            image=np.ascontiguousarray(self.image[:, ::-1]),
            boxes=_mirrored_boxes(self.boxes, width),
            landmarks=(width, 0) + self.landmarks[:, MIRRORED] * (-1, 1),
            ignore=_mirrored_boxes(self.ignore, width),
        )


def _mirrored_boxes(boxes: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    x0, y0, x1, y1 = boxes.T
    return np.stack([width - x1, y0, width - x0, y1], axis=1)


@dataclass(frozen=True)
class Matches:
    """Detections beside labels.

    Attributes:
        face: (D,) for each detection the index of its face; -1 if it has none.
        false: (D,) bool: the detection is neither on a face nor on a box to ignore.
    """

    face: NDArray[np.int64]
    false: NDArray[np.bool_]


def pictures(folder: Path, split: str, sets: Sequence[str] = SETS, limit: int | None = None) -> Iterator[Picture]:
    """Labelled pictures of `sets`, in the order of the labels.

    Args:
        folder: Where labels.jsonl lies.
        split: "train" or "valid".
        sets: Some of `SETS`.
        limit: Take about as many, evenly spread; None takes all.
    """
    with (folder / "labels.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["split"] == split and Path(row["zip"]).stem in sets]
    archives = {name: zipfile.ZipFile(folder / f"{name}.zip") for name in sets}
    for row in rows[:: max(1, len(rows) // limit) if limit else 1]:
        content = archives[Path(row["zip"]).stem].read(row["file"])
        yield Picture(
            image=np.asarray(Image.open(io.BytesIO(content)).convert("RGB")),
            boxes=np.array([face["box"] for face in row["faces"]]).reshape(-1, 4),
            landmarks=np.array([face["landmarks"] for face in row["faces"]]).reshape(-1, 5, 2),
            ignore=np.array(row["ignore"]).reshape(-1, 4),
        )


def iou(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union (N, M) of boxes (N, 4) with boxes (M, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(common / (areas[0][:, None] + areas[1][None] - common), np.float64)


def match(found: Detections, picture: Picture, threshold: float = 0.4, ignored: float = 0.2) -> Matches:
    """Gives each detection, best score first, the free face that it overlaps most.

    Args:
        found: What a detector gave.
        picture: What is there.
        threshold: Least IoU with a face.
        ignored: A detection without a face is no mistake if its IoU with a box to ignore is at least this.
    """
    overlaps = iou(found.boxes, picture.boxes)  # (D, N)
    doubtful = (iou(found.boxes, picture.ignore) >= ignored).any(axis=1)
    face = np.full(len(found), -1)
    for index in np.argsort(-found.scores, kind="stable"):
        if overlaps.shape[1] and overlaps[index].max() >= threshold:
            face[index] = overlaps[index].argmax()
            overlaps[:, face[index]] = 0
    return Matches(face=face, false=(face < 0) & ~doubtful)
