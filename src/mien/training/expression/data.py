"""From samples to batches of tensors in memory, in an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien import emotions, models
from mien.datasets import Samples, ferplus
from mien.datasets.examples import examples_of, need_keypoints
from mien.datasets.ferplus import Mode
from mien.errors import ConfigError, DataError
from mien.expression.preprocess import fitted
from mien.faces.keypoints import COUNTS, five_of
from mien.training.expression.affect import DIMENSIONS, known_affect
from mien.training.expression.recipe import ExpressionRecipe, HeadRecipe

# FER+'s modes by their names in recipes, and the label processing of each.
MODES: Final[dict[str, Mode]] = {
    "majority": "majority",
    "pld": "probability",
    "cel": "crossentropy",
    "multi": "multi_target",
}

Batch = tuple[Tensor, dict[str, Tensor]]

# Among the targets of a batch, the five landmarks (B, 5, 2) that place covers; no head has this name.
POINTS: Final = "@points"

# Among the targets of a batch, the keypoints (B, 68, 2), or (B, T, 68, 2), that the network reads.
KEYPOINTS: Final = "@keypoints"

_ROOM: Final = 2 * 2**30  # largest split, in bytes, that is moved to the device whole; FER2013 has 65 million


def head_classes(samples: Samples, heads: Mapping[str, HeadRecipe]) -> dict[str, tuple[str, ...]]:
    """The classes of each head, from what the data holds; of a head for affect, its dimensions.

    Raises:
        ConfigError: A head learns from votes, or from valence and arousal, and the data has none; or it is for another
            number of classes.
    """
    classes: dict[str, tuple[str, ...]] = {}
    for name, head in heads.items():
        if head.source == "votes" and samples.votes is None:
            raise ConfigError(
                f"the head '{name}' learns from votes, and the data has none",
                hint="build the data with --votes fer2013new.csv, or use a recipe whose heads learn from labels",
            )
        if head.source == "affect" and samples.affect is None:
            raise ConfigError(
                f"the head '{name}' learns valence and arousal, and the data has none",
                hint="build the data from a CSV list that has them: mien data build listed",
            )
        if head.source == "affect":
            classes[name] = DIMENSIONS
            continue
        classes[name] = emotions.vocabulary(size) if (size := votes_size(head)) else samples.classes
        if head.classes and len(samples.classes) != head.classes:
            raise ConfigError(
                f"the head '{name}' is for {head.classes} classes, and the data has {len(samples.classes)}",
                hint=f"build the data with --emotions {head.classes}; or --set heads.{name}.classes=0 for any number",
            )
    return classes


def votes_size(head: HeadRecipe) -> int:
    """Number of classes of a head that learns from votes; 0 for other heads."""
    if head.source != "votes":
        return 0
    return len(emotions.ALL) if head.labels == "shares" else ferplus.EMOTIONS


def targets_for(samples: Samples, head: HeadRecipe) -> Tensor:
    """Distributions (N, C) for one head, zeros for rows without a label; valence and arousal (N, 2), nan without."""
    if head.source == "affect":
        if samples.affect is None:
            raise ValueError("samples: expected valence and arousal")
        return torch.from_numpy(np.ascontiguousarray(samples.affect))
    if head.source == "labels":
        return torch.from_numpy(np.ascontiguousarray(samples.targets))
    if samples.votes is None:
        raise ValueError("samples: expected votes")
    if head.labels != "shares":
        return torch.from_numpy(ferplus.process(samples.votes, MODES[head.labels])[0])  # (N, 8)
    votes = torch.from_numpy(samples.votes.astype(np.float32))  # (N, 10)
    return votes / votes.sum(dim=1, keepdim=True).clamp(min=1)


def known_rows(target: Tensor, head: HeadRecipe) -> Tensor:
    """The rows (N,) of the targets of a head that have a label."""
    return known_affect(target) if head.source == "affect" else target.sum(dim=1) > 0


def with_soft_targets(targets: Tensor, samples: Samples, name: str, head: HeadRecipe) -> Tensor:
    """The targets (N, C) of a head mixed with soft targets of teachers; rows without a label get those alone.

    Raises:
        ConfigError: The data has no soft targets for this head.
    """
    if not head.soft:
        return targets
    source = samples.soft_labels if head.source == "labels" else samples.soft_votes
    if source is None:
        raise ConfigError(
            f"the head '{name}' learns from soft targets of {head.source}, and the data has none",
            hint="make them with `mien data distil`, or set its `soft` to 0; --from without a recipe leaves them out",
        )
    soft = torch.from_numpy(source)[:, : targets.shape[1]]  # FER+'s modes have the first eight of the ten
    soft = soft / soft.sum(dim=1, keepdim=True).clamp(min=1e-6)
    share = torch.where(targets.sum(dim=1, keepdim=True) > 0, head.soft, 1.0)
    return torch.where(soft.sum(dim=1, keepdim=True) > 0, targets.lerp(soft, share), targets)


def class_weights(targets: Tensor, classes: Sequence[str], name: str, head: HeadRecipe) -> Tensor | None:
    """The weights (C,) of the classes in the loss of a head; None for equal ones.

    "balanced" is N / (C n_c), as in scikit-learn's `class_weight`, with the number n_c of training faces of a class (or
    the sum of its shares) and the number C of emotions that have any; "sqrt" is its square root, scaled to the same
    mean over the faces. Emotions without training faces have the weight 0: label smoothing would only amplify them.
    Classes that are no emotions (`unknown`, `not_a_face`) are rare for good reasons, and are not made frequent.

    Raises:
        ConfigError: The recipe has a weight for a class that does not exist.
    """
    if head.class_weights == "none":
        return None
    if isinstance(head.class_weights, dict):
        if unknown := [each for each in head.class_weights if each not in classes]:
            raise ConfigError(
                f"heads.{name}.class_weights: the head has no class {', '.join(map(repr, unknown))}",
                hint=f"its classes are {', '.join(classes)}",
            )
        return torch.tensor([head.class_weights.get(each, 1.0) for each in classes])
    shares = _class_shares(targets)
    weights = _evening(targets, classes)
    if head.class_weights == "sqrt":
        weights = weights.sqrt()
        weights = weights / (shares * weights).sum()
    return weights


def training_shares(samples: Samples, recipe: ExpressionRecipe) -> dict[str, Tensor]:
    """How frequent the classes (C,) of each head are in training, as a network learns it: the prior of its answers.

    A face counts for the class that holds more than half of its target; of votes, single ones do not count, as under
    the protocol `majority` of FER+. Class weights and the balanced sampler change what the network learns, so they
    change these shares.

    Args:
        samples: The training split.
        recipe: The recipe.
    """
    heads = recipe.class_heads
    targets = {name: targets_for(samples, head) for name, head in heads.items()}
    classes = head_classes(samples, heads)
    chances = None
    if recipe.sampler == "balanced":
        first = next(iter(heads))
        chances = torch.from_numpy(balanced_draws(targets[first], classes[first]))
    found = {}
    for name, head in heads.items():
        top = targets[name].argmax(dim=1)
        clear = targets[name].amax(dim=1) > 0.5 * targets[name].sum(dim=1)  # of rows of zeros, none
        if head.source == "votes" and samples.votes is not None:
            top, clear = (torch.from_numpy(each) for each in ferplus.majority_class(samples.votes))
            clear = clear & (top < targets[name].shape[1])
            top = top.clamp(max=targets[name].shape[1] - 1)
        counted = clear.double() if chances is None else clear * chances
        counts = torch.zeros(targets[name].shape[1], dtype=torch.double).index_add_(0, top, counted)
        weights = class_weights(targets[name], classes[name], name, head)
        counts = counts if weights is None else counts * weights
        found[name] = counts / counts.sum().clamp(min=1e-12)
    return found


def balanced_draws(targets: Tensor, classes: Sequence[str]) -> NDArray[np.float64]:
    """The chance (N,) of each row in a draw in which all emotions of the targets (N, C) are equally frequent.

    Rows without a target, and those of classes that are no emotions, are drawn as often as without balancing.
    """
    labelled = targets.sum(dim=1) > 0
    chances = targets.double() @ _evening(targets, classes).double()
    chances = torch.where(labelled, chances * labelled.sum() / chances.sum().clamp(min=1e-12), 1.0)
    drawn: NDArray[np.float64] = (chances / chances.sum()).numpy()
    return drawn


def _evening(targets: Tensor, classes: Sequence[str]) -> Tensor:
    """The factors (C,) that make the emotions of the targets (N, C) equally frequent, 1 on the mean of their faces."""
    shown = torch.tensor([name not in emotions.NO_EMOTIONS for name in classes])
    shares = _class_shares(targets * shown)
    even = torch.where(shares > 0, 1 / (shares.clamp(min=1e-12) * (shares > 0).sum()), 0.0)
    return torch.where(shown, even, 1.0)


def _class_shares(targets: Tensor) -> Tensor:
    """The share (C,) of each class in the mass of the targets (N, C)."""
    mass = targets.sum(dim=0)
    return mass / mass.sum().clamp(min=1e-12)


def _five_points(samples: Samples) -> Tensor:
    """The five landmarks (N, 5, 2) of the faces as fractions of the side; nan where they are unknown.

    Raises:
        ConfigError: The data has no keypoints, or images that are not square.
    """
    height, width = samples.images.shape[1:3]
    if samples.keypoints is None or samples.keypoint_scheme not in COUNTS or height != width:
        raise ConfigError(
            "augmentation.covers: the data has no dense keypoints of square faces, by which covers are placed",
            hint="find them with `mien data add-keypoints`, or set it to 0",
        )
    return torch.from_numpy(five_of(samples.keypoints) / np.float32(width))


def _without_time(values: Tensor) -> Tensor:
    """Windows (M, T, ...), or of single frames (M, ...)."""
    return values[:, 0] if values.shape[1] == 1 else values


@dataclass(frozen=True)
class ExpressionBatches:
    """Batches (images uint8 (B, C, H, W), targets by head (B, classes)); shuffled if there is a seed.

    Windows have images (B, T, C, H, W); a network that reads keypoints alone gets images without pixels, (B, 0).

    With `chances` (N,), the rows of a shuffled split are drawn with replacement, as many as there are.

    The last, smaller batch of a shuffled split is left out: batch norm and the schedule expect equal batches. `part`
    (r, n) selects the rows of each batch for the r-th of n processes; together they have the batches of one process.
    """

    images: Tensor
    targets: Mapping[str, Tensor]
    size: int
    seed: tuple[int, int] | None = None
    part: tuple[int, int] = (0, 1)
    chances: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        count = len(self.images)
        return max(1, count // self.size) if self.seed is not None else -(-count // self.size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.images)
        order = np.arange(count)
        if self.seed is not None:
            random = np.random.default_rng(self.seed)
            drawn = self.chances is not None
            order = random.choice(count, count, p=self.chances) if drawn else random.permutation(count)
        for index in range(len(self)):
            batch = order[index * self.size : (index + 1) * self.size]
            rows = torch.from_numpy(batch[self.part[0] :: self.part[1]])
            yield self.images[rows], {name: target[rows] for name, target in self.targets.items()}


class ExpressionData:
    """The batches of the training and the validation split of a store.

    Attributes:
        recipe: The recipe.
        classes: The classes of each head.
        class_weights: The weights (C,) of the classes by head, of the heads that have any.
        shares: How frequent the classes (C,) of each head are, see `training_shares`.
    """

    def __init__(self, samples: Samples, recipe: ExpressionRecipe) -> None:
        self.recipe = recipe
        self.classes = head_classes(samples, recipe.heads)
        self._splits = {
            "train": self._tensors(samples.only("train"), soft=True),
            "val": self._tensors(samples.only("val"), soft=False),  # measured against the labels alone
        }
        if len(self._splits["train"][0]) < 2:
            raise DataError("the training split holds fewer than two images", hint="build the data again")
        if not len(self._splits["val"][0]):
            raise DataError("no row of the val split has a label for any head", hint="train on another source")
        targets = self._splits["train"][1]
        self.shares = training_shares(examples_of(samples.only("train"), recipe.input.frames).samples, recipe)
        self.class_weights = {
            name: weights
            for name, head in recipe.class_heads.items()
            if (weights := class_weights(targets[name], self.classes[name], name, head)) is not None
        }
        first = next(iter(recipe.class_heads))
        self._chances = balanced_draws(targets[first], self.classes[first]) if recipe.sampler == "balanced" else None

    def _tensors(self, store: Samples, *, soft: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The images and the targets of a split; see `ExpressionBatches`."""
        heads, recipe = self.recipe.heads.items(), self.recipe
        examples = examples_of(store, recipe.input.frames)
        samples = examples.samples
        targets = {name: targets_for(samples, head) for name, head in heads}
        if soft:
            targets = {name: with_soft_targets(targets[name], samples, name, head) for name, head in heads}
            targets = self._weighted(targets, samples)
        # FER+'s modes drop rows; a row that no head learns from would only cost time.
        known = torch.stack([known_rows(targets[name], head) for name, head in heads]).any(dim=0)
        rows = examples.rows[known.numpy()]
        if soft and recipe.augmentation.covers:
            targets[POINTS] = _five_points(samples)
        targets = {name: target[known] for name, target in targets.items()}
        if models.reads_keypoints(recipe.model.name):
            side = np.array(store.images.shape[2:0:-1], np.float32)
            points = need_keypoints(store)[rows] / side * 2 - 1  # (M, T, 68, 2)
            targets[KEYPOINTS] = _without_time(torch.from_numpy(points.astype(np.float32)))
        if not models.reads_images(recipe.model.name):
            return torch.zeros(len(rows), 0, dtype=torch.uint8), targets
        images = fitted(store.images[rows.ravel()], recipe.input.spec())
        return _without_time(torch.from_numpy(images.reshape(*rows.shape, *images.shape[1:]))), targets

    def _weighted(self, targets: dict[str, Tensor], samples: Samples) -> dict[str, Tensor]:
        """The targets times the weights of the rows, if the recipe wants them: losses are means over targets.

        Raises:
            ConfigError: The data has no weights.
        """
        if not self.recipe.row_weights:
            return targets
        if samples.weights is None:
            raise ConfigError(
                "row_weights: the data has no weights",
                hint="make them with `python -m scripts.curate`, or leave it out",
            )
        weights = torch.from_numpy(samples.weights)[:, None]
        heads = self.recipe.class_heads
        return {name: target * weights if name in heads else target for name, target in targets.items()}

    def train_batches(
        self, epoch: int, part: tuple[int, int] = (0, 1), device: torch.device | None = None
    ) -> ExpressionBatches:
        """The batches of an epoch; see `TrainingData`."""
        return ExpressionBatches(
            *self._placed("train", device), self.recipe.batch_size, (self.recipe.seed, epoch), part, self._chances
        )

    def val_batches(self, device: torch.device | None = None) -> ExpressionBatches:
        """The validation split in its order."""
        return ExpressionBatches(*self._placed("val", device), 512)

    def some_images(self, count: int) -> Tensor:
        """At most `count` training images (N, C, H, W), evenly spaced, so that all classes are among them."""
        images = self._splits["train"][0]
        return images[torch.linspace(0, len(images) - 1, min(count, len(images))).long()]

    def _placed(self, split: str, device: torch.device | None) -> tuple[Tensor, dict[str, Tensor]]:
        """A split on the device, if there is room: its batches then need not be moved one by one."""
        images, targets = self._splits[split]
        if device is not None and images.device != device and images.nbytes <= _ROOM:
            moved = {name: target.to(device) for name, target in targets.items()}
            self._splits[split] = images.to(device), moved
        return self._splits[split]
