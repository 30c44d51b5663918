"""Images with labelled faces, for the training and evaluation of detectors.

A folder contains `labels.jsonl` and archives (.zip) of image files, or several such folders. Each line of the labels is
one image: `zip`, `file`, `split` ("train" or "valid"), `faces` (each with `box` [x0, y0, x1, y1] and five `landmarks`
[x, y] in pixels, in the order of `results.LANDMARKS`; optionally `origin`, who set the landmarks, `lm_diff`, the
distance of two sources of landmarks in eye distances, and `score`, a teacher's score of the face, 0-1), `ignore`, boxes
that may contain a face, and optionally `mistakes`, boxes where a detector found a face that is none or missed one:
training shows these more often. There is no store of the images, because images of different sizes fit no array.
"""

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, InputError
from mien.media import read_image
from mien.progress import Progress, unseen

# The order of the five landmarks after mirroring.
MIRRORED: Final = [1, 0, 2, 4, 3]
LABELS: Final = "labels.jsonl"
SPLITS: Final = ("train", "valid")


@dataclass(frozen=True, eq=False)
class FaceImage:
    """One labelled image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) faces, xyxy pixels.
        landmarks: (N, 5, 2) x, y in pixels, in the order of `results.LANDMARKS`; nan if too uncertain.
        ignore: (M, 4) boxes that may contain a face, xyxy pixels.
        source: Archive and file.
        origin: (N,) who set the landmarks: "human", "dataset", "teacher" or "mesh"; empty if unknown.
        mistakes: (K, 4) boxes of a detector's false alarms and missed faces, xyxy pixels.
        scores: (N,) scores that a teacher gave the faces, 0-1; nan if unknown. Empty: all are unknown.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    ignore: NDArray[np.float64]
    source: str = ""
    origin: tuple[str, ...] = ()
    mistakes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def mirrored(self) -> "FaceImage":
        """The image and its labels, mirrored left to right."""
        width = self.image.shape[1]
        return FaceImage(
            image=np.ascontiguousarray(self.image[:, ::-1]),
            boxes=_mirrored_boxes(self.boxes, width),
            landmarks=(width, 0) + self.landmarks[:, MIRRORED] * (-1, 1),
            ignore=_mirrored_boxes(self.ignore, width),
            source=self.source,
            origin=self.origin,
            mistakes=_mirrored_boxes(self.mistakes, width),
            scores=self.scores,
        )


def _mirrored_boxes(boxes: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    x0, y0, x1, y1 = boxes.T
    return np.stack([width - x1, y0, width - x0, y1], axis=1)


def read(
    folder: Path,
    split: str,
    *,
    sets: Sequence[str] = (),
    limit: int | None = None,
    doubt: float = np.inf,
    progress: Progress = unseen,
) -> Iterator[FaceImage]:
    """Reads labelled images, in the order of the labels.

    Args:
        folder: The folder of the labels and archives.
        split: "train" or "valid".
        sets: Names of archives, without ".zip"; empty for all.
        limit: Approximate number of images, evenly spread; None for all.
        doubt: Landmarks with a larger `lm_diff` become nan.
        progress: Called with the number of images read and the number of all, before the next one is read.

    Raises:
        InputError: The folder has no labels, or an archive or an image is missing or cannot be read.
        DataError: A line of the labels has another form, or the split has no images.
    """
    rows = _chosen(folder, split, sets, limit)
    with ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}
        for number, (place, row) in enumerate(rows, 1):
            path = place / row["zip"]
            try:
                if path not in archives:
                    archives[path] = stack.enter_context(zipfile.ZipFile(path))
                content = archives[path].read(row["file"])
            except (OSError, KeyError, zipfile.BadZipFile) as error:
                raise InputError(
                    f"{path}: {row['file']} cannot be read: {error}",
                    hint="check that the archive is complete and belongs to the labels",
                ) from error
            faces = row["faces"]
            landmarks = np.array([face["landmarks"] for face in faces], float).reshape(-1, 5, 2)
            landmarks[[face.get("lm_diff") is not None and face["lm_diff"] > doubt for face in faces]] = np.nan
            yield FaceImage(
                image=read_image(content),
                boxes=np.array([face["box"] for face in faces], float).reshape(-1, 4),
                landmarks=landmarks,
                ignore=np.array(row["ignore"], float).reshape(-1, 4),
                source=f"{path.name}/{row['file']}",
                origin=tuple(face.get("origin", "") for face in faces),
                mistakes=np.array(row["mistakes"], float).reshape(-1, 4),
                scores=np.array([face.get("score", np.nan) for face in faces], float),
            )
            progress(number, len(rows))


def count(folder: Path, split: str, *, limit: int | None = None) -> int:
    """Number of images that `read` yields, and its errors before the first one."""
    return len(_chosen(folder, split, (), limit))


def _chosen(folder: Path, split: str, sets: Sequence[str], limit: int | None) -> list[tuple[Path, dict[str, Any]]]:
    """The labels of the images that are read, each with its folder."""
    rows = [
        (place, row)
        for place in _folders(folder)
        for row in _rows(place)
        if row["split"] == split and (not sets or Path(row["zip"]).stem in sets)
    ]
    if not rows:
        raise DataError(f"{folder}: no images of the split '{split}'", hint="check labels.jsonl and the sets")
    return rows[:: max(1, len(rows) // limit) if limit else 1]


def fingerprint(folder: Path) -> dict[str, object]:
    """Identifies a collection of images, in plain types: counts by split, and a hash of labels and archive sizes.

    Raises:
        InputError: There are no labels, or an archive is missing.
    """
    digest, counts = hashlib.sha256(), Counter[str]()
    for place in _folders(folder):
        digest.update((place / LABELS).read_bytes())
        rows = _rows(place)
        counts.update(row["split"] for row in rows)
        for name in sorted({row["zip"] for row in rows}):
            if not (place / name).is_file():
                raise InputError(f"{place / name}: no such archive, but {LABELS} names it", hint="copy it there")
            digest.update(f"{name} {(place / name).stat().st_size}".encode())
    return {"images": dict(counts), "sha256": digest.hexdigest()}


def _folders(folder: Path) -> list[Path]:
    """The folder itself, or the folders in it that have labels."""
    if (folder / LABELS).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{LABELS}"))
    if not found:
        raise InputError(
            f"{folder}: no {LABELS}, neither in it nor in a folder below",
            hint="docs/training.md describes the labels",
        )
    return found


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / LABELS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", hint="give the folder of labels and archives") from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if row["split"] not in SPLITS:
                raise ValueError(f"split: expected {' or '.join(SPLITS)}, got {row['split']!r}")
            if not (isinstance(row["zip"], str) and isinstance(row["file"], str)):
                raise ValueError("zip, file: expected the names of an archive and of a file in it")
            for face in row["faces"]:
                _box(face["box"])
                _numbers(face["landmarks"], (5, 2))
                for key in ("lm_diff", "score"):
                    if not isinstance(face.get(key), (int, float, type(None))):
                        raise ValueError(f"{key}: expected a number, got {face[key]!r}")
            row.setdefault("mistakes", [])
            for box in (*row["ignore"], *row["mistakes"]):
                _box(box)
            rows.append({key: row[key] for key in ("zip", "file", "split", "faces", "ignore", "mistakes")})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: line {number} is not a valid label: {_reason(error)}",
                hint="docs/training.md describes the labels",
            ) from error
    return rows


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _box(value: object) -> None:
    _numbers(value, (4,))
    x0, y0, x1, y1 = np.asarray(value, float)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"box: expected x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {value}")


def _numbers(value: object, shape: tuple[int, ...]) -> None:
    array = np.asarray(value, float)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"expected {shape} finite numbers, got {value}")
