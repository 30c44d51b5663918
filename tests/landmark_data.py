"""Made-up data for landmark networks: drawn faces with known points in images, and drawn faces of FER2013."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.face_images import png
from tests.face_points import drawn_face, face_points, placed

from mien.datasets import store
from mien.datasets.samples import Samples
from mien.emotions import vocabulary
from mien.faces.keypoints import five_of


@dataclass(frozen=True)
class Folders:
    """Where the data is, and the true points of the first training image.

    Attributes:
        images: Labelled images.
        points: The two files of landmarks.
        fer: The store.
        first: (70, 2) of the first image's face, in pixels.
    """

    images: Path
    points: Path
    fer: Path
    first: NDArray[np.float64]


def _face(size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
    """An image with a face, its points and its roll."""
    points = face_points(eyes=rng.uniform(0.1, 0.5), mouth=rng.uniform(0, 0.5), brows=rng.uniform(0.35, 0.6))
    roll = float(rng.normal(0, 8))
    scale = size * rng.uniform(0.22, 0.3)
    middle = size * np.array([0.5, 0.38]) + rng.normal(0, 0.02 * size, 2)
    found = placed(points, scale=scale, turn=roll, at=(middle[0], middle[1]))
    return drawn_face((size, size), found, rng), found, roll


def _arrays(points: list[NDArray[np.float64]], rolls: list[float]) -> dict[str, Any]:
    stacked = np.stack(points)
    return {
        "points": np.rint((stacked - 0.5) * 16).astype(np.int16),
        "pose": np.array([[0, 0, round(100 * roll)] for roll in rolls], np.int16),
        "eye_distance": np.rint(16 * np.linalg.norm(stacked[:, 45] - stacked[:, 36], axis=1)).astype(np.uint16),
        "ok": np.ones(len(points), np.uint8),
    }


def write(folder: Path, *, train: int = 10, valid: int = 4, fer: int = 12) -> Folders:
    """Writes the three kinds of files; the last image of each split has no face, the last but one no landmarks."""
    rng = np.random.default_rng(0)
    images, labels = folder / "images", folder / "points"
    images.mkdir(parents=True)
    labels.mkdir()
    rows, points, rolls, names = [], [], [], []
    first: NDArray[np.float64] | None = None
    with zipfile.ZipFile(images / "drawn.zip", "w") as archive:
        for number in range(train + valid):
            split, left = ("train", train - number) if number < train else ("valid", train + valid - number)
            image, found, roll = _face(96, rng)
            first = found if first is None else first
            if left == 1:
                image = rng.integers(0, 255, (96, 96, 3)).astype(np.uint8)
            elif left > 2:
                points.append(found)
                rolls.append(roll)
                names.append(f"{number}.png".encode())
            archive.writestr(f"{number}.png", png(image))
            box = [*found.min(axis=0).tolist(), *found.max(axis=0).tolist()]
            face = {"box": box, "landmarks": five_of(found).tolist(), "origin": "human"}
            faces = [] if left == 1 else [face]
            row = {"zip": "drawn.zip", "file": f"{number}.png", "split": split, "faces": faces, "ignore": []}
            rows.append(json.dumps(row))
    (images / "labels.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    count = len(points)
    np.savez(
        labels / "faces_landmarks.npz",
        **_arrays(points, rolls),
        zip_names=np.array(["drawn.zip"]),
        zip=np.zeros(count, np.uint8),
        name=np.array(names),
        face=np.zeros(count, np.int64),
    )
    crops = [_face(48, rng) for _ in range(fer)]
    faces48 = _arrays([each[1] for each in crops], [each[2] for each in crops])
    faces48["ok"][0] = 0
    np.savez(labels / "fer2013_landmarks.npz", **faces48, row=np.arange(fer))
    splits = (np.arange(fer) >= fer - 4).astype(np.uint8)
    targets = np.eye(7, dtype=np.float32)[np.arange(fer) % 7]
    samples = Samples(
        np.stack([each[0][:, :, 0] for each in crops]),
        targets.argmax(axis=1),
        vocabulary(7),
        splits,
        targets,
        np.arange(fer).astype(np.str_),
    )
    store.save(samples, folder / "fer.h5")
    assert first is not None
    return Folders(images, labels, folder / "fer.h5", first)
