"""How far a run is: one line for each epoch, and on a terminal a bar below them."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from mien.training.loop import Callback, Run, improved

_BAR: Final = 20  # characters
_INTERVAL: Final = 0.1  # seconds between two updates of the view; reading the loss waits for the device


class ProgressView(Callback):
    """Shows the epoch, losses, validation metrics, and the time left for the whole run.

    The time is estimated from the steps since the program started; if early stopping ends a stage, it is shorter.

    Args:
        console: Where to show it; standard error by default.
        clock: Seconds, as `time.monotonic` gives them.
        interval: Seconds between two updates of the view.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic, interval: float = _INTERVAL
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._clock, self._interval = clock, interval
        self._started = self._updated = -math.inf
        self._done_before = 0  # epochs that were complete when the program started
        self._best: tuple[float, int] | None = None
        self._view: Progress | None = None

    def on_start(self, run: Run) -> None:
        """Opens the view."""
        self._started, self._done_before = self._clock(), run.state.epoch
        for epoch, metrics in sorted(run.log.rows.items()):
            self._remember(run.recipe.monitor, metrics, epoch)
        if run.fabric.is_global_zero and self.console.is_terminal:
            # On a narrow terminal the metrics, which come last, are cut, not the time.
            columns = (
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(_BAR),
                TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            )
            self._view = Progress(*columns, console=self.console, transient=True, expand=True)
            self._view.add_task("", total=1.0, text="", left="")
            self._view.start()

    def on_step_end(self, run: Run) -> None:
        """Moves the bar."""
        if self._view is not None and self._clock() - self._updated >= self._interval:
            self._updated = self._clock()
            self._move(run, run.state.epoch + (run.step + 1) / run.steps)

    def on_epoch_end(self, run: Run) -> None:
        """Shows the metrics of the epoch."""
        epoch = run.state.epoch
        self._remember(run.recipe.monitor, run.metrics, epoch)
        line = f"epoch {epoch}/{run.epochs}  {self._text(run)}  {self._left(epoch, run.epochs)}"
        if self._view is not None:
            with suppress(OSError):  # the terminal was closed
                self.console.print(line, soft_wrap=True)  # above the bar
            self._move(run, epoch)
        elif run.fabric.is_global_zero:
            self.console.print(line)

    def on_end(self, run: Run) -> None:
        """Closes the view."""
        if self._view is not None:
            with suppress(OSError):  # the terminal was closed
                self._view.stop()
            self._view = None

    def _remember(self, monitor: str, metrics: Mapping[str, float], epoch: int) -> None:
        """Remembers the best epoch; of equal ones the first, as the checkpoint does."""
        value = metrics.get(monitor, math.nan)
        if not math.isnan(value) and improved(monitor, value, self._best[0] if self._best else None):
            self._best = value, epoch

    def _move(self, run: Run, done: float) -> None:
        if self._view is None:
            return
        self._view.update(
            self._view.task_ids[0],
            description=f"epoch {min(run.epochs, math.ceil(done))}/{run.epochs}",
            completed=done,
            total=run.epochs,
            text=f"loss {float(run.loss):.4f}  {self._text(run)}",
            left=self._left(done, run.epochs),
        )

    def _text(self, run: Run) -> str:
        best = [f"best {self._best[1]}"] if self._best else []
        metrics = run.metrics
        accuracies = [name for name in sorted(metrics) if name.startswith("val/") and name.endswith("/accuracy")]
        first = [name for name in (run.recipe.monitor, *accuracies, "val/loss") if name in metrics]
        names = dict.fromkeys([*first, *sorted(metrics)])
        return "  ".join([*best, *(f"{name} {metrics[name]:.4f}" for name in names)])

    def _left(self, done: float, total: int) -> str:
        here = done - self._done_before
        seconds = (self._clock() - self._started) / here * (total - done) if here > 0 else 0
        return f"{timedelta(seconds=round(seconds))} left" if seconds >= 1 else ""
