"""The training module of an expression network: its losses, and the metrics of training and validation.

The losses are on distributions (N, C); rows of zeros are not counted. The four modes of FER+ are those of Barsoum et
al., "Training deep networks for facial expression recognition with crowd-sourced label distribution", ICMI 2016,
section 4.2.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from mien import models
from mien.datasets.derive.textures import load_textures
from mien.errors import ConfigError
from mien.models.blocks.network import set_statistics
from mien.models.capsnet import CapsuleNetwork, Decoder
from mien.training.expression.affect import concordance_loss, joined_moments, moments
from mien.training.expression.augmentation import affine_maps, augment, mixup, moved, normalise_illumination
from mien.training.expression.capsules import learned, margin
from mien.training.expression.covers import CoverBank
from mien.training.expression.data import KEYPOINTS, POINTS, Batch, known_rows
from mien.training.expression.recipe import ExpressionRecipe, HeadRecipe
from mien.training.tasks import Sums, TrainingModule

EPSILON: Final = 0.001  # target of the classes that nobody chose, for multi-label targets


def smooth(target: Tensor, amount: float) -> Tensor:
    """Spreads `amount` of each row's mass evenly over all classes; rows of zeros stay."""
    if amount == 0:
        return target
    return target * (1 - amount) + amount * target.sum(dim=1, keepdim=True) / target.shape[1]


def drawn(target: Tensor) -> Tensor:
    """One class of each row, drawn by its distribution, with the row's whole mass; draws from torch's generator."""
    reach = target.cumsum(dim=1)  # (N, C)
    mass = reach[:, -1:]
    pointer = torch.rand(len(target), 1).to(target) * mass
    chosen = (reach <= pointer).sum(dim=1, keepdim=True).clamp(max=target.shape[1] - 1)
    return torch.zeros_like(target).scatter_(1, chosen, mass)


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the target's mass of the cross-entropy, in nats; with `weights` (C,), over the mass times these."""
    if weights is not None:
        target = target * weights.to(target)
    each = -(target * nn.functional.log_softmax(logits.float(), dim=1)).sum(dim=1)  # (N,)
    return each.sum() / target.sum().clamp(min=1e-6)


