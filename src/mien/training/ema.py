"""The running average of the weights, which is what is judged and exported."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, get_ema_multi_avg_fn

__all__ = ["averaging"]


def averaging(decay: float) -> WeightAveraging:
    """An exponential average that forgets its beginning quickly.

    The decay rises as (1 + n) / (10 + n) with the number of steps n until it reaches `decay`; with the full decay from
    the start the random weights would stay in the average for thousands of steps.
    """
    return _Averaging(decay)


class _Averaging(WeightAveraging):
    """Keeps the average where the network is, and counts its updates without asking for the number.

    Lightning makes it before it moves the network to its device; each step would then wait for the weights to return.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=self._update)
        self.decay = decay
        self._steps: int | None = None  # torch has the number too, but brings it to the device before it is told

    @property
    def state_key(self) -> str:
        """That of its base class, under which older runs have it."""
        return super().state_key.replace(type(self).__qualname__, WeightAveraging.__qualname__, 1)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Moves the average to the network's device."""
        if self._average_model is not None:
            self._average_model.module.to(pl_module.device)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After each step, which it counts."""
        if step_idx is not None and self._steps is not None:
            self._steps += 1
        return step_idx is not None

    def _update(self, averaged: PARAM_LIST, current: PARAM_LIST, count: Tensor | int) -> None:
        if self._steps is None:
            self._steps = int(count)  # above 1 where a run goes on
        decay = min(self.decay, (1 + self._steps) / (10 + self._steps))
        step: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        step(averaged, current, count)
