"""The task "expression": networks that classify the expression of a face."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any, Final

import torch

from mien import models
from mien.datasets import Samples, store
from mien.datasets.folds import check_subjects
from mien.training.checkpoints import load_module
from mien.training.expression.capsules import write_redrawn
from mien.training.expression.data import ExpressionData
from mien.training.expression.export import export_run
from mien.training.expression.module import ExpressionModule
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.hardware import seed_everything
from mien.training.tasks import OtherDataWarning, TaskSpec, TrainingSetup

__all__ = ["TASK"]

_MEASURED: Final = 256  # training images on which the statistics of batch norms are measured


def _setup(recipe: ExpressionRecipe, samples: Samples) -> TrainingSetup:
    """What the loop needs to train `recipe` on `samples` with the splits `train` and `val`; see `TaskSpec`."""
    check_subjects(samples)  # the same face in training and validation makes the run choose the wrong epoch
    data = ExpressionData(samples, recipe)
    seed_everything(recipe.seed)
    classes = {name: list(names) for name, names in data.classes.items()}
    module = ExpressionModule(recipe.model_dump(mode="json"), classes)
    module.set_class_weights(data.class_weights)
    module.set_shares(data.shares)
    module.check_augmentation()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def load_pretrained() -> dict[str, str]:
        origin = module.load_pretrained()
        if origin is None:
            return {}
        if models.lacks_statistics(recipe.model.name):
            module.set_statistics(data.some_images(_MEASURED))
        return origin.as_dict()

    def finish(folder: Path) -> None:
        if module.decoder is not None:
            best = load_module(ExpressionModule, folder / "best.ckpt").eval()
            write_redrawn(best, samples.only("val"), folder)

    return TrainingSetup(module, data, _fingerprint(samples, recipe), load_pretrained, finish)


def _adapt(recipe: ExpressionRecipe, samples: Samples) -> tuple[ExpressionRecipe, list[str]]:
    """Leaves out of optional heads what the data lacks.

    That is a head without labels, unless no head that learns classes would remain, soft targets, and, if all heads are
    optional, the covers of faces without keypoints.
    """
    absent = {"votes": samples.votes is None, "affect": samples.affect is None}
    missing = [name for name, head in recipe.heads.items() if head.optional and absent.get(head.source)]
    if not set(recipe.class_heads) - set(missing):
        missing = []
    what = {"votes": "learns from votes", "affect": "learns valence and arousal"}
    told = [
        f"the head '{name}' is left out: it {what[recipe.heads[name].source]}, and the data has none"
        for name in missing
    ]
    heads = {name: head for name, head in recipe.heads.items() if name not in missing}
    soft = {"labels": samples.soft_labels, "votes": samples.soft_votes}
    for name, head in heads.items():
        if head.optional and head.soft and soft[head.source] is None:
            heads[name] = head.model_copy(update={"soft": 0.0})
            told.append(f"the head '{name}' learns from {head.source} alone: the data has no soft targets")
    changes: dict[str, Any] = {"heads": heads}
    if recipe.augmentation.covers and samples.keypoints is None and all(head.optional for head in heads.values()):
        changes["augmentation"] = recipe.augmentation.model_copy(update={"covers": 0.0})
        told.append("no covers are drawn: the data has no keypoints")
    return (recipe.model_copy(update=changes), told) if told else (recipe, [])


def _fingerprint(samples: Samples, recipe: ExpressionRecipe) -> dict[str, Any]:
    """What tells one data set from another."""
    digest = hashlib.sha256()
    names = ["images", "targets", "split", "votes", "soft_labels", "soft_votes", "weights"]
    names += ["affect"] * (len(recipe.class_heads) < len(recipe.heads))
    names += ["keypoints"] * models.reads_keypoints(recipe.model.name)
    names += ["clip_labels", "frames"] * models.reads_windows(recipe.model.name)
    for name in names:
        if (array := getattr(samples, name)) is not None:
            digest.update(array.tobytes())
    return {"about": dict(samples.about), "counts": samples.counts(), "sha256": digest.hexdigest()}


def _export(
    recipe: ExpressionRecipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run with the store `data`; see `export_run`."""
    samples = store.load(data)
    trained = samples.only("train") if "train" in samples.counts() else None
    if not _learned_from(folder, samples, recipe):
        warnings.warn(
            f"{folder} was trained on other data than {data}: the temperature, the scores and the class shares in the "
            "file will be those of this data",
            OtherDataWarning,
            stacklevel=2,
        )
    return export_run(folder, samples.only("val"), out, trained=trained, checkpoint=checkpoint, licence=licence)


def _learned_from(folder: Path, samples: Samples, recipe: ExpressionRecipe) -> bool:
    """Whether a run was trained on this data; True if it does not say."""
    try:
        before = json.loads((folder / "data.json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return bool(before == _fingerprint(samples, recipe)["sha256"])


TASK = TaskSpec(store.load, _setup, _export, _adapt)
