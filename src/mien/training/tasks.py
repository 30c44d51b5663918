"""The tasks that recipes train for: one folder each, which gives data, module and export to the shared loop."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from mien.training.recipe import check_task

# By name of a metric: the sum of its values and how many they are. The loop adds them up and divides once an epoch.
Sums: TypeAlias = dict[str, tuple[Tensor, Tensor | int]]


class TrainingModule(nn.Module):
    """A network with its losses and metrics.

    Attributes:
        network: The network that is exported.
        hyper_parameters: Arguments that build this module again; plain types, so that checkpoints load with
            `weights_only`.
        epoch: Number of the present epoch, from 0; set by the loop.
    """

    network: nn.Module

    def __init__(self, **hyper_parameters: Any) -> None:
        super().__init__()
        self.hyper_parameters = hyper_parameters
        self.epoch = 0

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """The class names of each classification head."""
        found: Mapping[str, Sequence[str]] = self.hyper_parameters.get("classes", {})
        return found

    def training_step(self, batch: Any) -> tuple[Tensor, Sums]:
        """The loss of a batch, and the sums of its training metrics, `train/loss` among them."""
        raise NotImplementedError

    def validation_step(self, batch: Any) -> Sums:
        """The sums of a batch's validation metrics, `val/loss` among them."""
        raise NotImplementedError

    def joined(self, metrics: dict[str, float]) -> dict[str, float]:
        """The validation metrics of an epoch, made of the means of what `validation_step` sums up."""
        return metrics


class Batches(Protocol):
    """Batches of one epoch, of known number."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class TrainingData(Protocol):
    """Batches of a training and a validation split; batches that are not on the device are moved by the loop.

    The training batches of an epoch come in an order that the seed and the epoch alone decide; `part` (r, n) selects
    the share of each batch for the r-th of n processes. The validation split is whole, always in the same order.
    """

    def train_batches(self, epoch: int, part: tuple[int, int] = (0, 1), device: torch.device | None = None) -> Batches:
        """The batches of an epoch."""
        ...

    def val_batches(self, device: torch.device | None = None) -> Batches:
        """The batches of the validation split."""
        ...


@dataclass(frozen=True)
class TrainingSetup:
    """What the loop needs.

    Attributes:
        module: The network with its losses and metrics.
        data: The batches.
        fingerprint: Plain types that tell one data set from another; saved as `data.json`.
        load_pretrained: Called before a run that neither resumes nor starts from another run; loads the published
            weights that the recipe names, and returns where they come from, if it names any.
        finish: Called at the end of a complete run with its folder, to add pictures to it.
    """

    module: TrainingModule
    data: TrainingData
    fingerprint: dict[str, Any]
    load_pretrained: Callable[[], Mapping[str, str]] = dict
    finish: Callable[[Path], None] = lambda folder: None


class Exporter(Protocol):
    """Exports a run; returns the files written."""

    def __call__(
        self, recipe: Any, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
    ) -> list[Path]:
        """See `mien.training.export_run`."""


class OtherDataWarning(UserWarning):
    """A run is exported with other data than it was trained on."""


@dataclass(frozen=True)
class TaskSpec:
    """One task, the `TASK` of its folder. The class of its recipes is the `RECIPE` of the folder's `recipe.py`.

    Attributes:
        read: Reads the path given as `--data`.
        setup: Makes what the loop needs of a recipe and that data. It raises every error that a wrong recipe can
            cause, because a run's folder is made only after it.
        export: Writes an ONNX file and what belongs beside it from a run.
        adapt: Makes the recipe for this data of a recipe and the data, and messages about the difference.
    """

    read: Callable[[Path], Any]
    setup: Callable[[Any, Any], TrainingSetup]
    export: Exporter
    adapt: Callable[[Any, Any], tuple[Any, list[str]]] = lambda recipe, data: (recipe, [])


def task_spec(name: str) -> TaskSpec:
    """The task of that name.

    Raises:
        ConfigError: There is no such task.
    """
    found: TaskSpec = importlib.import_module(f"mien.training.{check_task(name)}").TASK
    return found
