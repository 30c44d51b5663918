"""Capsules: vectors whose length says how sure a part or a class is present, and whose direction says in which form.

Sabour, Frosst and Hinton, "Dynamic routing between capsules", NeurIPS 2017: primary capsules of 8 dimensions, a class
capsule of 16 dimensions for each class, routing by agreement in three rounds (section 2, procedure 1), the margin loss
(section 3; `mien.training.expression.module`) and a decoder that has to redraw the image from the capsule of the right
class (section 4.1). The paper's network reads 28x28 digits through one 9x9 convolution. On faces of 48 pixels that is
slow and weak, so a stem of 3x3 convolutions with batch norms stands in its place unless `stem` is empty.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import ConvNorm, flat_size, initialise, scaled
from mien.models.blocks.network import Network, full_precision

_LEAST: Final = 1e-8


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    stem: Sequence[int] = (24, 48, 96),
    types: int = 32,
    size: int = 8,
    class_size: int = 16,
    rounds: int = 3,
    width: float = 1.0,
) -> Network:
    """A stem, primary capsules by a convolution with a stride of 2, and class capsules for each head.

    Args:
        heads: Number of classes by head.
        input: Size and channels of the images.
        stem: Channels of the stages before the primary capsules: each halves the size and has two 3x3
            convolutions.
            Empty: the paper's single 9x9 convolution of 256 channels.
        types: Primary capsules at each place.
        size: Dimensions of a primary capsule.
        class_size: Dimensions of a class capsule.
        rounds: Rounds of routing.
        width: Factor of the widths of the stem and of `types`.
    """
    if rounds < 1:
        raise ValueError(f"rounds: expected a number from 1, got {rounds}")
    channels, layers = input.depth, list[nn.Module]()
    for each in scaled(stem, width) if stem else ():
        layers += [ConvNorm(channels, each, stride=2, padding=1), nn.ReLU()]
        layers += [ConvNorm(each, each, padding=1), nn.ReLU()]
        channels = each
    if not stem:
        (first,) = scaled((256,), width)
        layers, channels = [nn.Conv2d(channels, first, 9), nn.ReLU()], first
    (types,) = scaled((types,), width)
    trunk = nn.Sequential()
    trunk.add_module("stem", nn.Sequential(*layers))
    trunk.add_module("primary", PrimaryCapsules(channels, types, size, 3 if stem else 9))
    features = flat_size(trunk, input)
    initialise(trunk)
    routing = {"primary": features // size, "size": size, "class_size": class_size, "rounds": rounds}
    return CapsuleNetwork(trunk, features, heads, **routing)


def squash(vectors: Tensor) -> Tensor:
    """Vectors (..., D) with the same directions and lengths below 1: |s|^2 / (1 + |s|^2), equation 1 of the paper."""
    squared = vectors.square().sum(dim=-1, keepdim=True)
    return vectors * (squared / (1 + squared) / (squared + _LEAST).sqrt())


class PrimaryCapsules(nn.Module):
    """A convolution whose channels are grouped into capsules.

    Args:
        channels: Channels of the maps.
        types: Capsules at each place.
        size: Dimensions of a capsule.
        kernel: Side of the convolution.
    """

    def __init__(self, channels: int, types: int, size: int, kernel: int) -> None:
        super().__init__()
        self.types, self.size = types, size
        self.conv = nn.Conv2d(channels, types * size, kernel, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> the capsules, one after the other, (N, types h w size)."""
        values = self.conv(maps).float()  # (N, types size, h, w)
        vectors = values.reshape(values.shape[0], self.types, self.size, -1).transpose(2, 3)  # (N, types, h w, size)
        return squash(vectors).flatten(1)


class ClassCapsules(nn.Module):
    """One capsule for each class, to which the primary capsules are routed by agreement.

    Args:
        classes: Number of classes.
        primary: Number of primary capsules.
        size: Their dimensions.
        class_size: Dimensions of a class capsule.
        rounds: Rounds of routing, a fixed number.
    """

    def __init__(self, classes: int, *, primary: int, size: int, class_size: int, rounds: int) -> None:
        super().__init__()
        self.in_features, self.size, self.rounds = primary * size, size, rounds
        self.classes, self.class_size = classes, class_size
        self.weight = nn.Parameter(torch.randn(primary, size, classes * class_size) / (4 * size**0.5))

    def forward(self, features: Tensor) -> Tensor:
        """Primary capsules (N, P size) -> class capsules before squashing (N, C, class_size)."""
        with full_precision(features):
            count = features.shape[0]  # not len(), which would fix the number of faces in an exported graph
            vectors = features.float().reshape(count, -1, self.size).transpose(0, 1)  # (P, N, size)
            votes = torch.bmm(vectors, self.weight).reshape(-1, count, self.classes, self.class_size)
            fixed = votes.detach()  # agreement chooses the routes; gradients flow through the votes alone
            logits = torch.zeros_like(fixed[..., :1])  # (P, N, C, 1)
            for _ in range(self.rounds - 1):
                agreed = squash((logits.softmax(dim=2) * fixed).sum(dim=0, keepdim=True))
                logits = logits + (fixed * agreed).sum(dim=-1, keepdim=True)
            found: Tensor = (logits.softmax(dim=2) * votes).sum(dim=0)
            return found


class CapsuleNetwork(Network):
    """A network whose heads are class capsules. The logit of a class is log |s|^2 of its capsule before squashing.

    That is the logit of the capsule's length |v| = |s|^2 / (1 + |s|^2): the sigmoid of a logit is the length.

    Args:
        trunk: Gives the primary capsules.
        features: Number of their values together.
        heads: Number of classes by head.
        routing: Arguments of `ClassCapsules`.
    """

    def __init__(self, trunk: nn.Module, features: int, heads: Mapping[str, int], **routing: int) -> None:
        super().__init__(trunk, features, {})
        self.class_size = routing["class_size"]
        self.heads = nn.ModuleDict({name: ClassCapsules(classes, **routing) for name, classes in heads.items()})

    def capsules(self, features: Tensor) -> dict[str, Tensor]:
        """Features (N, F) -> class capsules before squashing (N, C, class_size) by head."""
        return {name: head(features) for name, head in self.heads.items()}

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Features (N, F) -> logits (N, C) by head."""
        return {name: logits_of(each) for name, each in self.capsules(features).items()}


def logits_of(capsules: Tensor) -> Tensor:
    """Class capsules before squashing (N, C, D) -> logits (N, C); their sigmoid is the capsules' length."""
    return (capsules.square().sum(dim=-1) + _LEAST).log()


class Decoder(nn.Module):
    """Redraws the image from the capsules of the classes in the target: dense layers of 512 and 1024, then the pixels.

    It regularises training (section 4.1 of the paper) and is no part of the exported network.

    Args:
        classes: Number of classes.
        class_size: Dimensions of a class capsule.
        input: Size and channels of the images.
    """

    def __init__(self, classes: int, class_size: int, input: InputSpec) -> None:
        super().__init__()
        self.shape = (input.depth, input.size, input.size)
        pixels = input.depth * input.size**2
        self.layers = nn.Sequential(
            nn.Linear(classes * class_size, 512), nn.ReLU(), nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, pixels)
        )

    def forward(self, capsules: Tensor, target: Tensor) -> Tensor:
        """Class capsules before squashing (N, C, D) and targets (N, C) -> images (N, C, H, W), values 0-1."""
        shown = squash(capsules) * target[:, :, None]
        drawn: Tensor = torch.sigmoid(self.layers(shown.flatten(1)).float()).reshape(-1, *self.shape)
        return drawn
