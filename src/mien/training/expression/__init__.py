"""The kind of recipe that teaches expressions: its data, its task, and what identifies both."""

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning
import torch

from mien.datasets import Samples, store
from mien.training.checkpoints import readable
from mien.training.expression.data import Images
from mien.training.expression.module import ExpressionModule
from mien.training.recipe import Recipe
from mien.training.tasks import TaskSpec, TrainingSetup

__all__ = ["TASK", "export", "load_task", "setup"]


def setup(recipe: Recipe, samples: Samples) -> TrainingSetup:
    """What `recipe` learns from `samples`, which have the splits `train` and `val`.

    Raises:
        ConfigError: The recipe's network or its options do not exist, or the data lacks what a head learns from.
        DataError: The data is too small.
    """
    data = Images(samples, recipe)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    task = ExpressionModule(recipe.model_dump(mode="json"), {name: list(names) for name, names in data.classes.items()})
    task.to(memory_format=torch.channels_last)
    return TrainingSetup(task, data, _fingerprint(samples), task.load_pretrained)


def _fingerprint(samples: Samples) -> dict[str, Any]:
    """What tells one body of data from another."""
    digest = hashlib.sha256()
    for array in (
        samples.images,
        samples.targets,
        samples.split,
        samples.votes,
        samples.soft_labels,
        samples.soft_votes,
    ):
        if array is not None:
            digest.update(array.tobytes())
    plain: dict[str, Any] = json.loads(json.dumps({"about": samples.about, "counts": samples.counts()}))
    return plain | {"sha256": digest.hexdigest()}


def load_task(checkpoint: Path) -> ExpressionModule:
    """The task in a checkpoint, with the averaged weights where there are any, in evaluation mode.

    Raises:
        WeightsError: The file is no checkpoint of mien's; pickled code in it is refused, never run.
    """
    with readable(checkpoint):
        return ExpressionModule.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()


def export(
    recipe: Recipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run, judged on the val split of the store `data`; see `mien.training.export_run`."""
    from mien.training.expression.export import export_run

    return export_run(folder, store.load(data, "val"), out, checkpoint=checkpoint, licence=licence)


TASK = TaskSpec(Recipe, store.load, setup, export)
