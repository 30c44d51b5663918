"""Runs a recipe: `fit` trains, or resumes a run, and leaves a run folder behind.

A run folder holds `recipe.toml` (resolved), `data.json` (the fingerprint of the data), `pretrained.json` (where the
published weights come from, if it started from any), `metrics.csv`, `curves.png`, `redrawn.png` (only with a decoder),
`best.ckpt` and `last.ckpt` (written after each epoch), and, if asked for, the folder `tensorboard`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien.errors import ConfigError, MienError, OutputError
from mien.files import new_file
from mien.models import Origin
from mien.training import checkpoints, weights
from mien.training.hardware import Hardware, first_process, seed_everything
from mien.training.logs import MetricsLog, check_tensorboard
from mien.training.loop import Callback, Interrupt, Run
from mien.training.progress import ProgressView
from mien.training.recipe import RunRecipe, check, load, shorten, to_toml
from mien.training.silence import silenced
from mien.training.tasks import TrainingSetup, task_spec

_NAMED: Final = 3  # differences that a message names
# What a run writes before its first checkpoint; the checkpoints may be cut off.
_EARLY: Final = (
    "recipe.toml",
    "data.json",
    "pretrained.json",
    "metrics.csv",
    "curves.png",
    "best.ckpt.partial",
    "last.ckpt.partial",
)
_EVENTS: Final = "events.out.tfevents."  # files of TensorBoard begin with this


@dataclass(frozen=True)
class FitOptions:
    """How a run is carried out; nothing here changes its result.

    Attributes:
        resume: Continue from the last complete epoch of a run that was stopped, to the same result.
        progress: Show the progress on standard error: True, or a view of one's choice.
        tensorboard: Write TensorBoard's logs as well, into the folder `tensorboard` of the run.
        hardware: The devices.
        tell: Called with each message for the user.
        callbacks: Called during the run.
    """

    resume: bool = False
    progress: bool | ProgressView = True
    tensorboard: bool = False
    hardware: Hardware = field(default_factory=Hardware)
    tell: Callable[[str], None] = lambda _: None
    callbacks: Sequence[Callback] = ()


def fit(recipe: RunRecipe, data: Any, folder: Path, options: FitOptions | None = None) -> Path:
    """Trains `recipe` on `data` and writes everything into `folder`.

    Args:
        recipe: What to do.
        data: The data of the recipe's task; for expressions `Samples` with the splits `train` and `val`.
        folder: The run's folder; made if it is missing.
        options: How to do it.

    Returns:
        The best checkpoint.

    Raises:
        OutputError: The folder holds another run with a checkpoint, or one that may still be resumed, and `resume` is
            false; or it cannot be written.
        ConfigError: The recipe's network or its options do not exist; `resume` with another recipe or other data, or
            without a run in the folder; the devices cannot be used.
        DataError: The data lacks what the recipe needs.
        WeightsError: The checkpoint to resume, or the weights to start from, are damaged or foreign.
        MissingExtraError: TensorBoard is not installed.
        DivergedError: The loss became NaN or infinite.
        StoppedError: Ctrl-C or SIGTERM came.
    """
    options = options or FitOptions()
    recipe = weights.with_pretrained(
        recipe.model_copy(update={"score": ()})
    )  # published scores are not those of this run
    task = task_spec(recipe.task)
    asked = recipe
    recipe, notes = task.adapt(asked, data)
    for note in notes:
        options.tell(note)
    check(recipe)
    with silenced("lightning"):
        fabric = options.hardware.fabric(recipe)
    if options.tensorboard:
        check_tensorboard()
    setup = task.setup(recipe, data)
    seed_everything(recipe.seed)
    last = _resumable(folder, asked, recipe, setup, options.tell) if options.resume else None
    origin: Mapping[str, str] = {}
    if last is None and recipe.init_from:  # these weights replace any published ones
        source = weights.load_source(recipe.init_from)
        for line in weights.init_weights(setup.module, source):
            options.tell(line)
        origin = source.pretrained
    elif last is None:
        origin = setup.load_pretrained()
        if origin:
            options.tell(f"pretrained weights: {Origin(**origin)}")
    if first_process() and not options.resume:  # other processes are started once the folder is there
        _prepare(folder, recipe, setup, origin)  # last: no error that a wrong recipe causes leaves a folder behind
    interrupt, callbacks = Interrupt(folder, options.tell), list(options.callbacks)
    if options.progress:
        callbacks.insert(0, options.progress if isinstance(options.progress, ProgressView) else ProgressView())
    with silenced("lightning"), interrupt.listening(alone=options.hardware.processes == 1):
        fabric.launch()
        log = MetricsLog(folder, resume=options.resume, tensorboard=options.tensorboard and first_process())
        try:
            run = Run(fabric, recipe, setup, log=log, interrupt=interrupt, callbacks=callbacks, tell=options.tell)
            run.train(last)
        finally:
            if first_process():
                log.close()
        if first_process():
            setup.finish(folder)
    return folder / "best.ckpt"


def _resumable(
    folder: Path, asked: RunRecipe, recipe: RunRecipe, setup: TrainingSetup, tell: Callable[[str], None]
) -> dict[str, Any] | None:
    """The last checkpoint of a run of this recipe on this data; None if it was stopped in its first epoch.

    Args:
        folder: The run's folder.
        asked: The recipe that was given.
        recipe: The same, adapted to the data.
        setup: For this recipe and this data.
        tell: Takes messages.
    """
    last, started = folder / "last.ckpt", folder / "recipe.toml"
    if not last.is_file() and not started.is_file():
        raise ConfigError(
            f"{folder}: nothing to resume: the folder does not contain a run", hint="start without --resume"
        )
    adapted = ""  # what the data changed in the recipe
    try:
        first = load(started).model_dump(mode="json")
        changes = adapted = _changes(first, recipe.model_dump(mode="json"))
        if not _changes(first, asked.model_dump(mode="json")):
            changes = ""
    except MienError:
        changes = "its recipe.toml is missing or damaged"
    if changes:
        raise ConfigError(
            f"{folder}: was started with another recipe: {changes}",
            hint=f"resume it without changes, or start a new run from its weights: --from {folder}",
        )
    try:
        before = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        changes = _data_changes(before, json.loads(json.dumps(setup.fingerprint))) or adapted
    except (OSError, ValueError, AttributeError, TypeError):
        changes = "its data.json is missing or damaged"
    if changes:
        raise ConfigError(f"{folder}: was started on other data: {changes}", hint="resume with the same data")
    if not last.is_file():
        return None
    found = checkpoints.read(last)
    if found["state"]["done"] and found["state"]["stage"] == len(recipe.all_stages) - 1:
        tell("the run is complete: there is nothing left to train")
    return found


def _data_changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs between two fingerprints of data; empty if nothing does."""
    hashes = [table.pop("sha256", None) for table in (before, now)]
    if hashes[0] == hashes[1] is not None and before.get("counts") == now.get("counts"):
        return ""  # images and targets are the same; what the store says about their origin may differ
    same = "other images or targets, the same number as before" if hashes[0] != hashes[1] else ""
    return _changes(before, now) or same


