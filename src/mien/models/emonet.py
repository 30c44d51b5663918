"""Emonet: pairs of 3x3 convolutions with leaky ReLU and batch norm, in four stages, then two dense layers.

A VGG-like network of the tutorials on FER2013; at 48x48 grey with seven classes it has 1,832,295 trainable
parameters, which says that its dense layers have norms as well. The norms follow the activations; the slope is that of
the library it was written with.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import convolution, scaled, with_dense
from mien.models.blocks.network import Network

__all__ = ["build"]


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    widths: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (2, 2, 2, 2),
    dropouts: Sequence[float] = (0.3, 0.3, 0.25, 0.25),
    hidden: Sequence[int] = (256, 256),
    dense_dropout: float = 0.5,
    slope: float = 0.3,
    width: float = 1.0,
) -> Network:
    """Stages of `depths` convolutions and `widths` channels, each pooled to half its size and thinned by `dropouts`.

    `slope` is that of the leaky ReLUs; `width` multiplies all widths.
    """
    before, stages = input.depth, {}
    plan = zip(scaled(widths, width), depths, dropouts, strict=True)
    for number, (after, depth, dropout) in enumerate(plan, start=1):
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += convolution(before, after, slope=slope, norm="after")
            before = after
        stages[f"stage{number}"] = [*layers, nn.MaxPool2d(2), nn.Dropout(dropout)]
    sizes = scaled(hidden, width)
    return with_dense(stages, sizes, heads, input, dropout=dense_dropout, slope=slope, norm="after")
