"""Soft targets: what trained models say of the training images, for another model to learn from.

A student learns more from its teachers' probabilities than from one label a image (Hinton, Vinyals & Dean,
"Distilling the knowledge in a neural network", 2015). They are taken once, averaged over teachers and tta, and kept
in the store; the recipe of the student says how much they count (`soft` of a head).
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

__all__ = ["distil_targets"]

CHUNK: Final = 256  # images between two reports


def distil_targets(
    samples: Samples,
    teachers: Sequence[str | Path],
    *,
    tta: Tta = "flip",
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """The samples with their teachers' mean probabilities on the training images.

    Args:
        samples: With a train split. Soft targets that they have are replaced.
        teachers: Names of shipped models, or paths of exported ONNX files; their temperatures calibrate what they say.
        tta: How often each teacher looks at each image: "none", "flip" or "ten-crop".
        threads: For each network.
        progress: Called with the number of images done and of all.

    Returns:
        `soft_labels` where every teacher knows the samples' classes, `soft_votes` where every teacher knows the ten of
        FER+; rows of other splits are zeros. `about` names the teachers.

    Raises:
        ConfigError: There is no teacher, no such model or tta; or teachers can tell neither kind of classes.
        DataError: There are no training images.
        WeightsError: Weights are missing or damaged.
    """
    samples.only("train")
    rows = np.flatnonzero(samples.split == SPLITS.index("train"))
    options = ClassifierOptions(batch_size=64, threads=threads, tta=tta)
    opened = [OnnxClassifier(replace(options, model=teacher)) for teacher in teachers]
    asked = {"soft_labels": samples.classes, "soft_votes": emotions.ALL}
    known = {
        name: classes for name, classes in asked.items() if opened and all(_knows(each, classes) for each in opened)
    }
    if not known:
        raise ConfigError(
            f"neither the data's {len(samples.classes)} classes nor the ten of FER+ are known to all teachers",
            hint="name at least one; each must know all classes of the same kind",
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
