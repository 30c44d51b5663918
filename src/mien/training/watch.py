"""What a person wants to be told of a run: that it diverged, and that it stopped early."""

import math
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from mien.errors import DivergedError

__all__ = ["Watch"]


class Watch(lightning.Callback):
    """Ends a run whose loss is no number any more, and says when early stopping ended a round.

    It comes before the callbacks that write checkpoints, so that those stay as the last good epoch left them.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Looks at the epoch's losses.

        Raises:
            DivergedError: One is nan or infinite.
        """
        for name in ("train/loss", "val/loss"):
            value = float(trainer.callback_metrics.get(name, 0.0))
            if not math.isfinite(value):
                raise DivergedError(
                    f"the run diverged: {name} is {value} after epoch {trainer.current_epoch + 1}",
                    hint="lower optimizer.lr, or warm up longer (schedule.warmup)",
                )

    def on_train_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Says why a round is shorter than its epochs."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
                self.tell(
                    f"stopped early after epoch {trainer.current_epoch}: {callback.monitor} has not got better "
                    f"for {callback.patience} epochs"
                )
