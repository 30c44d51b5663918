"""Soft targets for distillation: the probabilities that trained models (teachers) give to the training images.

A student learns more from the probabilities of its teachers than from one label per image (Hinton, Vinyals & Dean,
"Distilling the knowledge in a neural network", 2015). They are computed once, averaged over the teachers, and kept in
the store; the recipe of the student sets their weight (`soft` of a head). Images without a label can be taught so, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples, ferplus
from mien.datasets.canvas import rgb
from mien.datasets.derive.targets import Targets, image_hashes
from mien.datasets.samples import NO_LABEL, SPLITS
from mien.errors import ConfigError
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.expression.base import Images
from mien.expression.tta import Tta
from mien.faces.align import CropAligner, aligned
from mien.progress import Progress, unseen

CHUNK: Final = 256  # images between two calls of `progress`

# Fits a temperature: logits (N, C) and labels (N,) in, the temperature out.
Fit = Callable[[NDArray[np.floating[Any]], NDArray[np.int64]], float]


class Teachers:
    """Trained models whose probabilities are the targets.

    Args:
        models: Names of shipped models or classic networks, or paths of exported ONNX files; their probabilities are
            calibrated.
        classes: The classes of the data.
        tta: Test-time augmentation: "none", "flip" or "ten-crop".
        align: Whether each face is also read aligned by its landmarks, where they are sure; the mean of both is taken.
        threads: Threads of each network.

    Attributes:
        known: By kind of target, "soft_labels" or "soft_votes", the classes; only kinds that every teacher knows.

    Raises:
        ConfigError: There are no teachers, no such model or augmentation, or a teacher knows neither kind of classes.
        WeightsError: Weights are missing or damaged.
    """

    def __init__(
        self,
        models: Sequence[str | Path],
        classes: Sequence[str],
        *,
        tta: Tta = "flip",
        align: bool = False,
        threads: int = 1,
    ) -> None:
        options = ClassifierOptions(batch_size=64, threads=threads, tta=tta)
        self.opened = [OnnxClassifier(replace(options, model=model)) for model in models]
        wanted = {"soft_labels": tuple(classes), "soft_votes": emotions.ALL}
        self.known = {
            name: found
            for name, found in wanted.items()
            if self.opened and all(_knows(teacher, found) for teacher in self.opened)
        }
        if not self.known:
            raise ConfigError(
                f"the teachers must all know the {len(classes)} classes of the data, or all the ten of FER+",
                hint="name at least one teacher, and leave out those that lack a class",
            )
        specs = [teacher.info.crop_spec for teacher in self.opened] if align else []
        self._aligner = CropAligner(specs) if align else None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(teacher.name for teacher in self.opened)

    def __call__(self, images: NDArray[np.uint8], progress: Progress = unseen) -> dict[str, NDArray[np.float32]]:
        """What each teacher says of images (N, H, W) or (N, H, W, 3): by kind (T, N, C) float32."""
        soft = {
            name: np.zeros((len(self.opened), len(images), len(classes)), np.float32)
            for name, classes in self.known.items()
        }
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            versions: list[list[Images]] = [[part]] * len(self.opened)
            if self._aligner is not None:
                straight = aligned([rgb(image) for image in part], self._aligner)
                versions = [[part, crops] for crops in straight]
            for number, (teacher, shown) in enumerate(zip(self.opened, versions, strict=True)):
                for view in shown:
                    logits = teacher.logits(view)
                    for name, classes in self.known.items():
                        found = teacher.with_classes(classes).proba_from(logits) / np.float32(len(shown))
                        soft[name][number, start : start + CHUNK] += found
            progress(min(start + CHUNK, len(images)), len(images))
        return soft


def record_targets(samples: Samples, teachers: Teachers, progress: Progress = unseen) -> Targets:
    """What teachers say of the training images.

    Raises:
        DataError: There are no training images.
    """
    images = samples.only("train").images
    return Targets(image_hashes(images), teachers.names, teachers(images, progress))


def vote_temperatures(samples: Samples, teachers: Teachers, fit: Fit) -> dict[str, float]:
    """By kind, the temperature of the teachers' mean that fits the labels of the val split best.

    Each teacher is calibrated on its own; their mean is less confident than it is right, because they err apart.

    Raises:
        DataError: There is no val split.
    """
    val = samples.only("val")
    soft = teachers(val.images)
    found = {}
    for kind, values in soft.items():
        labels, kept = val.labels, val.labels != NO_LABEL
        mean = values.mean(axis=0)
        if kind == "soft_votes":
            if val.votes is None:
                continue
            targets, kept = ferplus.process(val.votes, "majority")
            labels, mean = targets.argmax(axis=1), mean[:, : ferplus.EMOTIONS]
        if kept.any():
            found[kind] = round(fit(np.log(mean[kept].clip(min=1e-9)), labels[kept]), 4)
    return found


def distil_targets(
    samples: Samples,
    teachers: Sequence[str | Path],
    *,
    tta: Tta = "flip",
    threads: int = 1,
    progress: Progress = unseen,
) -> Samples:
    """Adds the mean probabilities of teachers on the training images.

    Args:
        samples: With a train split. Existing soft targets are replaced.
        teachers: See `Teachers`.
        tta: See `Teachers`.
        threads: See `Teachers`.
        progress: Called with the number of images done and the number of all.

    Returns:
        The samples with `soft_labels` if every teacher knows their classes, and `soft_votes` if every teacher knows the
        ten classes of FER+; rows of other splits are zeros. `about` names the teachers.

    Raises:
        ConfigError: There are no teachers, no such model or augmentation, or a teacher knows neither kind of classes.
        DataError: There are no training images.
        WeightsError: Weights are missing or damaged.
    """
    samples.only("train")
    made = Teachers(teachers, samples.classes, tta=tta, threads=threads)
    rows = np.flatnonzero(samples.split == SPLITS.index("train"))
    soft: dict[str, NDArray[np.float32]] = {}
    for kind, values in made(samples.images[rows], progress).items():
        soft[kind] = np.zeros((len(samples), values.shape[2]), np.float32)
        soft[kind][rows] = values.mean(axis=0)
    about = {**samples.about, "teachers": list(made.names), "teachers_tta": tta}
    return replace(samples, soft_labels=soft.get("soft_labels"), soft_votes=soft.get("soft_votes"), about=about)


def _knows(teacher: OnnxClassifier, classes: Sequence[str]) -> bool:
    return any(set(classes) <= set(head.emotions) for head in teacher.info.heads)
