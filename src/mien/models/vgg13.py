"""VGG13 as it was trained on FER+: ten 3x3 convolutions in four stages, then two dense layers.

Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition with crowd-sourced
label distribution", ICMI 2016, section 4.1. At 64x64 grey with eight classes it has 8,757,704 parameters.
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
    widths: Sequence[int] = (64, 128, 256, 256),
    depths: Sequence[int] = (2, 2, 3, 3),
    hidden: Sequence[int] = (1024, 1024),
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
            layers += convolution(before, after)
            before = after
        stages[f"stage{number}"] = [*layers, nn.MaxPool2d(2), nn.Dropout(dropout)]
    return with_dense(stages, scaled(hidden, width), heads, input, dropout=dense_dropout)
