"""The network that the ensemble programs call VGG-16, trained from scratch: four stages of two convolutions.

Their 9,416,903 trainable parameters (48x48 grey, seven classes) leave no room for the 13 convolutions of VGG-16. Two
convolutions each of 64, 128, 256 and 512 channels with batch norms, and a dense layer of 1024 with a batch norm, have
exactly as many.
"""

from collections.abc import Mapping, Sequence

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import pooled_stages, scaled, with_dense
from mien.models.blocks.network import Network


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
    """Stages of `depths` convolutions and `widths` channels, each followed by max-pooling and `dropout`.

    `hidden` are the sizes of the dense layers, each followed by `dense_dropout`; `width` multiplies all widths.
    """
    stages = pooled_stages(input.depth, scaled(widths, width), depths, [dropout] * len(widths), norm="before")
    return with_dense(stages, scaled(hidden, width), heads, input, dropout=dense_dropout, norm="before")
