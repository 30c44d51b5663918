"""Illumination of batches while a network learns, after augmentation; reading does the same with numpy."""

import torch
from torch import Tensor

from mien.expression.preprocess import LEAST_SPREAD

__all__ = ["normalise_illumination"]


def normalise_illumination(images: Tensor) -> Tensor:
    """Each channel with its histogram equalised, without the plane that fits it best, and with unit variance.

    See `mien.expression.preprocess.normalised`, whose results on the same images are equal.

    Args:
        images: (N, C, H, W), values 0-1.
    """
    count, depth, height, width = images.shape
    with torch.autocast(images.device.type, enabled=False):
        greys = (images.float() * 255).round().clamp(0, 255).long().reshape(count * depth, height * width)
        bins = torch.zeros(count * depth, 256, device=images.device)
        bins.scatter_add_(1, greys, torch.ones_like(greys, dtype=bins.dtype))
        shares = bins.cumsum(dim=1) / (height * width)  # of pixels as dark as that
        maps = shares.gather(1, greys).reshape(-1, height, width)
        maps = maps - maps.mean(dim=(1, 2), keepdim=True)
        down = torch.linspace(-1, 1, height, device=images.device)[:, None].expand(height, width)
        across = torch.linspace(-1, 1, width, device=images.device)[None, :].expand(height, width)
        for slope in (down, across):
            maps = maps - (maps * slope).sum(dim=(1, 2), keepdim=True) / slope.square().sum() * slope
        spread = maps.square().mean(dim=(1, 2), keepdim=True).sqrt()
        return (maps / spread.clamp(min=LEAST_SPREAD)).reshape(images.shape)
