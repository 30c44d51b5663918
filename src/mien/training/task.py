"""What Lightning trains: a network, its losses and its validation figures."""

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from mien import models
from mien.training.augment import augment, mixup
from mien.training.data import Batch
from mien.training.optimizers import configured
from mien.training.recipe import Recipe

__all__ = ["Task"]


class Task(lightning.LightningModule):
    """Learns every head of a recipe at once.

    Checkpoints hold plain types only, so that they load with `weights_only`.
    """

    def __init__(self, recipe: dict[str, Any], classes: dict[str, list[str]]) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.recipe = Recipe.model_validate(recipe)
        spec = self.recipe.input.spec()
        sizes = {name: len(names) for name, names in classes.items()}
        self.network = models.build(self.recipe.model.name, sizes, spec, **self.recipe.model.options)
        self.register_buffer("mean", torch.tensor(spec.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Pictures (N, C, H, W), values 0-1 -> logits (N, classes) by head."""
        normal = (images - self.mean) / self.std  # type: ignore[operator]
        return self.network(normal.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, so that a resumed run goes on exactly as the one that was cut off."""
        torch.manual_seed(self.recipe.seed * 100_003 + self.current_epoch)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The weighted sum of the heads' cross-entropies on augmented, mixed pictures."""
        raw, targets = batch
        images = augment(raw.float() / 255, self.recipe.augmentation)
        targets = {name: _smooth(target, self.recipe.heads[name].label_smoothing) for name, target in targets.items()}
        images, targets = mixup(images, targets, self.recipe.augmentation.mixup)
        logits = self(images)
        losses = [head.weight * _cross_entropy(logits[name], targets[name]) for name, head in self.recipe.heads.items()]
        total = torch.stack(losses).sum()
        self.log("train/loss", total, on_step=False, on_epoch=True, prog_bar=True)
        return total

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and accuracy of each head, on the pictures as they are.

        A row without targets does not count; ties among votes go to the first class, which is neither FER+ protocol:
        these figures steer a run, `mien evaluate` judges.
        """
        raw, targets = batch
        logits = self(raw.float() / 255)
        total = torch.zeros(())
        for name, head in self.recipe.heads.items():
            known = targets[name].sum(dim=1) > 0
            if not known.any():
                continue
            scores, target = logits[name].float()[known], targets[name][known]
            loss = _cross_entropy(scores, target)
            right = (scores.argmax(dim=1) == target.argmax(dim=1)).float().mean()
            count = int(known.sum())
            self.log(f"val/{name}/loss", loss, batch_size=count)
            self.log(f"val/{name}/accuracy", right, batch_size=count, prog_bar=True)
            total = total + head.weight * loss
        self.log("val/loss", total, batch_size=len(raw), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """The optimiser, without decay on norms and biases, and the rate step by step."""
        return configured(self, self.recipe)


def _smooth(target: Tensor, amount: float) -> Tensor:
    """Moves `amount` of each row's mass to all classes alike; rows of zeros stay."""
    if amount == 0:
        return target
    return target * (1 - amount) + amount * target.sum(dim=1, keepdim=True) / target.shape[1]


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the target's mass of the cross-entropy, in nats; rows of zeros weigh nothing."""
    each = -(target * nn.functional.log_softmax(logits.float(), dim=1)).sum(dim=1)  # (N,)
    return each.sum() / target.sum().clamp(min=1e-6)
