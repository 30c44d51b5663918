"""mini-Xception: depthwise-separable convolutions with residual connections, and no dense layer.

Arriaga, Valdenegro-Toro and Plöger, "Real-time convolutional neural networks for emotion and gender classification",
2017, section 3. 56,951 trainable parameters for grey images of any size and seven classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import initialise, scaled, shortcut
from mien.models.blocks.network import Network


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    stem: int = 8,
    widths: Sequence[int] = (16, 32, 64, 128),
    dropout: float = 0.0,
    width: float = 1.0,
) -> Network:
    """Two unpadded 3x3 convolutions, then a residual block for each of `widths`; `width` multiplies all widths."""
    (channels,) = scaled((stem,), width)
    trunk = nn.Sequential()
    trunk.add_module("stem", nn.Sequential(*_plain(input.depth, channels), *_plain(channels, channels)))
    for number, block_width in enumerate(scaled(widths, width), start=1):
        trunk.add_module(f"block{number}", Residual(channels, block_width))
        channels = block_width
    trunk.add_module("neighbours", Neighbours())
    initialise(trunk)
    return Network(trunk, 9 * channels, heads, dropout=dropout)


def _plain(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]


def _separable(channels: int, width: int) -> list[nn.Module]:
    """A depthwise 3x3 convolution, a 1x1 convolution and a batch norm."""
    return [
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, width, 1, bias=False),
        nn.BatchNorm2d(width),
    ]


class Residual(nn.Module):
    """Two separable convolutions and max-pooling, plus a 1x1 shortcut with stride 2."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.short = shortcut(channels, width, stride=2)
        self.long = nn.Sequential(
            *_separable(channels, width), nn.ReLU(), *_separable(width, width), nn.MaxPool2d(3, 2, padding=1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / 2, W / 2), rounded up."""
        total: Tensor = self.short(maps) + self.long(maps)
        return total


class Neighbours(nn.Module):
    """Averages of the map and of its eight shifts by one cell, padded with zeros.

    The paper ends with a 3x3 convolution to the classes and a global average. Both are linear, so a linear layer on
    these nine averages is the same function with the same parameters, and every head can have its own.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 9 C)."""
        height, width = maps.shape[2:]
        padded = nn.functional.pad(maps, [1, 1, 1, 1])
        shifted = [padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
        return torch.cat([part.mean(dim=(2, 3)) for part in shifted], dim=1)
