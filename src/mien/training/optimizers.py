"""The optimiser of a run and its rate, step by step, whatever is learnt."""

import math
from typing import Any

import lightning
import torch

from mien.training.tables import RunRecipe

__all__ = ["configured"]


def configured(task: lightning.LightningModule, recipe: RunRecipe) -> Any:
    """The optimiser, without decay on norms and biases, and the schedule, as Lightning wants them."""
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
    steps = int(task.trainer.estimated_stepping_batches)
    warmup = schedule.warmup * steps / recipe.epochs

    def factor(step: int) -> float:
        if step < warmup:
            return min(1.0, (step + 1) / warmup)
        done = (step - warmup) / max(1, steps - warmup)
        return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
