"""The convolutions of VGG-16, pretrained on ImageNet, with a new head: first frozen, then fine-tuned at the top.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, configuration
D. The ensemble programs state 2,773,095 trainable parameters (seven classes) but no layers; dense layers of 2048, 800
and 96, with batch norms after the first two, have exactly as many.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import activated, initialise, named_stages, pooled_stages, scaled
from mien.models.blocks.network import Network

# The table of `remote.toml` with the pretrained weights.
WEIGHTS: Final = "vgg16-imagenet"

_WIDTHS: Final = (64, 128, 256, 512, 512)
_DEPTHS: Final = (2, 2, 3, 3, 3)


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    frozen: int = 13,
    hidden: Sequence[int] = (2048, 800, 96),
    dropout: float = 0.5,
    width: float = 1.0,
) -> Network:
    """The convolutions of VGG-16, a global average, dense layers of `hidden`, the heads.

    Args:
        heads: Number of classes by head.
        input: Size and channels of the images.
        frozen: Number of convolutions, of 13, that are frozen, counted from the image; 10 trains the last stage.
        hidden: Sizes of the dense layers.
        dropout: Dropout after each dense layer.
        width: Factor of all widths; the pretrained weights fit 1 only.
    """
    if not 0 <= frozen <= 13:
        raise ValueError(f"frozen: expected 0 to 13 convolutions, got {frozen}")
    trunk = named_stages(pooled_stages(input.depth, scaled(_WIDTHS, width), _DEPTHS, [0.0] * len(_WIDTHS)))
    channels = scaled(_WIDTHS, width)[-1]
    layers: list[nn.Module] = []
    sizes = scaled(hidden, width)
    for number, size in enumerate(sizes, start=1):
        norm = "none" if number == len(sizes) else "before"
        layers += [*activated(nn.Linear(channels, size), norm=norm), nn.Dropout(dropout)]
        channels = size
    trunk.add_module("pool", nn.AdaptiveAvgPool2d(1))
    trunk.add_module("flat", nn.Flatten())
    trunk.add_module("dense", nn.Sequential(*layers))
    initialise(trunk)
    for layer in _convolutions(trunk)[:frozen]:
        layer.requires_grad_(False)
    return Network(trunk, channels, heads)


def _convolutions(trunk: nn.Module) -> list[nn.Conv2d]:
    return [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]


def load_pretrained(network: Network, state: Mapping[str, Tensor]) -> None:
    """Loads the convolutions of torchvision's VGG-16 into a network of `build`; the rest of `state` is not used.

    A network for grey images gets the first kernels summed over the colours: the same function of a grey image.

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
