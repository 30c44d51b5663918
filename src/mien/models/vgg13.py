"""VGG13 as published for FER+: ten 3x3 convolutions in four stages, then two dense layers.

Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition with crowd-sourced
label distribution", ICMI 2016, section 4.1. For 64x64 grey images and eight classes: 8,757,704 parameters.
"""

from collections.abc import Mapping, Sequence

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import pooled_stages, scaled, with_dense
from mien.models.blocks.network import Network


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
    """Stages of `depths` convolutions and `widths` channels, each followed by max-pooling and `dropout`.

    `hidden` are the sizes of the dense layers, each followed by `dense_dropout`; `width` multiplies all widths.
    """
    stages = pooled_stages(input.depth, scaled(widths, width), depths, [dropout] * len(widths))
    return with_dense(stages, scaled(hidden, width), heads, input, dropout=dense_dropout)
