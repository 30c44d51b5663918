"""The convolutions of VGG-16, pretrained on ImageNet, with a new head: first frozen, then fine-tuned at the top.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, configuration
D. The ensemble programs state 2,773,095 trainable parameters (seven classes) but no layers; dense layers of 2048, 800
and 96, with batch norms after the first two, have exactly as many.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import activated, assign, initialise, named_stages, pooled_stages, scaled
from mien.models.blocks.network import Network

# Tables with pretrained weights.
WEIGHTS: Final = ("vgg16-imagenet",)

# Names of convolutions in published files.
_NUMBERS: Final = re.compile(r"features\.\d+$|conv_?\d_\d$")

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


def load_pretrained(network: Network, state: Mapping[str, Tensor], input: InputSpec) -> None:
    """Loads the convolutions of a VGG-16 into a network of `build`; the dense layers of `state` are not used.

    The keys may be those of torchvision ("features.0.weight") or those of the VGG-Face network of Parkhi et al. (BMVC
    2015) in PyTorch ("conv1_1.weight" or "conv_1_1.weight"). A network for grey images gets the first kernels summed
    over the colours: the same function of a grey image.

    Args:
        network: Changed in place.
        state: The tensors.
        input: The images; mean and deviation should be those of the published network.

    Raises:
        ValueError: The state is not that of a VGG-16 of these widths.
    """
    own = _convolutions(network.trunk)
    names = sorted({name for key in state if (name := key.rpartition(".")[0]) and _NUMBERS.match(name)}, key=_place)
    if len(names) != len(own):
        raise ValueError(f"it has {len(names)} convolutions, expected {len(own)}")
    for layer, name in zip(own, names, strict=True):
        kernel = state.get(f"{name}.weight")
        if layer is own[0] and kernel is not None and input.depth == 1:
            kernel = kernel.sum(dim=1, keepdim=True)
        assign(layer.weight, kernel, f"{name}.weight")
        if layer.bias is not None:
            assign(layer.bias, state.get(f"{name}.bias"), f"{name}.bias")


def _place(name: str) -> tuple[int, ...]:
    """The place of a convolution in the network, by the numbers in its name."""
    return tuple(map(int, re.findall(r"\d+", name)))
