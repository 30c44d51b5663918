"""Runs a recipe: `fit` trains, resumes and leaves a run folder behind.

A run folder holds `recipe.toml` (resolved), `data.json` (what was learnt from), `metrics.csv`, `curves.png`,
`last.ckpt` (written at each epoch's end) and `best.ckpt`.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal

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

from mien.errors import ConfigError, OutputError
from mien.training.checkpoints import CheckpointFiles, readable
from mien.training.curves import CurvesLog
from mien.training.kinds import Lesson, kind
from mien.training.quiet import quiet
from mien.training.recipe import to_toml
from mien.training.tables import RunRecipe

__all__ = ["fit"]


def fit(recipe: RunRecipe, data: Any, folder: Path, *, resume: bool = False, progress: bool = True) -> Path:
    """Trains `recipe` on `data`; everything lands in `folder`.

    Args:
        recipe: What to do.
        data: What this kind of recipe learns from; for expressions `Samples` with the splits `train` and `val`.
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
    lesson = kind(recipe.task).lesson(recipe, data)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    if not resume:
        lesson.begin()
    _prepare(folder, recipe, lesson, resume)  # after all that a wrong recipe can break, which leaves no folder then
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
        trainer.fit(lesson.task, lesson.data, ckpt_path=str(last) if resume else None, weights_only=True)
    return folder / "best.ckpt"


def _prepare(folder: Path, recipe: RunRecipe, lesson: Lesson, resume: bool) -> None:
    recipe_text, data_text = to_toml(recipe), json.dumps(lesson.fingerprint, indent=1) + "\n"
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


def _precision(recipe: RunRecipe) -> Any:
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed"


def _mode(figure: str) -> Literal["min", "max"]:
    return "min" if figure.endswith("loss") else "max"


def _callbacks(recipe: RunRecipe, folder: Path, progress: bool) -> list[Callback]:
    callbacks: list[Callback] = []
    if recipe.averaging:
        callbacks.append(EMAWeightAveraging(decay=recipe.averaging, use_buffers=True))
    callbacks += [
        ModelCheckpoint(
            dirpath=folder,
            filename="best",
            monitor=recipe.select,
            mode=_mode(recipe.select),
            enable_version_counter=False,
        ),
        ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True),
    ]
    if recipe.stopping:
        monitor = recipe.stopping.monitor
        callbacks.append(EarlyStopping(monitor, mode=_mode(monitor), patience=recipe.stopping.patience))
    if progress:
        callbacks.append(RichProgressBar() if os.isatty(2) else TQDMProgressBar(refresh_rate=50))
    return callbacks
