"""mini-Xception: depthwise-separable convolutions with residual connections, and no dense layer.

Arriaga, Valdenegro-Toro and Plöger, "Real-time convolutional neural networks for emotion and gender classification",
2017, section 3. 56,951 trainable parameters with seven classes, whatever the size.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import initialised, scaled, shortcut
from mien.models.blocks.network import Network

__all__ = ["build"]


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
    (before,) = scaled((stem,), width)
    trunk = nn.Sequential()
    trunk.add_module("stem", nn.Sequential(*_plain(input.depth, before), *_plain(before, before)))
    for number, after in enumerate(scaled(widths, width), start=1):
        trunk.add_module(f"block{number}", Residual(before, after))
        before = after
    trunk.add_module("neighbours", Neighbours())
    initialised(trunk)
    return Network(trunk, 9 * before, heads, dropout=dropout)


def _plain(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def _separable(before: int, after: int) -> list[nn.Module]:
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution of all, and a norm."""
    return [
        nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
    ]


class Residual(nn.Module):
    """Two separable convolutions, pooled, beside a 1x1 convolution in steps of two."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.short = shortcut(before, after, stride=2)
        self.long = nn.Sequential(
            *_separable(before, after), nn.ReLU(), *_separable(after, after), nn.MaxPool2d(3, 2, padding=1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / 2, W / 2), rounded up."""
        total: Tensor = self.short(maps) + self.long(maps)
        return total


class Neighbours(nn.Module):
    """Averages the map as it is and shifted by one place in each direction, zeros coming in from outside.

    The paper ends in a 3x3 convolution to the classes, averaged. As both are linear, a linear layer on these nine
    averages is the same function with the same parameters, and there can be one for each head.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 9 C)."""
        height, width = maps.shape[2:]
        padded = nn.functional.pad(maps, [1, 1, 1, 1])
        shifted = [padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
        return torch.cat([part.mean(dim=(2, 3)) for part in shifted], dim=1)
