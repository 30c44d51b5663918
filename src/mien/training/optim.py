"""The optimiser of a run and its rate, step by step, whatever is learnt."""

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch

from mien.training.recipe_base import RunRecipe, better
from mien.training.stages import in_round

__all__ = ["configured"]


def configured(task: lightning.LightningModule, recipe: RunRecipe) -> Any:
    """The optimiser, without decay on norms and biases, and the present round's schedule, as Lightning wants them."""
    recipe = in_round(recipe, task.trainer)
    settings, schedule = recipe.optimizer, recipe.schedule
    kernels = [weight for weight in task.parameters() if weight.ndim > 1]
    others = [weight for weight in task.parameters() if weight.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if settings.name == "sgd":
        optimizer = torch.optim.SGD(groups, settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name](groups, settings.lr)
    if schedule.name == "plateau":
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, better(recipe.select), factor=schedule.factor, patience=schedule.patience
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": recipe.select}}
    # Lightning counts the steps of all epochs up to the last, those of the rounds before too.
    each = task.trainer.estimated_stepping_batches / (task.trainer.max_epochs or 1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _factor(recipe, each))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _factor(recipe: RunRecipe, each: float) -> Callable[[int], float]:
    """The share of the rate at a step, given the number of steps an epoch."""
    schedule, steps = recipe.schedule, recipe.epochs * each
    warmup = schedule.warm * each

    def factor(step: int) -> float:
        if step < warmup:
            return min(1.0, (step + 1) / warmup)
        if schedule.name == "cosine":
            done = (step - warmup) / max(1, steps - warmup)
            return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return schedule.factor ** sum(step >= epoch * each for epoch in schedule.at)

    return factor
