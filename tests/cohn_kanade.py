"""Sequences in the layout of CK+, which may not be redistributed: drawn faces that move from neutral to a peak."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.face_points import drawn_face, face_points, placed

from mien.datasets.class_names import NUMBERINGS

# The features of the peak of each emotion, as `face_points` takes them.
NEUTRAL: Final = {"eyes": 0.3, "mouth": 0.1, "brows": 0.5, "smile": 1.0}
PEAKS: Final = {
    "anger": {"eyes": 0.2, "mouth": 0.05, "brows": 0.3, "smile": 0.85},
    "contempt": {"eyes": 0.2, "mouth": 0.1, "brows": 0.5, "smile": 1.15},
    "disgust": {"eyes": 0.08, "mouth": 0.25, "brows": 0.35, "smile": 0.9},
    "fear": {"eyes": 0.45, "mouth": 0.3, "brows": 0.6, "smile": 1.1},
    "happiness": {"eyes": 0.2, "mouth": 0.35, "brows": 0.5, "smile": 1.4},
    "sadness": {"eyes": 0.15, "mouth": 0.1, "brows": 0.42, "smile": 0.75},
    "surprise": {"eyes": 0.55, "mouth": 0.75, "brows": 0.75, "smile": 0.7},
}
# The action units of each, with their intensities from 0, not graded, to 5.
UNITS: Final = {
    "anger": ((4, 4), (5, 0), (7, 3), (23, 2)),
    "contempt": ((14, 3),),
    "disgust": ((9, 4), (17, 0)),
    "fear": ((1, 3), (2, 2), (4, 3), (5, 4), (20, 3), (25, 0)),
    "happiness": ((6, 4), (12, 5), (25, 0)),
    "sadness": ((1, 3), (4, 3), (15, 4)),
    "surprise": ((1, 4), (2, 4), (5, 2), (27, 5)),
}
NUMBERS: Final = {name: number for number, name in NUMBERINGS["ck"].items()}

Layout = Literal["published", "flat"]
_TREES: Final = {"image": "cohn-kanade-images", "emotion": "Emotion", "facs": "FACS", "landmarks": "Landmarks"}


def moving_face(
    emotion: str, share: float, person: int, rng: np.random.Generator, size: int = 96
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A face at a share 0-1 of the way from neutral to its peak: (size, size, 3) and its 68 points in pixels."""
    features = {key: value + share * (PEAKS[emotion][key] - value) for key, value in NEUTRAL.items()}
    own = np.random.default_rng(person)
    points = placed(
        face_points(**features),
        scale=size * own.uniform(0.24, 0.28),
        turn=own.uniform(-8, 8),
        at=(size * own.uniform(0.47, 0.53), size * own.uniform(0.36, 0.42)),
    )
    return drawn_face((size, size), points, rng), points[:68]


def write_sequence(
    folder: Path,
    subject: str,
    number: str,
    emotion: str,
    rng: np.random.Generator,
    *,
    frames: int = 6,
    layout: Layout = "published",
    digits: int = 8,
    labelled: bool = True,
) -> list[Path]:
    """Writes one sequence with its landmarks, action units and, if it is labelled, emotion; gives the images."""
    stems = [f"{subject}_{number}_{frame:0{digits}}" for frame in range(1, frames + 1)]
    images = []
    for place, stem in enumerate(stems):
        image, points = moving_face(emotion, place / max(1, frames - 1), int(subject[1:]), rng)
        images.append(_place(folder, layout, "image", subject, number) / f"{stem}.png")
        Image.fromarray(image[:, :, 0]).save(images[-1])
        lines = "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in points)
        (_place(folder, layout, "landmarks", subject, number) / f"{stem}_landmarks.txt").write_text(lines)
    lines = "".join(f"   {unit:.7e}   {intensity:.7e}\n" for unit, intensity in UNITS[emotion])
    (_place(folder, layout, "facs", subject, number) / f"{stems[-1]}_facs.txt").write_text(lines)
    if labelled:
        text = f"   {NUMBERS[emotion]:.7e}\n"
        (_place(folder, layout, "emotion", subject, number) / f"{stems[-1]}_emotion.txt").write_text(text)
    return images


def _place(folder: Path, layout: Layout, kind: str, subject: str, number: str) -> Path:
    tree = _TREES[kind] if layout == "published" else "images"
    place = folder / tree / subject / number
    place.mkdir(parents=True, exist_ok=True)
    return place


def write_ckplus(
    folder: Path,
    *,
    subjects: int = 4,
    emotions: Sequence[str] = ("happiness", "surprise"),
    frames: int = 6,
    layout: Layout = "published",
    digits: int = 8,
    seed: int = 0,
) -> Path:
    """Writes a sequence of each emotion for each person, and for the first person one more without an emotion."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for person in range(subjects):
        name = f"S{5 + 6 * person:03}"
        for place, emotion in enumerate(emotions, 1):
            write_sequence(folder, name, f"{place:03}", emotion, rng, frames=frames, layout=layout, digits=digits)
    extra = f"{len(emotions) + 1:03}"
    write_sequence(folder, "S005", extra, "anger", rng, frames=frames, layout=layout, digits=digits, labelled=False)
    if layout == "flat":
        (folder / "emotions.txt").write_text("".join(f"{number} {name}\n" for name, number in NUMBERS.items()))
        (folder / "facs.csv").write_text("subject,sequence,codes\nS005," + f"{extra},4+5+7+23\n")
    return folder
