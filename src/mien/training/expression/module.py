"""What Lightning trains: a network, its losses and its validation figures."""

from typing import Any

import lightning
import torch
from torch import Tensor

from mien import models
from mien.training.expression.augmentation import augment, mixup
from mien.training.expression.data import Batch
from mien.training.expression.illumination import normalise_illumination
from mien.training.expression.losses import cross_entropy, drawn, multi_label, smooth
from mien.training.optim import configured
from mien.training.recipe import HeadRecipe, Recipe

__all__ = ["ExpressionModule"]


class ExpressionModule(lightning.LightningModule):
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
        self._counts: dict[str, Tensor] = {}  # by head: right ones, and all with a target, of this epoch
        self.register_buffer("mean", torch.tensor(spec.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (N, C, H, W), values 0-1 -> logits (N, classes) by head."""
        values = normalise_illumination(images) if self.recipe.input.illumination == "plane" else images
        normal = (values - self.mean) / self.std  # type: ignore[operator]
        return self.network(normal.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def load_pretrained(self) -> None:
        """Takes the published weights that the recipe names, if it names any; see `models.load_pretrained`."""
        if self.recipe.model.weights:
            models.load_pretrained(self.recipe.model.name, self.network, self.recipe.model.weights)

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, so that a resumed run goes on exactly as the one that was cut off; each process its own."""
        torch.manual_seed(self.recipe.seed * 100_003 + self.current_epoch + self.global_rank * 1_000_003)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The weighted sum of the heads' losses on augmented, mixed images.

        Their accuracy is logged as well: far under that of the validation, the network is held back too much; far over
        it, too little.
        """
        raw, targets = batch
        images = augment(raw.float() / 255, self.recipe.augmentation, self._side())
        targets = {name: _learnt(target, self.recipe.heads[name]) for name, target in targets.items()}
        images, targets = mixup(images, targets, self.recipe.augmentation.mixup)
        logits = self(images)
        losses = [head.weight * _loss(logits[name], targets[name], head) for name, head in self.recipe.heads.items()]
        total = torch.stack(losses).sum()
        self.log("train/loss", total, on_step=False, on_epoch=True, sync_dist=True)
        for name, target in targets.items():
            known = target.sum(dim=1) > 0
            right = known & (logits[name].argmax(dim=1) == target.argmax(dim=1))
            self._counts[name] = self._counts.get(name, 0) + torch.stack([right.sum(), known.sum()])
        return total

    def on_train_batch_end(self, *_: Any) -> None:
        """Logs the accuracy on the epoch's training images at its last step; a device is not asked at every one."""
        if not self.trainer.is_last_batch:
            return
        for name, counts in self._counts.items():
            everywhere: Any = self.all_gather(counts)  # (2,), or with several processes (processes, 2)
            right, known = everywhere.reshape(-1, 2).sum(dim=0).tolist()
            if known:
                self.log(f"train/{name}/accuracy", right / known, on_step=False, on_epoch=True)
        self._counts.clear()

    def _side(self) -> int | None:
        """Of this epoch's images; small ones first save time (Tan & Le, "EfficientNetV2", ICML 2021, section 4)."""
        sizes = self.recipe.augmentation.sizes
        if not sizes:
            return None
        epochs = sum(each.epochs for each in self.recipe.all_rounds)
        return sizes[min(len(sizes) - 1, self.current_epoch * len(sizes) // epochs)]

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and accuracy of each head, on the images as they are.

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
            loss = _loss(scores, target, head)
            right = (scores.argmax(dim=1) == target.argmax(dim=1)).float().mean()
            count = int(known.sum())
            self.log(f"val/{name}/loss", loss, batch_size=count)
            self.log(f"val/{name}/accuracy", right, batch_size=count, prog_bar=True)
            total = total + head.weight * loss
        self.log("val/loss", total, batch_size=len(raw), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """The optimiser, without decay on norms and biases, and the rate step by step."""
        return configured(self, self.recipe)


def _learnt(target: Tensor, head: HeadRecipe) -> Tensor:
    """What a head learns from this time: its targets, or labels drawn from them, smoothed."""
    return smooth(drawn(target) if head.labels == "pld" else target, head.label_smoothing)


def _loss(logits: Tensor, target: Tensor, head: HeadRecipe) -> Tensor:
    return multi_label(logits, target) if head.labels == "multi" else cross_entropy(logits, target)
