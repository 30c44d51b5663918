"""The running average of the weights, which is what is judged and exported."""

from collections.abc import Callable

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
    return _Averaging(use_buffers=True, multi_avg_fn=_warming(decay))


class _Averaging(WeightAveraging):
    """Keeps the average where the network is.

    Lightning makes it before it moves the network to its device; each step would then wait for the weights to return.
    """

    @property
    def state_key(self) -> str:
        """That of its base class, under which older runs have it."""
        return super().state_key.replace(type(self).__qualname__, WeightAveraging.__qualname__, 1)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Moves the average to the network's device."""
        if self._average_model is not None:
            self._average_model.module.to(pl_module.device)


def _warming(decay: float) -> Callable[[PARAM_LIST, PARAM_LIST, Tensor | int], None]:
    def update(averaged: PARAM_LIST, current: PARAM_LIST, count: Tensor | int) -> None:
        steps = int(count)
        step = get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))  # type: ignore[no-untyped-call]
        step(averaged, current, count)

    return update
