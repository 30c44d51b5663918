"""VGG-16's convolutions, learnt on ImageNet, under a new head: first frozen, then with their top set free.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, configuration
D. The ensemble programs give 2,773,095 trainable parameters (seven classes) and no layers; dense layers of 2048, 800
and 96, with norms behind the first two, have exactly as many.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import activated, convolution, initialised, scaled, stacked
from mien.models.blocks.network import Network

__all__ = ["WEIGHTS", "build", "load_pretrained"]

# The table of `fetchable.toml` with the weights to begin with.
WEIGHTS: Final = "vgg16-imagenet"

_STAGES: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    frozen: int = 13,
    hidden: Sequence[int] = (2048, 800, 96),
    dropout: float = 0.5,
    width: float = 1.0,
) -> Network:
    """The convolutions of VGG-16, their maps averaged, dense layers of `hidden`, the heads.

    Args:
        heads: Number of classes by head.
        input: What the images are like.
        frozen: So many of the 13 convolutions do not learn, counted from the image; 10 leaves the last stage free.
        hidden: Sizes of the dense layers.
        dropout: Behind each dense layer.
        width: Multiplies all widths; the published weights fit 1 alone.
    """
    if not 0 <= frozen <= 13:
        raise ValueError(f"frozen: expected 0 to 13 convolutions, got {frozen}")
    before, stages = input.depth, {}
    for number, (channels, depth) in enumerate(_STAGES, start=1):
        (after,) = scaled((channels,), width)
        stage: list[nn.Module] = []
        for _ in range(depth):
            stage += convolution(before, after)
            before = after
        stages[f"stage{number}"] = [*stage, nn.MaxPool2d(2)]
    trunk = stacked(stages)
    layers: list[nn.Module] = []
    sizes = scaled(hidden, width)
    for number, size in enumerate(sizes, start=1):
        norm = "none" if number == len(sizes) else "before"
        layers += [*activated(nn.Linear(before, size), norm=norm), nn.Dropout(dropout)]
        before = size
    trunk.add_module("pool", nn.AdaptiveAvgPool2d(1))
    trunk.add_module("flat", nn.Flatten())
    trunk.add_module("dense", nn.Sequential(*layers))
    initialised(trunk)
    for layer in _convolutions(trunk)[:frozen]:
        layer.requires_grad_(False)
    return Network(trunk, before, heads)


def _convolutions(trunk: nn.Module) -> list[nn.Conv2d]:
    return [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]


def load_pretrained(network: Network, state: Mapping[str, Tensor]) -> None:
    """Puts the convolutions of torchvision's VGG-16 into a network of `build`; the rest of `state` is left aside.

    A network for grey images gets the sum of the first kernels over the colours, which is what they say of grey.

    Raises:
        ValueError: The state is not that of a VGG-16 of these widths.
    """
    numbers = sorted({int(key.split(".")[1]) for key in state if key.startswith("features.")})
    own = _convolutions(network.trunk)
    if len(numbers) != len(own):
        raise ValueError(f"it has {len(numbers)} convolutions, expected {len(own)}")
    for layer, number in zip(own, numbers, strict=True):
        for name, parameter in layer.named_parameters():
            value = state[f"features.{number}.{name}"]
            if layer is own[0] and name == "weight" and layer.in_channels == 1:
                value = value.sum(dim=1, keepdim=True)
            if value.shape != parameter.shape:
                shapes = f"{tuple(value.shape)}, expected {tuple(parameter.shape)}"
                raise ValueError(f"features.{number}.{name} has the shape {shapes}")
            with torch.no_grad():
                parameter.copy_(value)