def multi_label(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the rows of -log max(t p): any class with a share in the target is right, the likeliest counts.

    t is 1 for those classes and `EPSILON` for the others.
    """
    labels = (1 - EPSILON) * (target > 0) + EPSILON
    each = -(labels.log() + nn.functional.log_softmax(logits.float(), dim=1)).amax(dim=1)  # (N,)
    known = target.sum(dim=1) > 0
    return (each * known).sum() / known.sum().clamp(min=1)


class ExpressionModule(TrainingModule):
    """Trains every head of a recipe together.

    Attributes:
        decoder: Redraws the image from the capsules of the first head; None unless the recipe has a weight for it.
    """

    network: models.Network

    def __init__(self, recipe: dict[str, Any], classes: dict[str, list[str]]) -> None:
        super().__init__(recipe=recipe, classes=classes)
        self.recipe = ExpressionRecipe.model_validate(recipe)
        self.spec = spec = self.recipe.input.spec()
        sizes = {name: len(names) for name, names in classes.items()}
        self.network = models.build(self.recipe.model.name, sizes, spec, **self.recipe.model.options)
        self.decoder: Decoder | None = None
        if self.recipe.reconstruction and isinstance(self.network, CapsuleNetwork):
            self.decoder = Decoder(next(iter(sizes.values())), self.network.class_size, spec)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(spec.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).reshape(1, -1, 1, 1), persistent=False)

        self._weighted: list[str] = []
        self._adjusted: list[str] = []

    def set_class_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Sets the weights (C,) of the classes in the training loss of some heads.

        They come from the data of the run and are no part of a checkpoint.
        """
        self._weighted = list(weights)
        for name, values in weights.items():
            self.register_buffer(_weights_name(name), values, persistent=False)

    def set_shares(self, shares: Mapping[str, Tensor]) -> None:
        """Sets the class shares (C,) by head, which `logit_adjustment` removes in the training loss.

        Like the class weights, they come from the data of the run and are no part of a checkpoint.
        """
        for name, head in self.recipe.heads.items():
            if head.logit_adjustment:
                self._adjusted.append(name)
                least = shares[name][shares[name] > 0].min()
                offset = head.logit_adjustment * shares[name].clamp(min=float(least)).log()
                self.register_buffer(f"shares_{name}", offset.float(), persistent=False)

    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        """The logits (N, classes) by head.

        Args:
            images: (N, C, H, W), or (N, T, C, H, W) for windows, values 0-1.
            points: (N, K, 2) or (N, T, K, 2), for networks that read keypoints.
        """
        logits: dict[str, Tensor] = self.network(*self.normalised_inputs(images, points))
        return logits

    def normalised_inputs(self, images: Tensor, points: Tensor | None) -> list[Tensor]:
        """The normalised inputs of the network, in order."""
        inputs = []
        if models.reads_images(self.recipe.model.name):
            frames = images.flatten(0, -4)  # (N T, C, H, W)
            values = normalise_illumination(frames) if self.recipe.input.illumination == "plane" else frames
            normal = ((values - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
            inputs.append(normal if images.ndim == 4 else normal.reshape(images.shape))
        if points is not None:
            inputs.append(points)
        return inputs

    def check_augmentation(self) -> None:
        """Finds what would fail in the first step of training, before a run has its folder.

        Raises:
            ConfigError: The network cannot read a size of the training images.
            InputError: The file of textures cannot be read.
        """
        settings, input = self.recipe.augmentation, self.recipe.input
        if settings.covers and settings.cover_textures:
            load_textures(Path(settings.cover_textures))
        if not models.reads_images(self.recipe.model.name) or models.reads_keypoints(self.recipe.model.name):
            return
        training = self.training
        self.eval()
        for size in settings.sizes:
            shape = (1, *(input.frames,) * (input.frames > 1), input.spec().depth, size, size)
            try:
                with torch.no_grad():
                    self(torch.zeros(shape))
            except RuntimeError as error:
                what = str(error).partition("\n")[0]
                raise ConfigError(
                    f"augmentation.sizes: the network '{self.recipe.model.name}' cannot read images of {size} x {size} "
                    f"pixels: {what}",
                    hint="leave the size out",
                ) from error
        self.train(training)

    def load_pretrained(self) -> models.Origin | None:
        """Loads the published weights that the recipe names, if it names any; see `models.load_pretrained`."""
        model = self.recipe.model
        if not model.weights:
            return None
        spec = self.recipe.input.spec()
        return models.load_pretrained(model.name, self.network, model.weights, input=spec, sha256=model.weights_sha256)

    def set_statistics(self, images: Tensor) -> None:
        """Sets the statistics of the batch norms on images (N, C, H, W), values 0-255; see `set_statistics`."""
        values = images.float() / 255
        values = normalise_illumination(values) if self.recipe.input.illumination == "plane" else values
        set_statistics(self.network, (values - self.mean) / self.std)

    def training_step(self, batch: Batch) -> tuple[Tensor, Sums]:
        """The weighted sum of the heads' losses on augmented, mixed images.

        Their accuracy is measured as well: if it is far below that of the validation, the network is regularised too
        much; if it is far above it, too little.
        """
        raw, targets = batch[0], dict(batch[1])
        images, settings = raw.float() / 255, self.recipe.augmentation
        if (points := targets.pop(POINTS, None)) is not None:
            images = self._covers.cover(images, points, settings.covers)
        keypoints = targets.pop(KEYPOINTS, None)
        maps = affine_maps(len(images), settings)
        if models.reads_images(self.recipe.model.name):
            changed = augment(images.flatten(1, -3), settings, self._side(), maps)  # the frames of a window alike
            images = changed.reshape(*images.shape[:-2], *changed.shape[-2:])
        targets = {name: _drawn_target(target, self.recipe.heads[name]) for name, target in targets.items()}
        if keypoints is not None:
            targets[KEYPOINTS] = moved(keypoints, maps, settings.keypoint_noise)
        images, targets = mixup(images, targets, settings.mixup)
        keypoints = targets.pop(KEYPOINTS, None)
        inputs, redrawing = self.normalised_inputs(images, keypoints), None
        if self.decoder is not None and isinstance(self.network, CapsuleNetwork):
            logits, redrawing = learned(self.network, self.decoder, inputs, images, targets)
        else:
            logits = self.network(*inputs)
        losses = [
            head.weight * _loss(self._with_shares(logits[name], name), targets[name], head, self._class_weights(name))
            for name, head in self.recipe.heads.items()
        ]
        total = torch.stack(losses).sum()
        if redrawing is not None:
            total = total + self.recipe.reconstruction * redrawing
        sums: Sums = {"train/loss": (total * len(raw), len(raw))}
        if redrawing is not None:
            sums["train/redrawing"] = (redrawing * len(raw), len(raw))
        for name, loss in zip(self.recipe.heads, losses, strict=True):
            if name in self.recipe.class_heads:
                sums[f"train/{name}/accuracy"] = _correct(self._with_shares(logits[name], name), targets[name])
            else:
                sums[f"train/{name}/loss"] = (loss / self.recipe.heads[name].weight * len(raw), len(raw))
        return total, sums

    @cached_property
    def _covers(self) -> CoverBank:
        """The masks, sunglasses and hands of the augmentation."""
        return CoverBank.drawn(self.recipe.augmentation, self.recipe.seed)

    def _with_shares(self, logits: Tensor, head: str) -> Tensor:
        """The logits (N, C) of a head plus the logarithms of the class shares, as the loss sees them.

        Trained so, the network does not have to learn how frequent the classes are: its own logits then are those for
        equally frequent classes (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, section 4.2; with
        the power 1, Ren et al., "Balanced meta-softmax", NeurIPS 2020).
        """
        return logits + self.get_buffer(f"shares_{head}") if head in self._adjusted else logits

    def _class_weights(self, head: str) -> Tensor | None:
        return self.get_buffer(_weights_name(head)) if head in self._weighted else None

    def _side(self) -> int | None:
        """Of this epoch's images; small ones first save time (Tan & Le, "EfficientNetV2", ICML 2021, section 4)."""
        sizes = self.recipe.augmentation.sizes
        if not sizes:
            return None
        epochs = sum(each.epochs for each in self.recipe.all_stages)
        return sizes[min(len(sizes) - 1, self.epoch * len(sizes) // epochs)]

    def validation_step(self, batch: Batch) -> Sums:
        """Loss and accuracy of each head, on the images without augmentation.

        Rows without targets are not counted, and class weights do not apply. Loss and accuracy are under the prior of
        the training data. The mean recall is that of the network's own logits, so under `logit_adjustment` with the
        shares removed. Ties among votes go to the first class,
        which is neither FER+ protocol: these metrics steer a run, `mien evaluate` gives the scores.
        """
        raw, targets = batch
        logits = self(raw.float() / 255, targets.get(KEYPOINTS))
        sums = Sums()
        for name, head in self.recipe.heads.items():
            known = known_rows(targets[name], head)
            if not known.any():
                continue
            scores, target = logits[name].float()[known], targets[name][known]
            loss, count = _loss(self._with_shares(scores, name), target, head), len(target)
            sums[f"val/{name}/loss"] = (loss * count, count)
            if head.source == "affect":
                sums |= moments(name, scores, target)
            else:
                sums[f"val/{name}/accuracy"] = _correct(self._with_shares(scores, name), target)
                sums |= _recalls(f"val/{name}/recall/", scores, target)
        return sums

    def joined(self, metrics: dict[str, float]) -> dict[str, float]:
        """The metrics of an epoch with the mean over the classes in the place of the recall of each.

        `val/loss` is the weighted sum of the heads' mean losses. The CCC and the error of valence and arousal are those
        of the whole split. Neither are means over batches, whose faces do not all have every label.
        """
        found = {name: value for name, value in metrics.items() if "/recall/" not in name}
        heads = self.recipe.heads.items()
        found["val/loss"] = sum(head.weight * metrics.get(f"val/{name}/loss", 0.0) for name, head in heads)
        for name in self.recipe.heads:
            recalls = [value for each, value in metrics.items() if each.startswith(f"val/{name}/recall/")]
            if recalls:
                found[f"val/{name}/mean_recall"] = sum(recalls) / len(recalls)
            found = joined_moments(name, found)
        return found


def _recalls(prefix: str, logits: Tensor, target: Tensor) -> Sums:
    """How many rows of each class have their top class right, and how many there are."""
    top, truth = logits.argmax(dim=1), target.argmax(dim=1)
    classes = target.shape[1]
    support = torch.bincount(truth, minlength=classes)
    right = torch.bincount(truth[top == truth], minlength=classes)
    return {f"{prefix}{index}": (right[index], support[index]) for index in range(classes)}


def _correct(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """How many rows with a target have their top class right, and how many there are."""
    known = target.sum(dim=1) > 0
    return (known & (logits.argmax(dim=1) == target.argmax(dim=1))).sum(), known.sum()


def _drawn_target(target: Tensor, head: HeadRecipe) -> Tensor:
    """The targets of a head for this step, or labels drawn from them, smoothed."""
    return smooth(drawn(target) if head.labels == "pld" else target, head.label_smoothing)


def _weights_name(head: str) -> str:
    return f"class_weights_{head}"


def _loss(logits: Tensor, target: Tensor, head: HeadRecipe, weights: Tensor | None = None) -> Tensor:
    if head.loss == "ccc":
        return concordance_loss(logits, target)
    if head.loss == "margin":
        return margin(logits, target, weights)
    return multi_label(logits, target) if head.labels == "multi" else cross_entropy(logits, target, weights)