def _changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The keys of nested tables whose values differ."""
    was, is_ = _flat(before), _flat(now)
    found = [
        f"{key} was {shorten(str(was.get(key)))}, is {shorten(str(is_.get(key)))}"
        for key in was | is_
        if was.get(key) != is_.get(key)
    ]
    more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return "; ".join([*found[:_NAMED], *more])


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def _prepare(folder: Path, recipe: RunRecipe, setup: TrainingSetup, origin: Mapping[str, str]) -> None:
    if (folder / "recipe.toml").exists() and not _failed(folder):
        raise OutputError(f"{folder}: already contains a run", hint="choose another --out, or --resume it")
    try:
        if (folder / "recipe.toml").exists():
            _remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights.write_origin(folder, origin)
        # The recipe comes last: where it is, there is a run, which can be resumed.
        with new_file(folder / "data.json", "w", encoding="utf-8") as file:
            file.write(json.dumps(setup.fingerprint, indent=1) + "\n")
        with new_file(folder / "recipe.toml", "w", encoding="utf-8") as file:
            file.write(to_toml(recipe))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", hint="choose another --out") from error


def _failed(folder: Path) -> bool:
    """Whether the run in a folder failed at the end of its first epoch, and nothing else is there.

    It diverged, or its first checkpoint could not be written: its metrics are there, and no checkpoint. Without metrics
    it may be running, or can be resumed.
    """
    others = [path.name for path in folder.iterdir() if path.name not in (*_EARLY, "tensorboard")]
    events = folder / "tensorboard"
    foreign = events.exists() and not all(path.name.startswith(_EVENTS) for path in events.iterdir())
    return (folder / "metrics.csv").is_file() and not others and not foreign


def _remove(folder: Path) -> None:
    """Removes what a failed run left; see `_failed`."""
    for path in [*(folder / name for name in _EARLY), *(folder / "tensorboard").glob(f"{_EVENTS}*")]:
        path.unlink(missing_ok=True)
