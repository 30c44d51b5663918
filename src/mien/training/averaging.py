"""The running average of the weights, which is what is judged and exported."""

from collections.abc import Callable

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, get_ema_multi_avg_fn

__all__ = ["averaging"]


def averaging(decay: float) -> WeightAveraging:
    """An exponential average that forgets its beginning quickly.

    The decay rises as (1 + n) / (10 + n) with the number of steps n until it reaches `decay`; with the full decay from
    the start the random weights would stay in the average for thousands of steps.
    """
    return WeightAveraging(use_buffers=True, multi_avg_fn=_warming(decay))


def _warming(decay: float) -> Callable[[PARAM_LIST, PARAM_LIST, Tensor | int], None]:
    def update(averaged: PARAM_LIST, current: PARAM_LIST, count: Tensor | int) -> None:
        steps = int(count)
        step = get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))  # type: ignore[no-untyped-call]
        step(averaged, current, count)

    return update
