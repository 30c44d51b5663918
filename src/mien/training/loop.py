"""Runs a recipe: `fit` trains, resumes and leaves a run folder behind.

A run folder holds `recipe.toml` (resolved), `data.json` (what was learnt from), `metrics.csv`, `curves.png`,
`last.ckpt` (written at each epoch's end) and `best.ckpt`; and `interrupted.ckpt` after Ctrl-C within an epoch.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from mien.errors import ConfigError, MienError, OutputError
from mien.training import checkpoints
from mien.training.checkpoints import BestCheckpoint, CheckpointFiles
from mien.training.curves import CurvesLog
from mien.training.ema import averaging
from mien.training.hardware import Hardware, first_process, precision
from mien.training.interrupt import Interrupt
from mien.training.progress import ProgressView
from mien.training.recipe import load, to_toml
from mien.training.recipe_base import RunRecipe, better
from mien.training.silence import quiet
from mien.training.stages import Place, Rounds
from mien.training.tasks import TrainingSetup, kind
from mien.training.tensorboard import tensorboard_log
from mien.training.watch import Watch
from mien.training.weights import take

__all__ = ["fit"]

_TOLD, _BRIEF = 3, 60  # differences that are named, and the length of what is said of each


def fit(
    recipe: RunRecipe,
    data: Any,
    folder: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
    hardware: Hardware | None = None,
    tell: Callable[[str], None] = lambda _: None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Trains `recipe` on `data`; everything lands in `folder`.

    Args:
        recipe: What to do.
        data: What this kind of recipe learns from; for expressions `Samples` with the splits `train` and `val`.
        folder: The run's folder; made where it is missing.
        resume: Go on from the last complete epoch of a run that was cut off, to the same result.
        progress: Show how far the run is, on standard error.
        tensorboard: Write TensorBoard's logs as well, into `folder`/tensorboard.
        hardware: One device where nothing is said.
        tell: Called with each line a person should know of.
        callbacks: More of Lightning's.

    Returns:
        The best checkpoint.

    Raises:
        OutputError: The folder holds another run and `resume` is false, or cannot be written.
        ConfigError: The recipe's network or its options do not exist; `resume` with another recipe or other data, or
            nothing to resume; a batch cannot be divided among the processes.
        WeightsError: `resume` from a damaged or foreign checkpoint, or such weights to start from.
        MissingExtraError: TensorBoard is not installed.
        DivergedError: The loss is no number any more.
        StoppedError: Ctrl-C came.
    """
    hardware = hardware or Hardware()
    hardware.check(recipe)
    more_logs = [tensorboard_log(folder)] if tensorboard else []
    setup = kind(recipe.task).setup(recipe, data)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    last = _resumable(folder, recipe, setup) if resume else None
    if last is None:
        if recipe.start:  # which has every weight that published ones would give
            for line in take(setup.task, recipe.start):
                tell(line)
        else:
            setup.begin()
    with quiet("lightning.pytorch"):
        _trainer(hardware, logger=False)  # what Lightning refuses of it, it shall refuse before there is a folder
    if not resume and first_process():  # other processes are started once the folder is there
        _prepare(folder, recipe, setup)  # after all that a wrong recipe can break, which leaves no folder then
    if first_process():
        (folder / "interrupted.ckpt").unlink(missing_ok=True)
    view, interrupt = [ProgressView(recipe)] if progress else [], Interrupt(folder)
    place = Place.of(last) if last else Place()
    with quiet("lightning.pytorch"), interrupt.listening(tell):
        for number in range(place.number + place.done, len(recipe.all_rounds)):
            going_on = last is not None and number == place.number
            first = place.first if going_on else place.epoch
            best = BestCheckpoint(folder, recipe.select)
            if number and not going_on:
                _go_on_from_best(setup.task, best, folder)
            log = CurvesLog(folder, resume=resume or number > 0)
            for each in view:
                each.begin_round(number, log.rows)
            rounds = Rounds(number, first, recipe.all_rounds[number].epochs)
            trainer = _trainer(
                hardware,
                default_root_dir=folder,
                max_epochs=first + rounds.epochs,
                precision=precision(recipe),
                logger=[log, *more_logs],
                callbacks=[Watch(tell), rounds, interrupt, *view, *callbacks, *_callbacks(recipe), best, _last(folder)],
                plugins=[CheckpointFiles()],
            )
            checkpoint = str(folder / "last.ckpt") if going_on else None
            trainer.fit(setup.task, setup.data, ckpt_path=checkpoint, weights_only=True)
            if interrupt.came:
                raise interrupt.error(f"after epoch {trainer.current_epoch}")
            place = Place(number, first, True, trainer.current_epoch)
    return folder / "best.ckpt"


