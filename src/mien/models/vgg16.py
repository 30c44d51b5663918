"""The VGG-16-like network of the ensemble programs, from scratch: VGG-16's first four stages, cut to two layers each.

It is called VGG-16 there, but its 9,416,903 trainable parameters (48x48 grey, seven classes) leave no room for
VGG-16's 13 convolutions: two each of 64, 128, 256 and 512 channels with batch norms, and a dense layer of 1024 with
one, have exactly as many.
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
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (2, 2, 2, 2),
    hidden: Sequence[int] = (1024,),
    dropout: float = 0.25,
    dense_dropout: float = 0.5,
    width: float = 1.0,
) -> Network:
    """Stages of `depths` convolutions and `widths` channels, each pooled to half its size and thinned by `dropout`.

    `width` multiplies all widths.
    """
    before, stages = input.depth, {}
    for number, (after, depth) in enumerate(zip(scaled(widths, width), depths, strict=True), start=1):
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += convolution(before, after, norm="before")
            before = after
        stages[f"stage{number}"] = [*layers, nn.MaxPool2d(2), nn.Dropout(dropout)]
    return with_dense(stages, scaled(hidden, width), heads, input, dropout=dense_dropout, norm="before")
