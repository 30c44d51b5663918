"""The optimizer of a run, its learning-rate schedule, and the running average of the weights."""

import copy
import math
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from mien.training.recipe import RunRecipe, mode

_HEADS: Final = "network.heads."  # names of the heads' parameters in a training module
M = TypeVar("M", bound=nn.Module)
Scheduler: TypeAlias = LambdaLR | ReduceLROnPlateau


def configured(module: nn.Module, recipe: RunRecipe, steps: int) -> tuple[torch.optim.Optimizer, Scheduler]:
    """The optimizer, without weight decay on norms and biases, and its schedule.

    Args:
        module: Its parameters are optimized.
        recipe: Names optimizer and schedule; trunk and heads have groups of their own if their rates differ.
        steps: Batches in an epoch.

    Returns:
        The optimizer, and its schedule: a `ReduceLROnPlateau` is stepped once an epoch, any other after each batch.
    """
    settings, schedule = recipe.optimizer, recipe.schedule
    scales = [settings.trunk_lr_scale, settings.head_lr_scale]
    parts = list(trunk_and_heads(module))
    if scales[0] == scales[1]:
        parts, scales = [list(module.parameters())], scales[:1]
    groups = []
    for part, scale in zip(parts, scales, strict=True):
        decayed, others = [each for each in part if each.ndim > 1], [each for each in part if each.ndim <= 1]
        groups += [
            {"params": decayed, "lr": settings.lr * scale, "weight_decay": settings.weight_decay},
            {"params": others, "lr": settings.lr * scale, "weight_decay": 0.0},
        ]
    optimizer: torch.optim.Optimizer
    if settings.name == "sgd":
        optimizer = torch.optim.SGD(groups, settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name](groups, settings.lr)
    if schedule.name == "plateau":
        lower = mode(recipe.monitor)
        # It lowers the rate when more epochs than its patience were no better; ours is the number of these epochs.
        patience = schedule.patience - 1
        return optimizer, ReduceLROnPlateau(optimizer, lower, factor=schedule.factor, patience=patience, threshold=0)
    return optimizer, LambdaLR(optimizer, _factor(recipe, steps))


def trunk_and_heads(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of a training module: those of the network's heads, and all others."""
    heads = [value for name, value in module.named_parameters() if name.startswith(_HEADS)]
    return [value for name, value in module.named_parameters() if not name.startswith(_HEADS)], heads


class Freezing:
    """Keeps all but the heads of a module's network as they are, statistics of norms included, while it is on.

    Args:
        module: Its parameters that are frozen already stay frozen when this ends.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = [each for each in trunk_and_heads(module)[0] if each.requires_grad]
        network = module.get_submodule("network")
        self._parts = [
            child for name, child in network.named_children() if name != "heads" and list(child.parameters())
        ]

    def set(self, on: bool) -> None:
        """Freezes or releases; to be called after `train()`, which puts the norms into training mode."""
        for parameter in self._parameters:
            parameter.requires_grad_(not on)
        if on:
            for part in self._parts:
                part.eval()


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