def _trainer(hardware: Hardware, **settings: Any) -> lightning.Trainer:
    try:
        return lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=hardware.strategy,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1_000_000,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            **settings,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{hardware}: Lightning refuses it: {reason}", hint="see --devices, --nodes and --strategy"
        ) from error


def _go_on_from_best(task: lightning.LightningModule, best: BestCheckpoint, folder: Path) -> None:
    """A round begins with the best weights so far, and is measured against them."""
    best.load_state_dict(checkpoints.read(folder / "last.ckpt")["callbacks"][best.state_key])
    task.load_state_dict(checkpoints.read(folder / "best.ckpt")["state_dict"])


def _resumable(folder: Path, recipe: RunRecipe, setup: TrainingSetup) -> dict[str, Any] | None:
    """The last checkpoint of a run of this recipe on this data; none where it was cut off in its first epoch."""
    last, begun = folder / "last.ckpt", folder / "recipe.toml"
    if not last.is_file() and not begun.is_file():
        raise ConfigError(f"{folder}: nothing to resume, it holds no run", hint="start it without --resume")
    try:
        other = _unlike(load(begun), recipe)
    except MienError:
        other = ["its recipe.toml is missing or damaged"]
    if other:
        raise ConfigError(
            f"{folder}: was begun with another recipe: {'; '.join(other)}",
            hint=f"resume it as it is, or begin a new run from its weights: --from {folder}",
        )
    if reason := _difference(_text(folder / "data.json"), setup.fingerprint):
        raise ConfigError(f"{folder}: was begun on other data: {reason}", hint="resume with the same store")
    return checkpoints.read(last) if last.is_file() else None


def _unlike(before: RunRecipe, now: RunRecipe) -> list[str]:
    """Keys that two recipes decide otherwise."""
    was, is_ = (_flat(recipe.model_dump(mode="json")) for recipe in (before, now))
    return [f"{key} was {was.get(key)}, is {is_.get(key)}" for key in (was | is_) if was.get(key) != is_.get(key)]


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def _difference(text: str, fingerprint: dict[str, Any]) -> str:
    """What tells the data of a run from that of another; empty where nothing does."""
    try:
        before = json.loads(text)
    except ValueError:
        return "its data.json is missing or damaged"
    if not isinstance(before, dict):
        return "its data.json is damaged"
    now = json.loads(json.dumps(fingerprint))
    hashes = [table.pop("sha256", None) for table in (before, now)]
    if "sha256" in fingerprint and hashes[0] == hashes[1] and before.get("counts") == now.get("counts"):
        return ""  # images and targets are the same; what the store says of where they came from may differ
    was, is_ = _flat(before), _flat(now)
    keys = [key for key in (was | is_) if was.get(key) != is_.get(key)]
    told = [f"{key} was {_brief(was.get(key))}, is {_brief(is_.get(key))}" for key in keys[:_TOLD]]
    if len(keys) > _TOLD:
        told.append(f"and {len(keys) - _TOLD} more")
    if hashes[0] != hashes[1] and not told:
        told.append("other images or targets, as many as before")
    return "; ".join(told)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."


def _prepare(folder: Path, recipe: RunRecipe, setup: TrainingSetup) -> None:
    if (folder / "recipe.toml").exists():
        raise OutputError(f"{folder}: holds a run already", hint="choose another --out, or --resume it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
        (folder / "data.json").write_text(json.dumps(setup.fingerprint, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", hint="choose another --out") from error


def _text(path: Path) -> str:
    """A file of the run; empty where it is missing."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _callbacks(recipe: RunRecipe) -> list[Callback]:
    callbacks: list[Callback] = [averaging(recipe.averaging)] if recipe.averaging else []
    if recipe.stopping:
        monitor = recipe.stopping.monitor
        callbacks.append(EarlyStopping(monitor, mode=better(monitor), patience=recipe.stopping.patience))
    return callbacks


def _last(folder: Path) -> ModelCheckpoint:
    """Writes `last.ckpt`; it comes after all other callbacks, whose states it keeps."""
    return ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
