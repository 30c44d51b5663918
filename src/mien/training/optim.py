"""The optimizer of a run, its learning-rate schedule, and the running average of the weights."""

import copy
import math
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from mien.training.recipe import RunRecipe, mode

M = TypeVar("M", bound=nn.Module)
Scheduler: TypeAlias = LambdaLR | ReduceLROnPlateau


def configured(module: nn.Module, recipe: RunRecipe, steps: int) -> tuple[torch.optim.Optimizer, Scheduler]:
    """The optimizer, without weight decay on norms and biases, and its schedule.

    Args:
        module: Its parameters are optimized.
        recipe: Names optimizer and schedule.
        steps: Batches in an epoch.

    Returns:
        The optimizer, and its schedule: a `ReduceLROnPlateau` is stepped once an epoch, any other after each batch.
    """
    settings, schedule = recipe.optimizer, recipe.schedule
    groups = [
        {"params": [each for each in module.parameters() if each.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [each for each in module.parameters() if each.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if settings.name == "sgd":
        optimizer = torch.optim.SGD(groups, settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name](groups, settings.lr)
    if schedule.name == "plateau":
        lower = mode(recipe.monitor)
        return optimizer, ReduceLROnPlateau(optimizer, lower, factor=schedule.factor, patience=schedule.patience)
    return optimizer, LambdaLR(optimizer, _factor(recipe, steps))


def _factor(recipe: RunRecipe, steps: int) -> Callable[[int], float]:
    """The share of the learning rate at each step."""
    schedule, total, warmup = recipe.schedule, recipe.epochs * steps, recipe.schedule.warm * steps

    def factor(step: int) -> float:
        if step < warmup:
            return min(1.0, (step + 1) / warmup)
        if schedule.name == "cosine":
            done = (step - warmup) / max(1, total - warmup)
            return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return schedule.factor ** sum(step >= epoch * steps for epoch in schedule.at)

    return factor


class WeightAverage(Generic[M]):
    """An exponential moving average of a module's weights and buffers, in a copy of the module.

    The decay rises as (1 + n) / (10 + n) with the number of updates n until it reaches `decay`: with the full decay
    from the start, the random initial weights would stay in the average for thousands of steps.
    """

    def __init__(self, module: M, decay: float) -> None:
        self.module = copy.deepcopy(module)
        self.module.requires_grad_(False)
        self.decay, self.updates = decay, 0
        self._pairs = list(zip(self.module.state_dict().values(), module.state_dict().values(), strict=True))

    def update(self) -> None:
        """Adds the module's present weights; counters, which are whole numbers, are copied."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        self.updates += 1
        floats = [pair for pair in self._pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in floats], [value for _, value in floats], 1 - decay)
        for mean, value in self._pairs:
            if not mean.is_floating_point():
                mean.copy_(value)
