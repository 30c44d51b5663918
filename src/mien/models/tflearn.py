"""The network of the early TFLearn programs on FER2013: three large convolutions and one very wide dense layer.

For 48x48 grey images and seven classes: 56,883,015 parameters, all but half a percent of them in the dense layer.
"""

from collections.abc import Mapping

from torch import nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import activated, convolution, scaled, with_dense
from mien.models.blocks.network import Network


def build(heads: Mapping[str, int], input: InputSpec, *, dropout: float = 0.5, width: float = 1.0) -> Network:
    """5x5 convolutions of 64 and 64 channels, each pooled 3x3 with stride 2; a 4x4 of 128; a dense layer of 3072.

    `dropout` stands before the dense layer only; `width` multiplies all widths.
    """
    first, second, third, hidden = scaled((64, 64, 128, 3072), width)
    stages = {
        "stage1": [*convolution(input.depth, first, 5), nn.MaxPool2d(3, 2, padding=1)],
        "stage2": [*convolution(first, second, 5), nn.MaxPool2d(3, 2, padding=1)],
        # An even kernel keeps the size if the padding is one larger below and right than above and left.
        "stage3": [nn.ZeroPad2d((1, 2, 1, 2)), *activated(nn.Conv2d(second, third, 4)), nn.Dropout(dropout)],
    }
    return with_dense(stages, [hidden], heads, input, dropout=0.0)
