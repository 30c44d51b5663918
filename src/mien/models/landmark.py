"""The landmark network: geometry instead of pixels. Three small branches of convolutions along the points, joined.

One branch for the coordinates, one for the distances to the centroid, one for the angles (see `blocks.shape`), then
dense layers of 128 and 1024, as in classic programs that read expressions from 68 points.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import scaled
from mien.models.blocks.network import Network
from mien.models.blocks.shape import COUNT, ShapeNorm

INPUTS: Final = ("keypoints",)
CHANNELS: Final = (16, 32)
DROPOUT: Final = 0.3
_PARTS: Final = {"places": (0, 2), "distances": (2, 3), "angles": (3, 5)}  # of a point's five values


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    channels: Sequence[int] = CHANNELS,
    dense: Sequence[int] = (128, 1024),
    dropout: float = DROPOUT,
    width: float = 1.0,
) -> Network:
    """Branches of convolutions with `channels`, each halving the points; dense layers; dropout after each of them.

    Args:
        heads: Number of classes by head.
        input: Of images, which this network does not take.
        channels: Of the convolutions of each branch.
        dense: Sizes of the dense layers.
        dropout: Dropout after each dense layer.
        width: Factor of all widths.
    """
    del input
    return Network(ShapeTrunk(scaled(channels, width), sizes := scaled(dense, width), dropout), sizes[-1], heads)


class ShapeTrunk(nn.Module):
    """From keypoints (N, K, 2) to features (N, F)."""

    def __init__(self, channels: Sequence[int], dense: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.shape = ShapeNorm()
        for name, (start, stop) in _PARTS.items():
            self.add_module(name, _branch(stop - start, channels))
        size = len(_PARTS) * channels[-1] * (COUNT >> len(channels))
        layers: list[nn.Module] = []
        for width in dense:
            layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        self.dense = nn.Sequential(*layers)

    def forward(self, points: Tensor) -> Tensor:
        """(N, K, 2) -> (N, F)."""
        features = self.shape(points)  # (N, 5, 68)
        branches = ((self.get_submodule(name), *part) for name, part in _PARTS.items())
        joined = [branch(features[:, start:stop]).flatten(1) for branch, start, stop in branches]
        found: Tensor = self.dense(torch.cat(joined, dim=1))
        return found


def _branch(values: int, channels: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in channels:
        layers += [nn.Conv1d(values, width, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)]
        values = width
    return nn.Sequential(*layers)
