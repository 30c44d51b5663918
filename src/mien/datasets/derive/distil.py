"""Soft targets for distillation: the probabilities that trained models (teachers) give to the training images.

A student learns more from the probabilities of its teachers than from one label per image (Hinton, Vinyals & Dean,
"Distilling the knowledge in a neural network", 2015). They are computed once, averaged over the teachers, and kept in
the store; the recipe of the student sets their weight (`soft` of a head).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from mien import emotions
from mien.datasets import Samples
from mien.datasets.samples import SPLITS
from mien.errors import ConfigError
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.expression.tta import Tta

CHUNK: Final = 256  # images between two calls of `progress`


def distil_targets(
    samples: Samples,
    teachers: Sequence[str | Path],
    *,
    tta: Tta = "flip",
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Adds the mean probabilities of teachers on the training images.

    Args:
        samples: With a train split. Existing soft targets are replaced.
        teachers: Names of shipped models, or paths of exported ONNX files; their probabilities are calibrated.
        tta: Test-time augmentation of the teachers: "none", "flip" or "ten-crop".
        threads: Threads of each network.
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
    rows = np.flatnonzero(samples.split == SPLITS.index("train"))
    options = ClassifierOptions(batch_size=64, threads=threads, tta=tta)
    opened = [OnnxClassifier(replace(options, model=teacher)) for teacher in teachers]
    wanted = {"soft_labels": samples.classes, "soft_votes": emotions.ALL}
    known = {
        name: classes
        for name, classes in wanted.items()
        if opened and all(_knows(teacher, classes) for teacher in opened)
    }
    if not known:
        raise ConfigError(
            f"the teachers must all know the {len(samples.classes)} classes of the data, or all the ten of FER+",
            hint="name at least one teacher, and leave out those that lack a class",
        )
    soft = {name: np.zeros((len(samples), len(classes)), np.float32) for name, classes in known.items()}
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        for teacher in opened:
            logits = teacher.logits(samples.images[part])
            for name, classes in known.items():
                soft[name][part] += teacher.with_classes(classes).proba_from(logits) / np.float32(len(opened))
        progress(min(start + CHUNK, len(rows)), len(rows))
    return replace(
        samples,
        soft_labels=soft.get("soft_labels"),
        soft_votes=soft.get("soft_votes"),
        about={**samples.about, "teachers": [teacher.name for teacher in opened], "teachers_tta": tta},
    )


def _knows(teacher: OnnxClassifier, classes: Sequence[str]) -> bool:
    return any(set(classes) <= set(head.emotions) for head in teacher.info.heads)
