"""The four-layer network of many tutorials on FER2013: unpadded 3x3 convolutions, max-pooling, one dense layer.

For 48x48 grey images and seven classes: 2,345,607 parameters. Three settings reproduce the variants that such tutorials
compare: the options `pooling` and `dropout_each`, and the learning rate of the recipe.
"""

from collections.abc import Mapping

from torch import nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import activated, scaled, with_dense
from mien.models.blocks.network import Network


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    dropout: float = 0.25,
    dense_dropout: float = 0.5,
    pooling: str = "max",
    dropout_each: bool = False,
    width: float = 1.0,
) -> Network:
    """Convolutions of 32, 64, 128 and 128 channels, pooled after all but the first; a dense layer of 1024.

    Args:
        heads: Number of classes by head.
        input: Size and channels of the images.
        dropout: Dropout after the second and the last convolution.
        dense_dropout: Dropout after the dense layer.
        pooling: "max", or "stride": the convolution before each pooling has a stride of 2 instead, with as many
            parameters (Springenberg et al., "Striving for simplicity", ICLR 2015 workshop, section 2).
        dropout_each: Whether `dropout` follows every convolution.
        width: Factor of all widths.
    """
    if pooling not in ("max", "stride"):
        raise ValueError(f"pooling: expected max or stride, got '{pooling}'")
    channels, stages = input.depth, {}
    for number, layer_width in enumerate(scaled((32, 64, 128, 128), width), start=1):
        pooled = number > 1
        stride = 2 if pooled and pooling == "stride" else 1
        layers = activated(nn.Conv2d(channels, layer_width, 3, stride))
        if pooled and pooling == "max":
            layers.append(nn.MaxPool2d(2))
        if dropout_each or number in (2, 4):
            layers.append(nn.Dropout(dropout))
        stages[f"layer{number}"] = layers
        channels = layer_width
    return with_dense(stages, scaled((1024,), width), heads, input, dropout=dense_dropout)
