"""Inception-v1 for small faces: a short stem, the modules 3b to 4d of GoogLeNet, global average, no dense layer.

Szegedy et al., "Going deeper with convolutions", CVPR 2015, table 1 for the widths of the modules. The ensemble
programs state 2,149,159 trainable parameters (grey, seven classes) but no layers; this arrangement, with a batch norm
after every convolution and 3x3 kernels instead of the 5x5 of the modules, has exactly as many.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import convolution, initialise, named_stages, scaled
from mien.models.blocks.network import Network


class Widths(NamedTuple):
    """Channels of the branches of a module; the second and third branch start with a 1x1 reduction."""

    point: int
    reduce: int
    square: int
    reduce_large: int
    large: int
    pool: int


MODULES: Final = {
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
}


def build(heads: Mapping[str, int], input: InputSpec, *, dropout: float = 0.4, width: float = 1.0) -> Network:
    """A 7x7 and a 3x3 convolution, then five modules, max-pooled after the first; `width` multiplies all widths."""
    first, channels = scaled((32, 64), width)
    stages: dict[str, list[nn.Module]] = {
        "stem": [
            *convolution(input.depth, first, 7, stride=2, norm="before"),
            nn.MaxPool2d(3, 2, padding=1),
            *convolution(first, channels, norm="before"),
        ]
    }
    for name, widths in MODULES.items():
        module = Inception(channels, Widths(*scaled(widths, width)))
        stages[f"inception{name}"] = [module, nn.MaxPool2d(3, 2, padding=1)] if name == "3b" else [module]
        channels = module.channels
    trunk = named_stages(stages)
    initialise(trunk)
    return Network(trunk, channels, heads, dropout=dropout)


class Inception(nn.Module):
    """Four parallel branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooling then 1x1."""

    def __init__(self, channels: int, widths: Widths) -> None:
        super().__init__()
        self.channels = widths.point + widths.square + widths.large + widths.pool
        self.point = nn.Sequential(*convolution(channels, widths.point, 1, norm="before"))
        self.square = nn.Sequential(
            *convolution(channels, widths.reduce, 1, norm="before"),
            *convolution(widths.reduce, widths.square, norm="before"),
        )
        self.large = nn.Sequential(
            *convolution(channels, widths.reduce_large, 1, norm="before"),
            *convolution(widths.reduce_large, widths.large, norm="before"),
        )
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), *convolution(channels, widths.pool, 1, norm="before"))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, sum of the branches, H, W)."""
        return torch.cat([self.point(maps), self.square(maps), self.large(maps), self.pool(maps)], dim=1)
