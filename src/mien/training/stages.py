"""The rounds of a run: where it stands, kept in its checkpoints, so that a run that was cut off finds its round."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from mien.training.recipe_base import RunRecipe

__all__ = ["Place", "Rounds", "in_round"]


@dataclass(frozen=True)
class Place:
    """Where a run stands.

    Attributes:
        number: Of the round, from 0.
        first: The first of the round's epochs; they are counted through all rounds.
        done: The round is over.
        epoch: Whole epochs that are done.
    """

    number: int = 0
    first: int = 0
    done: bool = False
    epoch: int = 0

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> "Place":
        """Where a checkpoint, written at an epoch's end, leaves its run."""
        epoch = int(checkpoint["epoch"]) + 1
        state = checkpoint.get("callbacks", {}).get(Rounds.__qualname__, {"number": 0, "first": 0, "done": False})
        return cls(state["number"], state["first"], state["done"], epoch)


class Rounds(lightning.Callback):
    """Knows the present round."""

    def __init__(self, number: int, first: int, epochs: int) -> None:
        self.number, self.first, self.epochs = number, first, epochs
        self._trainer: lightning.Trainer | None = None

    def setup(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Lets the trainer count on from the rounds before."""
        self._trainer = trainer
        # Lightning has no argument for the first epoch's number; a resumed run has its own from the checkpoint.
        _epochs(trainer).processed = _epochs(trainer).completed = self.first

    def state_dict(self) -> dict[str, Any]:
        """Number and first epoch of the round, and whether the epoch that has just ended was its last."""
        return {"number": self.number, "first": self.first, "done": self._done()}

    def _done(self) -> bool:
        if self._trainer is None:
            return False
        stopped = any(
            callback.stopping_reason is not EarlyStoppingReason.NOT_STOPPED
            for callback in self._trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping)
        )
        return stopped or _epochs(self._trainer).processed >= self.first + self.epochs


def _epochs(trainer: lightning.Trainer) -> Any:
    """Lightning's count of epochs."""
    return trainer.fit_loop.epoch_progress.current


def in_round(recipe: RunRecipe, trainer: lightning.Trainer) -> RunRecipe:
    """The recipe with the epochs and the rate of the trainer's present round."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Rounds):
            this = recipe.all_rounds[callback.number]
            optimizer = recipe.optimizer.model_copy(update={"lr": this.lr})
            return recipe.model_copy(update={"epochs": this.epochs, "optimizer": optimizer})
    return recipe
