"""The multi-input network: an image branch and a landmark branch, joined before the heads.

The image branch is the network `plain`, the landmark branch that of `landmark`, so the recipe of `plain` with the same
options is its image-only twin: what the keypoints add can be measured.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models import plain
from mien.models.blocks.layers import scaled
from mien.models.blocks.network import Network
from mien.models.landmark import CHANNELS, DROPOUT, ShapeTrunk

INPUTS: Final = ("images", "keypoints")


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    stem: int = 24,
    widths: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (2, 4, 4),
    dense: Sequence[int] = (128, 64),
    dropout: float = 0.2,
    width: float = 1.0,
) -> Network:
    """The branches; their features are concatenated.

    Args:
        heads: Number of classes by head.
        input: Size and channels of the images.
        stem: Of the image branch, see `plain`.
        widths: Of the image branch.
        depths: Of the image branch.
        dense: Of the landmark branch; the last size is the number of its features.
        dropout: Dropout of the joined features.
        width: Factor of all widths.
    """
    widths, dense = scaled(widths, width), scaled(dense, width)
    (stem,) = scaled((stem,), width)
    image = plain.build({}, input, stem=stem, widths=widths, depths=depths, joined="kernels").trunk
    trunk = TwoBranches(image, ShapeTrunk(scaled(CHANNELS, width), dense, DROPOUT))
    return Network(trunk, widths[-1] + dense[-1], heads, dropout=dropout)


class TwoBranches(nn.Module):
    """Features of an image and of its keypoints, side by side."""

    def __init__(self, image: nn.Module, shape: nn.Module) -> None:
        super().__init__()
        self.image, self.shape = image, shape

    def forward(self, images: Tensor, points: Tensor) -> Tensor:
        """Images (N, C, H, W) and keypoints (N, K, 2) -> (N, F)."""
        return torch.cat([self.image(images).mean(dim=(2, 3)), self.shape(points)], dim=1)
