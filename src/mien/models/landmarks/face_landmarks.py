"""Landmarks, head pose and a face score from the crop of a face: plain 3x3 convolutions, then a dense layer.

Coordinates are regressed directly, as offsets from the mean shape (as in Feng et al., "Wing loss", CVPR 2018, and Guo
et al., "PFLD", 2019), not read from heatmaps. The dense layer reads every cell of the last maps, because the mean over
the maps, with which classifiers end, no longer knows where something is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.models.blocks.network import fuse
from mien.models.plain import DiracLayer

# The network's own units: outputs of about 1 are a tenth of the side, and 20 degrees.
_SIDES = 0.1
_DEGREES = 20.0


class Found(NamedTuple):
    """What the network finds in N crops.

    Attributes:
        points: (N, K, 2) x, y as fractions of the side of the crop.
        pose: (N, 3) yaw, pitch and roll in degrees.
        score: (N,) logit: whether the crop shows a face at all.
    """

    points: Tensor
    pose: Tensor
    score: Tensor


class FaceLandmarks(nn.Module):
    """Crops to points, pose and score.

    Args:
        mean_shape: (K, 2) mean places of the points, as fractions of the side.
        size: Side of the crops in pixels.
        widths: Channels of each stage, whose first layer halves the size.
        depths: Layers of each stage.
        necks: Channels of each stage's last maps that the outputs read, of every cell; 0: none of this stage.
    """

    def __init__(
        self,
        mean_shape: Sequence[Sequence[float]],
        *,
        size: int = 80,
        widths: Sequence[int] = (16, 32, 64, 96),
        depths: Sequence[int] = (1, 2, 3, 3),
        necks: Sequence[int] = (0, 0, 16, 48),
    ) -> None:
        super().__init__()
        stages, reduced, self.width = [], [], 0
        channels, side = 1, size
        for width, depth, neck in zip(widths, depths, necks, strict=True):
            layers = [
                DiracLayer(channels if index == 0 else width, width, 2 if index == 0 else 1) for index in range(depth)
            ]
            channels, side = width, -(-side // 2)
            stages.append(nn.Sequential(*layers))
            reduced.append(nn.Conv2d(width, neck, 1) if neck else nn.Identity())
            self.width += neck * side**2
        self.size = size
        self.stages = nn.ModuleList(stages)
        self.necks = nn.ModuleList(reduced)
        self.points = nn.Linear(self.width, 2 * len(mean_shape))
        self.others = nn.Linear(self.width, 4)
        for layer in (self.points, self.others):
            nn.init.normal_(layer.weight, std=0.2 / self.width**0.5)
            nn.init.zeros_(layer.bias)
        self.mean_shape: Tensor
        self.register_buffer("mean_shape", torch.tensor(mean_shape, dtype=torch.float32))

    def features(self, crops: Tensor) -> Tensor:
        """Normalised grey crops (N, 1, size, size) -> what the dense layer reads, (N, width)."""
        maps, cells = crops, []
        for stage, neck in zip(self.stages, self.necks, strict=True):
            maps = stage(maps)
            if isinstance(neck, nn.Conv2d):
                cells.append(torch.relu(neck(maps)).flatten(1))
        return torch.cat(cells, dim=1)

    def read(self, features: Tensor) -> Found:
        """Features (N, width) -> what is found."""
        points = self.mean_shape + _SIDES * self.points(features).reshape(-1, *self.mean_shape.shape)
        others = self.others(features)
        return Found(points, _DEGREES * others[:, :3], others[:, 3])

    def forward(self, crops: Tensor) -> Found:
        """Normalised grey crops (N, 1, size, size) -> what is found in them."""
        return self.read(self.features(crops))

    def fused(self) -> "FaceLandmarks":
        """A copy in evaluation mode, every layer one convolution."""
        return fuse(self)
