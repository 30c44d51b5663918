"""How far a run is: a live view on a terminal, one plain line an epoch elsewhere."""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from mien.training.recipe_base import RunRecipe, better

__all__ = ["ProgressView"]

_BAR: Final = 20  # characters
_SLOWEST: Final = 0.1  # seconds between two looks at the loss, which costs a wait for the device


class ProgressView(lightning.Callback):
    """Shows epoch, losses, validation figures, and the time left for the whole run.

    The time is what the steps of this session took, for the steps that are left; with early stopping it is the most
    it can be.

    Args:
        recipe: Of the run.
        console: Where to show it; standard error where nothing is said.
    """

    def __init__(self, recipe: RunRecipe, console: Console | None = None) -> None:
        self.recipe = recipe
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._left_after = 0  # epochs of the rounds after the present one
        self._began = 0.0
        self._done_before = 0.0  # epochs that were done when this session began
        self._looked = 0.0
        self._loss = math.nan
        self._figures: dict[str, float] = {}
        self._best: tuple[float, int] | None = None
        self._view: Progress | None = None

    def begin_round(self, number: int, rows: Mapping[int, Mapping[str, float]] = MappingProxyType({})) -> None:
        """Told before each round, with the figures of the epochs so far, by epoch from 0."""
        for epoch, figures in sorted(rows.items()):
            self._judge(figures, epoch + 1)
        self._left_after = sum(each.epochs for each in self.recipe.all_rounds[number + 1 :])

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Opens the view."""
        if not self._began:
            self._began, self._done_before = time.monotonic(), trainer.current_epoch
        if trainer.is_global_zero and self.console.is_terminal:
            # What matters most stands first; on a narrow terminal the figures are cut, not the time.
            figures = Column(no_wrap=True, overflow="ellipsis", ratio=1)
            columns = (
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(_BAR),
                TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[text]}", table_column=figures),
            )
            self._view = Progress(*columns, console=self.console, transient=True, expand=True)
            self._view.add_task("", total=1.0, text="", left="")
            self._view.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar."""
        if self._view is None or time.monotonic() - self._looked < _SLOWEST:
            return
        self._looked = time.monotonic()
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self._loss = float(loss)
        self._move(trainer, trainer.current_epoch + (batch_idx + 1) / max(1, int(trainer.num_training_batches)))

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Tells the figures of an epoch."""
        epoch = trainer.current_epoch + 1
        known = trainer.callback_metrics
        self._figures = {name: float(known[name]) for name in known if name.startswith(("train/", "val/"))}
        self._judge(self._figures, epoch)
        if self._view is not None:
            self._move(trainer, epoch)
        elif trainer.is_global_zero:
            self.console.print(f"epoch {epoch}/{self._total(trainer)}  {self._told()}  {self._left(trainer, epoch)}")

    def _judge(self, figures: Mapping[str, float], epoch: int) -> None:
        """Remembers the best epoch; of equal ones the first, as the checkpoint does."""
        value = figures.get(self.recipe.select, math.nan)
        sign = 1 if better(self.recipe.select) == "min" else -1
        if not math.isnan(value) and (self._best is None or sign * value < sign * self._best[0]):
            self._best = value, epoch

    def _move(self, trainer: lightning.Trainer, done: float) -> None:
        if self._view is None:
            return
        total = self._total(trainer)
        epoch = min(total, math.ceil(done))
        loss = "" if math.isnan(self._loss) else f"loss {self._loss:.4f}  "
        text = f"{loss}{self._told()}"
        task = self._view.task_ids[0]
        left = self._left(trainer, done)
        description = f"epoch {epoch}/{total}"
        self._view.update(task, description=description, completed=done, total=total, text=text, left=left)

    def _told(self) -> str:
        best = [f"best {self._best[1]}"] if self._best else []
        figures = sorted(self._figures.items(), key=lambda figure: (figure[0] != self.recipe.select, figure[0]))
        return "  ".join([*best, *(f"{name} {value:.4f}" for name, value in figures)])

    def _total(self, trainer: lightning.Trainer) -> int:
        return int(trainer.max_epochs or 1) + self._left_after

    def _left(self, trainer: lightning.Trainer, done: float) -> str:
        here = done - self._done_before
        if here <= 0:
            return ""
        seconds = (time.monotonic() - self._began) / here * (self._total(trainer) - done)
        return f"{timedelta(seconds=round(seconds))} left" if seconds >= 1 else ""

    def _close(self) -> None:
        if self._view is not None:
            with suppress(OSError):  # a terminal that is gone
                self._view.stop()
            self._view = None

    def on_train_end(self, *_: Any) -> None:
        """Closes the view."""
        self._close()

    def on_exception(self, *_: Any) -> None:
        """Closes the view."""
        self._close()
