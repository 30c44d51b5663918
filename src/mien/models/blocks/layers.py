"""Layers as the field's classic programs stack them: convolutions in stages, then dense layers."""

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.models.blocks.network import Network

__all__ = ["activated", "convolution", "initialised", "length", "scaled", "shortcut", "stacked", "with_dense"]


def activated(layer: nn.Conv2d | nn.Linear, *, slope: float = 0.0, norm: str = "none") -> list[nn.Module]:
    """A layer with its activation and, where one is wanted, its batch norm.

    Args:
        layer: A convolution or a dense layer.
        slope: Of the activation's negative side: 0 is ReLU.
        norm: "none"; "before" or "after" the activation.

    Raises:
        ValueError: `norm` is no such place.
    """
    relu = nn.LeakyReLU(slope) if slope else nn.ReLU()
    if norm == "none":
        return [layer, relu]
    batch_norm = nn.BatchNorm2d(layer.out_channels) if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d(len(layer.bias))
    if norm == "before":
        return [layer, batch_norm, relu]
    if norm == "after":
        return [layer, relu, batch_norm]
    raise ValueError(f"norm: expected none, before or after, got '{norm}'")


def convolution(
    before: int, after: int, size: int = 3, *, stride: int = 1, slope: float = 0.0, norm: str = "none"
) -> list[nn.Module]:
    """A convolution with a bias that keeps the size (or divides it by `stride`), activated as above."""
    return activated(nn.Conv2d(before, after, size, stride, padding=size // 2), slope=slope, norm=norm)


def shortcut(before: int, after: int, *, stride: int) -> nn.Sequential:
    """A 1x1 convolution in steps and its norm, beside the long way of a residual block.

    The steps come first, which is the same: the gradient of a 1x1 convolution that takes them itself crashes oneDNN in
    full precision on processors with AVX-512 (torch 2.13).
    """
    return nn.Sequential(nn.MaxPool2d(1, stride), nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))


def scaled(sizes: Sequence[int], share: float) -> list[int]:
    """Widths times `share`, each at least one: the same network, narrower or wider.

    Raises:
        ConfigError: The share is no number above 0.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < math.inf:
        raise ConfigError(
            f"model.options.width: expected a number above 0, got {share!r}", hint="1.0 is the network as it is known"
        )
    return [max(1, round(size * share)) for size in sizes]


def stacked(stages: Mapping[str, Sequence[nn.Module]]) -> nn.Sequential:
    """The stages one after the other, under their names."""
    return nn.Sequential(OrderedDict((name, nn.Sequential(*layers)) for name, layers in stages.items()))


def with_dense(
    stages: Mapping[str, Sequence[nn.Module]],
    sizes: Sequence[int],
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    dropout: float,
    slope: float = 0.0,
    norm: str = "none",
) -> Network:
    """A classic network: stages of convolutions, their maps as one vector, dense layers, and the heads.

    Args:
        stages: Layers by the stage's name; the last gives maps (N, C, h, w).
        sizes: Of the dense layers, each of which is activated (see `activated`) and thinned by `dropout`.
        heads: Number of classes by head.
        input: What the images are like.
        dropout: Of the dense layers.
        slope: Of the activations.
        norm: Of the dense layers.

    Raises:
        ValueError: The images are too small for the stages.
    """
    trunk = stacked(stages)
    before = length(trunk, input)
    trunk.add_module("flat", nn.Flatten())
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [*activated(nn.Linear(before, size), slope=slope, norm=norm), nn.Dropout(dropout)]
        before = size
    trunk.add_module("dense", nn.Sequential(*layers))
    initialised(trunk, slope, norm=norm)
    return Network(trunk, before, heads)


def length(layers: nn.Module, input: InputSpec) -> int:
    """How many numbers `layers` make of one image, found by running them without any data.

    Raises:
        ValueError: The image is too small for them.
    """
    shapes = copy.deepcopy(layers).to("meta").eval()
    try:
        with torch.no_grad():
            maps: Tensor = shapes(torch.empty(1, input.depth, input.size, input.size, device="meta"))
    except RuntimeError as error:
        raise ValueError(f"images of {input.size}x{input.size} are too small for its layers") from error
    return maps[0].numel()


def initialised(network: nn.Module, slope: float = 0.0, *, norm: str = "before") -> None:
    """Gives kernels a spread that keeps signals of one size through many layers; biases become 0.

    With norms, that for ReLUs, leaky by `slope` (He et al., "Delving deep into rectifiers", ICCV 2015, equations 10
    and 15). Without, that of Glorot and Bengio (AISTATS 2010, equation 16), as the programs with such networks use:
    max-pooling and dropout raise signals, and under He's spread VGG13 on faces began at a loss of 15 instead of 2.1.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if norm == "none":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, a=slope)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
