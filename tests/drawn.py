"""Drawn faces: eight emotions by mouth, brows and eyes, no two alike; and CSV files of them in the official formats.

They vary in identity, pose, light and noise so far that a linear classifier on the pixels does badly.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples, ferplus
from mien.datasets.builders.fer2013 import build
from mien.emotions import ALL, vocabulary

SIDE: Final = 48
_CANVAS: Final = 2 * SIDE  # drawn at twice the size, then averaged down

# Mouth: how far its corners stand above its middle, left and right, and how far it is open and wide; brows: height of
# their inner and outer ends over the rest; eyes: how far open; wrinkles beside the nose. In units of the face.
_LOOKS: Final[dict[str, dict[str, float]]] = {
    "anger": {"left": -0.10, "right": -0.10, "open": 0.05, "wide": 0.9, "inner": -0.14, "outer": 0.04, "eyes": 0.7},
    "disgust": {"left": -0.12, "right": -0.12, "open": 0.14, "wide": 0.8, "inner": -0.06, "eyes": 0.4, "nose": 1.0},
    "fear": {"left": -0.03, "right": -0.03, "open": 0.20, "wide": 1.1, "inner": 0.14, "outer": 0.04, "eyes": 1.5},
    "happiness": {"left": 0.26, "right": 0.26, "open": 0.10, "wide": 1.2, "eyes": 0.8},
    "sadness": {"left": -0.24, "right": -0.24, "wide": 0.9, "inner": 0.14, "outer": -0.10, "eyes": 0.6},
    "surprise": {"open": 0.36, "wide": 0.6, "inner": 0.16, "outer": 0.16, "eyes": 1.6},
    "neutral": {},
    "contempt": {"left": 0.28, "right": -0.02, "wide": 0.9, "eyes": 0.8},
}
_REST: Final = {
    "left": 0.0,
    "right": 0.0,
    "open": 0.0,
    "wide": 1.0,
    "inner": 0.0,
    "outer": 0.0,
    "eyes": 1.0,
    "nose": 0.0,
}
_SPREAD: Final = {"left": 0.03, "right": 0.03, "open": 0.02, "wide": 0.1, "inner": 0.03, "outer": 0.03, "eyes": 0.12}


def draw_face(emotion: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One face (48, 48) uint8 grey."""
    look = _REST | _LOOKS[emotion]
    look |= {key: look[key] + rng.normal(0, spread) for key, spread in _SPREAD.items()}
    if rng.random() < 0.5:
        look["left"], look["right"] = look["right"], look["left"]
    skin, dark = rng.uniform(140, 235), rng.uniform(5, 50)
    sheet = np.full((_CANVAS, _CANVAS), rng.uniform(60, 220), np.float32)
    unit = rng.uniform(0.42, 0.5) * _CANVAS  # half the height of the face
    middle = _CANVAS / 2

    def at(x: float, y: float) -> tuple[int, int]:
        """A point given in units of the face, in sixteenths of a pixel."""
        return round((middle + x * unit) * 16), round((middle + y * unit) * 16)

    def oval(x: float, y: float, wide: float, high: float, grey: float) -> None:
        axes = (max(1, round(wide * unit * 16)), max(1, round(high * unit * 16)))
        cv2.ellipse(sheet, at(x, y), axes, 0, 0, 360, grey, -1, cv2.LINE_AA, 4)

    def line(points: Sequence[tuple[float, float]], thick: int) -> None:
        cv2.polylines(sheet, [np.array([at(*point) for point in points], np.int32)], False, dark, thick, cv2.LINE_AA, 4)

    plump = rng.uniform(0.7, 0.9)
    oval(0, -0.1, plump * 1.08, 1.0, rng.uniform(0, 120))  # hair
    oval(0, 0.05, plump, 1.0, skin)
    apart, level = rng.uniform(0.3, 0.38), rng.uniform(-0.22, -0.12)
    brow = level - rng.uniform(0.2, 0.26)
    for side in (-1, 1):
        oval(side * apart, level, 0.15, max(0.02, 0.085 * look["eyes"]), 245)
        oval(side * apart, level, 0.06, max(0.02, min(0.07, 0.085 * look["eyes"])), dark)
        line([(side * (apart - 0.15), brow - look["inner"]), (side * (apart + 0.17), brow - look["outer"])], 5)
        if look["nose"]:
            line([(side * 0.05, level + 0.12), (side * 0.16, level + 0.05)], 4)
            line([(side * 0.14, 0.2), (side * 0.28, 0.42)], 4)
    line([(0, level + 0.1), (rng.uniform(-0.08, 0.08), 0.22)], 2)
    mouth, half = rng.uniform(0.48, 0.56), 0.36 * look["wide"]
    across = np.linspace(-1, 1, 11)
    lift = np.where(across < 0, look["left"], look["right"]) * across**2
    bow = max(0.0, look["open"]) * np.sqrt(1 - across**2)
    upper = [(half * x, mouth - rise - 0.5 * gap) for x, rise, gap in zip(across, lift, bow, strict=True)]
    lower = [(half * x, mouth - rise + gap) for x, rise, gap in zip(across, lift, bow, strict=True)]
    cv2.fillPoly(sheet, [np.array([at(*point) for point in upper + lower[::-1]], np.int32)], dark, cv2.LINE_AA, 4)
    line(upper, 4)
    line(lower, 4)
    return _photographed(sheet, rng)


