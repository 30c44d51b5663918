"""The kinds of recipe: each teaches something else, and all share trainer, checkpoints, resuming, curves, progress."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import lightning

from mien.errors import ConfigError
from mien.training.recipe_base import RunRecipe

__all__ = ["TaskSpec", "TrainingSetup", "kind"]

# By a recipe's key `task`: the module with the `TASK`, loaded when it is asked for.
_MODULES: Final = {"detection": "mien.training.detection", "expression": "mien.training.expression"}


@dataclass(frozen=True)
class TrainingSetup:
    """What the trainer needs.

    Attributes:
        task: The network with its losses, figures and optimiser. Its hyper-parameters are plain types, so that its
            checkpoints load with `weights_only`; it seeds each epoch from (seed, epoch), so that a resumed run goes on
            exactly as the one that was cut off.
        data: Its training batches are asked for anew each epoch, in an order that seed and epoch alone decide.
        fingerprint: Plain types that tell one body of data from another; kept as `data.json`.
        begin: Called before a run that is not resumed, such as to take published weights.
    """

    task: lightning.LightningModule
    data: lightning.LightningDataModule
    fingerprint: dict[str, Any]
    begin: Callable[[], None] = lambda: None


class Exporter(Protocol):
    """Writes what a run has learnt; returns the files."""

    def __call__(
        self, recipe: Any, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
    ) -> list[Path]: ...


@dataclass(frozen=True)
class TaskSpec:
    """One kind of recipe.

    Attributes:
        recipe: Its class; its field `task` is the kind's name.
        read: From the path given as `--data` to what `setup` learns from.
        setup: From a recipe and that data to what the trainer needs; all that a wrong recipe can break, breaks here,
            before a run's folder is made.
        export: From a run of such a recipe to an ONNX file and what belongs beside it.
    """

    recipe: type[RunRecipe]
    read: Callable[[Path], Any]
    setup: Callable[[Any, Any], TrainingSetup]
    export: Exporter


def kind(name: object) -> TaskSpec:
    """The kind of a recipe whose key `task` is `name`.

    Raises:
        ConfigError: There is no such kind.
    """
    if not isinstance(name, str) or name not in _MODULES:
        raise ConfigError(f"task: there is no kind of recipe '{name}'", hint=f"known: {', '.join(sorted(_MODULES))}")
    found: TaskSpec = importlib.import_module(_MODULES[name]).TASK
    return found
