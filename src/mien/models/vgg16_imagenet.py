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
from mien.models.network import Network
from mien.models.parts.layers import activated, initialised, scaled

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
        input: What the pictures are like.
        frozen: So many of the 13 convolutions do not learn, counted from the picture; 10 leaves the last stage free.
        hidden: Sizes of the dense layers.
        dropout: Behind each dense layer.
        width: Multiplies all widths; the published weights fit 1 alone.
    """
    if not 0 <= frozen <= 13:
        raise ValueError(f"frozen: expected 0 to 13 convolutions, got {frozen}")
    base, before = nn.Sequential(), input.depth  # numbered as in torchvision, so that its weights fit
    for channels, depth in _STAGES:
        (after,) = scaled((channels,), width)
        for _ in range(depth):
            base.extend([nn.Conv2d(before, after, 3, padding=1), nn.ReLU()])
            before = after
        base.append(nn.MaxPool2d(2))
    layers: list[nn.Module] = []
    sizes = scaled(hidden, width)
    for number, size in enumerate(sizes, start=1):
        norm = "none" if number == len(sizes) else "before"
        layers += [*activated(nn.Linear(before, size), norm=norm), nn.Dropout(dropout)]
        before = size
    trunk = nn.Sequential()
    trunk.add_module("base", base)
    trunk.add_module("pool", nn.AdaptiveAvgPool2d(1))
    trunk.add_module("flat", nn.Flatten())
    trunk.add_module("dense", nn.Sequential(*layers))
    initialised(trunk)
    convolutions = [module for module in base if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[:frozen]:
        convolution.requires_grad_(False)
    return Network(trunk, before, heads)


def load_pretrained(network: Network, state: Mapping[str, Tensor]) -> None:
    """Puts the convolutions of torchvision's VGG-16 into a network of `build`; the rest of `state` is left aside.

    A network for grey pictures gets the sum of the first kernels over the colours, which is what they say of grey.

    Raises:
        ValueError: The state is not that of a VGG-16 of these widths.
    """
    own = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    base = network.get_submodule("trunk.base")
    first = base.get_parameter("0.weight")
    if "0.weight" in own and first.shape[1] == 1:
        own["0.weight"] = own["0.weight"].sum(dim=1, keepdim=True)
    try:
        with torch.no_grad():
            base.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError("; ".join(line.strip() for line in str(error).splitlines()[1:3])) from error
