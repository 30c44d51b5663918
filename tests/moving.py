"""Drawn faces with their keypoints, still and in clips, of persons who differ in proportions, place, roll and light.

Two tasks: `looks`, in which the last frame says it all, and `ways`, in which it says nothing: the mouth ends half open
in both classes, and only the motion tells whether it opened or closed.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.cohn_kanade import NEUTRAL, PEAKS
from tests.face_points import drawn_face, face_points, placed
from tests.tiny import LANDMARKS

from mien import models
from mien.datasets import Samples
from mien.datasets.samples import NO_LABEL, SPLITS
from mien.faces.keypoints import POINTS_70
from mien.training import ExpressionRecipe, FitOptions, export_run, fit

SIDE: Final = 32
FRAMES: Final = 6
LOOKS: Final = ("anger", "happiness", "sadness", "surprise")
WAYS: Final = ("neutral", "surprise")  # the mouth closes, the mouth opens
_SPREAD: Final = {"eyes": 0.03, "mouth": 0.03, "brows": 0.03, "smile": 0.05}


class Person:
    """Someone whose features rest elsewhere than those of others, and who does not hold still."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rest = {key: rng.normal(0, spread) for key, spread in _SPREAD.items()}
        self.scale, self.turn = SIDE * rng.uniform(0.22, 0.28), rng.uniform(-15, 15)
        self.at = SIDE * rng.uniform(0.44, 0.56), SIDE * rng.uniform(0.34, 0.42)

    def seen(self, look: dict[str, float], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """A grey image of the person, and its 70 points, which a method would find a little elsewhere."""
        points = placed(
            face_points(**{key: max(0.02, value + self.rest[key]) for key, value in look.items()}),
            scale=self.scale * rng.uniform(0.97, 1.03),
            turn=self.turn + rng.normal(0, 2),
            at=(self.at[0] + rng.normal(0, 0.3), self.at[1] + rng.normal(0, 0.3)),
        )
        image = drawn_face((SIDE, SIDE), points, rng)[:, :, 0]
        return image, points + rng.normal(0, 0.005 * self.scale, points.shape)


def _mixed(start: dict[str, float], end: dict[str, float], share: float) -> dict[str, float]:
    return {key: value + share * (end[key] - value) for key, value in start.items()}


def _path(task: str, label: int, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float]]:
    """The first look and the last one of a clip."""
    if task == "looks":
        return NEUTRAL, PEAKS[LOOKS[label]]
    end = {**NEUTRAL, "mouth": 0.4 + rng.normal(0, 0.03)}
    return {**end, "mouth": end["mouth"] + (0.35 if label == 0 else -0.35)}, end


def moving_samples(
    task: str, subjects: tuple[int, int] = (30, 12), each: int = 2, *, frames: int = FRAMES, seed: int = 0
) -> Samples:
    """Clips of both tasks; the persons of train and of val are others.

    Args:
        task: "looks" or "ways".
        subjects: Persons of train, and of val.
        each: Clips of each class and person.
        frames: Of a clip.
        seed: What makes the faces differ.
    """
    rng, classes = np.random.default_rng(seed), LOOKS if task == "looks" else WAYS
    columns: dict[str, list[Any]] = {name: [] for name in ("images", "points", "labels", "split", "clips", "subjects")}
    for number in range(sum(subjects)):
        person = Person(rng)
        for label in range(len(classes)):
            for take in range(each):
                start, end = _path(task, label, rng)
                for place in range(frames):
                    share = 1.0 if frames == 1 else place / (frames - 1)
                    image, points = person.seen(_mixed(start, end, share), rng)
                    columns["images"].append(image)
                    columns["points"].append(points)
                    columns["labels"].append(label if place == frames - 1 else NO_LABEL)
                    columns["split"].append(SPLITS.index("train" if number < subjects[0] else "val"))
                    columns["clips"].append(f"{number}-{label}-{take}")
                    columns["subjects"].append(f"S{number:03}")
    labels = np.array(columns["labels"])
    targets = np.zeros((len(labels), len(classes)), np.float32)
    targets[labels != NO_LABEL, labels[labels != NO_LABEL]] = 1
    count = len(labels) // frames
    return Samples(
        images=np.stack(columns["images"]),
        labels=labels,
        classes=classes,
        split=np.array(columns["split"], np.uint8),
        targets=targets,
        names=np.array([f"{name}-{place % frames}" for place, name in enumerate(columns["clips"])]),
        keypoints=np.stack(columns["points"]).astype(np.float32),
        keypoint_scheme=POINTS_70,
        subjects=np.array(columns["subjects"]),
        clips=np.array(columns["clips"]),
        frames=np.tile(np.arange(frames), count),
        clip_labels=np.repeat(labels[frames - 1 :: frames], frames),
        about={"data_set": "drawn"},
    )


def still_samples(task: str, **options: Any) -> Samples:
    """The last frames of such clips."""
    whole = moving_samples(task, **options)
    return replace(whole, clips=None, frames=None, clip_labels=None).subset(whole.labels != NO_LABEL)


def moving_recipe(network: str, frames: int = 1, **changes: Any) -> ExpressionRecipe:
    """A recipe of seconds for a network on such faces; `changes` replace whole keys."""
    none = {"shear": 0, "stretch": 1, "gain": 1.1, "offset": 0.05, "downscale": 0, "erase": 0, "mixup": 0}
    plain: dict[str, Any] = {
        "name": network.replace("_", "-"),
        "epochs": 20,
        "batch_size": 16,
        "precision": "32-true",
        "ema_decay": 0.9,
        "monitor": "val/own/accuracy",
        "model": {"name": network},
        "input": {"size": SIDE, "frames": frames, "landmarks": LANDMARKS},
        "heads": {"own": {"source": "labels"}},
        "augmentation": none | {"rotation": 8, "scale": 1.05, "shift": 0.05, "keypoint_noise": 0.005},
        "optimizer": {"name": "adamw", "lr": 0.004, "weight_decay": 0.01},
        "schedule": {"warmup": 1.0},
    }
    return ExpressionRecipe.model_validate(plain | changes)


def quick_model(name: str, base: Path) -> Path:
    """The exported file of a run of one epoch: it knows little, but reads what such a network reads. Made only once."""
    out = base / f"quick-{name}" / f"{name}.onnx"
    if not out.exists():
        frames = FRAMES if models.reads_windows(name) else 1
        clips = moving_samples("ways", (2, 1), each=1)
        changes: dict[str, Any] = {"epochs": 1, "batch_size": 4, "model": {"name": name, "options": {"width": 0.25}}}
        fit(moving_recipe(name, frames, **changes), clips, out.parent, FitOptions(progress=False))
        export_run(out.parent, clips.only("val"), out)
    return out
