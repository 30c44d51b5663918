"""A face detector: single shot, without anchor boxes, plain 3x3 convolutions, strides 8, 16 and 32.

In the manner of SSD (Liu et al., ECCV 2016) and YuNet (Wu, Peng and Yu 2023), with a feature pyramid (Lin et al., CVPR
2017) and without anchor boxes (Tian et al., "FCOS", ICCV 2019): every cell of every stride predicts whether it is the
centre of a face, and the box and five landmarks of that face. Strided convolutions reduce the image to 1/8 early; most
of the work is done there, because processors are most efficient at plain convolutions of 16 channels and more.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.signature import CELL_VALUES
from mien.models.blocks.network import Fusible, fold_norm, identity_kernel, merged
from mien.models.detection import DetectionNetwork

# Initial probability of a face in a cell (Lin et al., "Focal loss", ICCV 2017, section 4.1).
_PRIOR: Final = 0.01


class Convolution(Fusible):
    """3x3 convolution with a batch norm, plus the identity with a batch norm if the shapes allow it; then ReLU."""

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.kernel = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.identity = nn.BatchNorm2d(width) if channels == width and stride == 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride)."""
        total = self.norm(self.kernel(maps))
        return torch.relu(total if self.identity is None else total + self.identity(maps))

    def fused(self) -> nn.Module:
        """One 3x3 convolution with a bias, and ReLU."""
        branches = [fold_norm(self.kernel.weight, self.norm)]
        if self.identity is not None:
            branches.append(fold_norm(identity_kernel(self.kernel.weight), self.identity))
        return merged(branches, self.stride)


class FaceDetector(DetectionNetwork):
    """Images to the predictions of every cell.

    Args:
        stem: Channels at strides 2 and 4.
        widths: Channels at strides 8, 16 and 32.
        depths: Convolutions at these strides after the strided convolution.
        neck: Channels of the pyramid and of the heads.
    """

    def __init__(
        self,
        *,
        stem: Sequence[int],
        widths: Sequence[int],
        depths: Sequence[int],
        neck: int,
    ) -> None:
        super().__init__()
        layers = [Convolution(3, stem[0], stride=2)]
        layers += [Convolution(channels, width, stride=2) for channels, width in pairwise(stem)]
        self.stem = nn.Sequential(*layers)
        channels = stem[-1]
        stages = []
        for width, depth in zip(widths, depths, strict=True):
            stages.append(
                nn.Sequential(
                    Convolution(channels, width, stride=2), *(Convolution(width, width) for _ in range(depth))
                )
            )
            channels = width
        self.stages = nn.ModuleList(stages)
        self.features = widths[-1]
        self.sides = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in widths)
        self.mixers = nn.ModuleList(Convolution(neck, neck) for _ in widths)
        self.heads = nn.ModuleList(nn.Conv2d(neck, CELL_VALUES, 1) for _ in widths)
        for head in self.heads.children():
            for name, weight in head.named_parameters():
                if name == "bias":
                    nn.init.zeros_(weight)
                    nn.init.constant_(weight[:1], -math.log((1 - _PRIOR) / _PRIOR))
                else:
                    nn.init.normal_(weight, std=0.01)

    def start(self, images: Tensor) -> Tensor:
        """See `DetectionNetwork.start`."""
        maps: Tensor = self.stem(images)
        return maps

    def cells(self, levels: list[Tensor]) -> Tensor:
        """See `DetectionNetwork.cells`."""
        above = None
        rows = []
        for level in reversed(range(len(levels))):
            mixed = self.sides[level](levels[level])
            if above is not None:
                mixed = mixed + nn.functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = mixed
            found = self.heads[level](self.mixers[level](mixed))  # (N, 15, h, w)
            rows.append(found.permute(0, 2, 3, 1).flatten(1, 2))  # (N, h * w, 15)
        return torch.cat(rows[::-1], dim=1)


def build(
    *,
    stem: Sequence[int] = (16, 32),
    widths: Sequence[int] = (48, 64, 64),
    depths: Sequence[int] = (2, 2, 4),
    neck: int = 48,
) -> FaceDetector:
    """See `FaceDetector`."""
    return FaceDetector(stem=stem, widths=widths, depths=depths, neck=neck)
