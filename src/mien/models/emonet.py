"""Emonet: pairs of 3x3 convolutions with leaky ReLU and batch norm in four stages, then two dense layers.

A VGG-like network of tutorials on FER2013. Its 1,832,295 trainable parameters (48x48 grey, seven classes) show that
the dense layers have batch norms, too. The norms follow the activations; the slope is the default of the library that
it was written with.
"""

from collections.abc import Mapping, Sequence

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import pooled_stages, scaled, with_dense
from mien.models.blocks.network import Network


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    widths: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (2, 2, 2, 2),
    hidden: Sequence[int] = (256, 256),
    dropouts: Sequence[float] = (0.3, 0.3, 0.25, 0.25, 0.5),
    slope: float = 0.3,
    width: float = 1.0,
) -> Network:
    """Stages of `depths` convolutions and `widths` channels, each followed by max-pooling and dropout.

    `hidden` are the sizes of the dense layers. `dropouts` has one rate for each stage and, last, the rate of the dense
    layers. `slope` is the negative slope of the activations; `width` multiplies all widths.
    """
    *after_stages, dense = dropouts
    stages = pooled_stages(input.depth, scaled(widths, width), depths, after_stages, slope=slope, norm="after")
    return with_dense(stages, scaled(hidden, width), heads, input, dropout=dense, slope=slope, norm="after")
