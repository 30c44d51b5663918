"""The task "expression": networks that classify the expression of a face."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import seed_everything

from mien.datasets import Samples, store
from mien.training.expression.data import ExpressionData
from mien.training.expression.export import export_run
from mien.training.expression.module import ExpressionModule
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.tasks import TaskSpec, TrainingSetup

__all__ = ["TASK"]


def _setup(recipe: ExpressionRecipe, samples: Samples) -> TrainingSetup:
    """What the loop needs to train `recipe` on `samples` with the splits `train` and `val`; see `TaskSpec`."""
    data = ExpressionData(samples, recipe)
    seed_everything(recipe.seed, workers=True, verbose=False)
    classes = {name: list(names) for name, names in data.classes.items()}
    module = ExpressionModule(recipe.model_dump(mode="json"), classes)
    module.set_class_weights(data.class_weights)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingSetup(module, data, _fingerprint(samples), module.load_pretrained)


def _fingerprint(samples: Samples) -> dict[str, Any]:
    """What tells one data set from another."""
    digest = hashlib.sha256()
    for name in ("images", "targets", "split", "votes", "soft_labels", "soft_votes"):
        if (array := getattr(samples, name)) is not None:
            digest.update(array.tobytes())
    return {"about": dict(samples.about), "counts": samples.counts(), "sha256": digest.hexdigest()}


def _export(
    recipe: ExpressionRecipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run with the val split of the store `data`; see `export_run`."""
    return export_run(folder, store.load(data, "val"), out, checkpoint=checkpoint, licence=licence)


TASK = TaskSpec(store.load, _setup, _export)
