"""A face detector: single shot, mean_landmarks-free, plain 3x3 convolutions, three strides.

In the manner of SSD (Liu et al., ECCV 2016) and YuNet (Wu, Peng and Yu 2023), with a feature pyramid (Lin et al., CVPR
2017) and without anchors (Tian et al., "FCOS", ICCV 2019): every cell of every stride says whether it is the middle of
a face, and where that face's box and five landmarks lie. Strided convolutions bring the image down to 1/8 quickly,
where most of the work is done: processors are quickest at plain convolutions of 16 channels and more.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.detectors import OUTPUTS
from mien.models.blocks.network import Fusible, fuse
from mien.models.plain import absorbed

__all__ = ["FaceDetector"]

# A cell says "face" with this probability before anything is learnt (Lin et al., "Focal loss", ICCV 2017, section 4.1).
_PRIOR: Final = 0.01


class Convolution(Fusible):
    """A 3x3 convolution and its batch norm, plus the normed identity where shapes allow; then ReLU."""

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.kernel = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.identity = nn.BatchNorm2d(after) if before == after and stride == 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        total = self.norm(self.kernel(maps))
        return torch.relu(total if self.identity is None else total + self.identity(maps))

    def fused(self) -> nn.Module:
        """One 3x3 convolution with a bias, and ReLU."""
        kernel, bias = absorbed(self.kernel.weight, self.norm)
        if self.identity is not None:
            unit = torch.zeros_like(kernel)
            unit[:, :, 1, 1] = torch.eye(len(unit))
            same, same_bias = absorbed(unit, self.identity)
            kernel, bias = kernel + same, bias + same_bias
        merged = nn.Conv2d(self.kernel.in_channels, self.kernel.out_channels, 3, self.stride, padding=1)
        merged.weight.copy_(kernel)
        merged.bias.copy_(bias)  # type: ignore[union-attr]
        return nn.Sequential(merged, nn.ReLU())


class FaceDetector(nn.Module):
    """From images to what each cell says.

    Args:
        stem: Channels at strides 2 and 4.
        widths: Channels at strides 8, 16 and 32.
        depths: Convolutions there after the strided one.
        neck: Channels of the pyramid and of the heads.
    """

    def __init__(
        self,
        *,
        stem: Sequence[int] = (16, 32),
        widths: Sequence[int] = (48, 64, 64),
        depths: Sequence[int] = (2, 2, 4),
        neck: int = 48,
    ) -> None:
        super().__init__()
        layers = [Convolution(3, stem[0], stride=2)]
        layers += [Convolution(before, after, stride=2) for before, after in pairwise(stem)]
        self.stem = nn.Sequential(*layers)
        before = stem[-1]
        stages = []
        for width, depth in zip(widths, depths, strict=True):
            stages.append(
                nn.Sequential(Convolution(before, width, stride=2), *(Convolution(width, width) for _ in range(depth)))
            )
            before = width
        self.stages = nn.ModuleList(stages)
        self.sides = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in widths)
        self.mixers = nn.ModuleList(Convolution(neck, neck) for _ in widths)
        self.heads = nn.ModuleList(nn.Conv2d(neck, OUTPUTS, 1) for _ in widths)
        for head in self.heads.children():
            for name, weight in head.named_parameters():
                if name == "bias":
                    nn.init.zeros_(weight)
                    nn.init.constant_(weight[:1], -math.log((1 - _PRIOR) / _PRIOR))
                else:
                    nn.init.normal_(weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) RGB, values 0-1, sides multiples of 32 -> (N, cells, 15), the finest stride first.

        There are H / stride * W / stride cells of each stride, row by row.
        """
        maps = self.stem(images)
        levels = []
        for stage in self.stages:
            maps = stage(maps)
            levels.append(maps)
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

    def fused(self) -> "FaceDetector":
        """A copy in evaluation mode, every convolution with its norms in one."""
        return fuse(self)
