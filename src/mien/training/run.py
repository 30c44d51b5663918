"""Runs a recipe: `fit` trains, resumes and leaves a run folder behind.

A run folder holds `recipe.toml` (resolved), `data.json` (what was learnt from), `metrics.csv`, `curves.png`,
`last.ckpt` (written at each epoch's end) and `best.ckpt`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
    TQDMProgressBar,
)

from mien.datasets import Samples
from mien.errors import ConfigError, OutputError
from mien.training.checkpoints import CheckpointFiles, readable
from mien.training.curves import CurvesLog
from mien.training.data import Pictures
from mien.training.quiet import quiet
from mien.training.recipe import Recipe, to_toml
from mien.training.task import Task

__all__ = ["fit", "load_task"]


def fit(recipe: Recipe, samples: Samples, folder: Path, *, resume: bool = False, progress: bool = True) -> Path:
    """Trains `recipe` on `samples`; everything lands in `folder`.

    Args:
        recipe: What to do.
        samples: With the splits `train` and `val`.
        folder: The run's folder; made where it is missing.
        resume: Go on from the last complete epoch of a run that was cut off, to the same result.
        progress: Show a progress bar.

    Returns:
        The best checkpoint.

    Raises:
        OutputError: The folder holds another run and `resume` is false, or cannot be written.
        ConfigError: The recipe's network or its options do not exist; `resume` with another recipe or other data, or
            nothing to resume.
        WeightsError: `resume` from a damaged or foreign checkpoint.
    """
    data = Pictures(samples, recipe)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    task = Task(recipe.model_dump(mode="json"), {name: list(names) for name, names in data.classes.items()})
    if not resume:
        task.load_pretrained()
    task.to(memory_format=torch.channels_last)
    _prepare(folder, recipe, samples, resume)  # after all that a wrong recipe can break, which leaves no folder then
    with quiet("lightning.pytorch"):
        trainer = lightning.Trainer(
            default_root_dir=folder,
            max_epochs=recipe.epochs,
            precision=_precision(recipe),
            logger=CurvesLog(folder, resume=resume),
            callbacks=_callbacks(recipe, folder, progress),
            plugins=[CheckpointFiles()],
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1_000_000,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
        last = folder / "last.ckpt"
        trainer.fit(task, data, ckpt_path=str(last) if resume else None, weights_only=True)
    return folder / "best.ckpt"


def _prepare(folder: Path, recipe: Recipe, samples: Samples, resume: bool) -> None:
    recipe_text, data_text = to_toml(recipe), json.dumps(_fingerprint(samples), indent=1) + "\n"
    if resume:
        last = folder / "last.ckpt"
        if not last.is_file():
            raise ConfigError(f"{folder}: nothing to resume, there is no last.ckpt", hint="start it without --resume")
        if _text(folder / "recipe.toml") != recipe_text:
            raise ConfigError(f"{folder}: was begun with another recipe", hint="resume with the run's own recipe.toml")
        if _text(folder / "data.json") != data_text:
            raise ConfigError(f"{folder}: was begun on other data", hint="resume with the same store")
        with readable(last):
            torch.load(last, map_location="cpu", weights_only=True)
        return
    if (folder / "recipe.toml").exists():
        raise OutputError(f"{folder}: holds a run already", hint="choose another --out, or --resume it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_text(recipe_text, encoding="utf-8")
        (folder / "data.json").write_text(data_text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", hint="choose another --out") from error


def _text(path: Path) -> str:
    """A file of the run; empty where it is missing."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _fingerprint(samples: Samples) -> dict[str, Any]:
    """What tells one body of data from another."""
    digest = hashlib.sha256()
    for array in (samples.images, samples.targets, samples.split, samples.votes):
        if array is not None:
            digest.update(array.tobytes())
    plain: dict[str, Any] = json.loads(json.dumps({"about": samples.about, "counts": samples.counts()}))
    return plain | {"sha256": digest.hexdigest()}


def _precision(recipe: Recipe) -> Any:
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed"


def _callbacks(recipe: Recipe, folder: Path, progress: bool) -> list[Callback]:
    higher = recipe.select.endswith("accuracy")
    callbacks: list[Callback] = []
    if recipe.averaging:
        callbacks.append(EMAWeightAveraging(decay=recipe.averaging, use_buffers=True))
    callbacks += [
        ModelCheckpoint(
            dirpath=folder,
            filename="best",
            monitor=recipe.select,
            mode="max" if higher else "min",
            enable_version_counter=False,
        ),
        ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True),
    ]
    if recipe.stopping:
        monitor = recipe.stopping.monitor
        mode = "max" if monitor.endswith("accuracy") else "min"
        callbacks.append(EarlyStopping(monitor, mode=mode, patience=recipe.stopping.patience))
    if progress:
        callbacks.append(RichProgressBar() if os.isatty(2) else TQDMProgressBar(refresh_rate=50))
    return callbacks


def load_task(checkpoint: Path) -> Task:
    """The task in a checkpoint, with the averaged weights where there are any, in evaluation mode.

    Raises:
        WeightsError: The file is no checkpoint of mien's; pickled code in it is refused, never run.
    """
    with readable(checkpoint):
        return Task.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()