def _photographed(sheet: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pose, light and noise."""
    middle = (_CANVAS - 1) / 2
    turn: NDArray[Any] = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-15, 15), rng.uniform(0.75, 1.0))
    turn[:, 2] += rng.uniform(-0.1, 0.1, 2) * _CANVAS
    posed = cv2.warpAffine(sheet, turn, (_CANVAS, _CANVAS), borderMode=cv2.BORDER_REPLICATE)
    small = cv2.resize(posed, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    down, across = np.mgrid[-1:1:48j, -1:1:48j]
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.7, 1.1) * (1 + rng.uniform(0, 0.4) * (np.cos(angle) * across + np.sin(angle) * down))
    lit = small * light + rng.uniform(-20, 20) + rng.normal(0, rng.uniform(2, 8), small.shape)
    face: NDArray[np.uint8] = np.clip(lit, 0, 255).astype(np.uint8)
    return face


def draw_ballot(emotion: str, rng: np.random.Generator) -> list[int]:
    """Ten votes in the order of FER+'s columns: most for what was drawn, the others anywhere."""
    sure = int(rng.integers(6, 11))
    votes = rng.multinomial(10 - sure, [0.1] * 10)
    votes[ferplus.COLUMNS.index(emotion)] += sure
    return [int(count) for count in votes]


def write_fer_csv(
    folder: Path,
    rng: np.random.Generator,
    per_class: int = 6,
    *,
    held: int | None = None,
    private: bool = True,
    blank: int = 3,
    duplicates: int = 2,
) -> tuple[Path, Path]:
    """Writes `fer2013.csv` and `fer2013new.csv` in the official formats.

    Args:
        folder: Where; made where it is missing.
        rng: What makes the faces differ.
        per_class: Training rows of each of the eight drawn emotions; FER2013 calls contempt neutral.
        held: The same of PublicTest, and of PrivateTest; None for a third of `per_class`.
        private: With PrivateTest rows.
        blank: Training rows that are not a face: noise without an image name, NF = 10.
        duplicates: Training rows, of those above, whose image stands in PublicTest as well.

    Returns:
        The paths of the two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = max(1, per_class // 3) if held is None else held
    usages = {"Training": per_class, "PublicTest": held} | ({"PrivateTest": held} if private else {})
    faces, ballots, names = [], [], 0
    for usage, count in usages.items():
        drawn = [emotion for emotion in vocabulary(8) for _ in range(count)]
        rng.shuffle(drawn)
        rows: list[tuple[str, NDArray[np.uint8], list[int], bool]] = [
            (emotion, draw_face(emotion, rng), draw_ballot(emotion, rng), True) for emotion in drawn
        ]
        if usage == "Training":
            noise = rng.integers(0, 256, (blank, SIDE, SIDE)).astype(np.uint8)
            rows += [("neutral", image, [0] * 9 + [10], False) for image in noise]
            training = rows
        elif usage == "PublicTest":
            rows[:duplicates] = training[:duplicates]
        for emotion, image, votes, named in rows:
            code = ALL.index("neutral" if emotion == "contempt" else emotion)
            faces.append([code, " ".join(map(str, image.ravel().tolist())), usage])
            ballots.append([usage, f"fer{names:07}.png" if named else "", *votes])
            names += named
    csv_path, votes_path = folder / "fer2013.csv", folder / "fer2013new.csv"
    columns = ["NF" if name == "not_a_face" else name for name in ferplus.COLUMNS]
    _write(csv_path, ["emotion", "pixels", "Usage"], faces)
    _write(votes_path, ["Usage", "Image name", *columns], ballots)
    return csv_path, votes_path


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def drawn_samples(folder: Path, per_class: int = 6, *, seed: int = 0, emotions: int = 7) -> Samples:
    """Samples of drawn faces with votes, built from their CSV files."""
    faces, votes = write_fer_csv(folder, np.random.default_rng(seed), per_class)
    return build(csv=faces, votes=votes, emotions=emotions)
