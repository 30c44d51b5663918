"""Random changes of whole batches: one matrix and one resampling for the geometry, then those of `degradation`.

All of it is computed on the whole batch; pipelines for single images would keep the network waiting.
"""

import math

import torch
from torch import Tensor, nn

from mien.expression.preprocess import LEAST_SPREAD
from mien.training.degradation import degrade, uniform
from mien.training.expression.recipe import Augmentation
from mien.training.photometry import photograph


def augment(images: Tensor, settings: Augmentation, side: int | None = None) -> Tensor:
    """Changes each image (N, C, H, W), values 0-1, differently; draws from torch's generator.

    Args:
        images: The images.
        settings: Ranges and probabilities.
        side: Of the result, (N, C, side, side); None keeps the size.
    """
    with torch.autocast(images.device.type, enabled=False):  # in bf16, places are wrong by up to a tenth of a pixel
        images = _warp(images, _matrices(len(images), settings).to(images), side)
        return degrade(photograph(images, settings), settings)


def _matrices(count: int, settings: Augmentation) -> Tensor:
    """(N, 2, 3) affine maps from places in the new image to places in the old one, in -1..1 coordinates."""
    angle = uniform(count, math.radians(settings.rotation))
    size = torch.exp(uniform(count, math.log(settings.scale)))
    stretch = torch.exp(uniform(count, math.log(settings.stretch) / 2))
    shear = uniform(count, settings.shear)
    mirror = torch.where(torch.rand(count) < settings.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    across, down = size * stretch, size / stretch
    matrix = torch.stack(
        [
            torch.stack([mirror * cos * across, mirror * (shear * cos - sin) * down], dim=1),
            torch.stack([sin * across, (shear * sin + cos) * down], dim=1),
        ],
        dim=1,
    )  # (N, 2, 2)
    shift = uniform(2 * count, 2 * settings.shift).reshape(count, 2, 1)  # the side is 2 in these coordinates
    return torch.cat([matrix, shift], dim=2)


def _warp(images: Tensor, matrices: Tensor, side: int | None) -> Tensor:
    shape = [*images.shape[:2], side, side] if side else list(images.shape)
    grid = nn.functional.affine_grid(matrices, shape, align_corners=False)  # (N, H, W, 2)
    return nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def mixup(images: Tensor, targets: dict[str, Tensor], alpha: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Blends each image and its targets with another of the batch (Zhang et al., "mixup", ICLR 2018).

    One share for the whole batch, as in the authors' program. A row without targets gets only those of its partner.
    """
    if alpha <= 0:
        return images, targets
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(images)).to(images.device)
    mixed = images.lerp(images[order], 1 - share)
    return mixed, {name: target.lerp(target[order], 1 - share) for name, target in targets.items()}


def normalise_illumination(images: Tensor) -> Tensor:
    """Equalises the histogram of each channel, subtracts the plane of light that fits it best, and sets unit variance.

    `mien.expression.preprocess.normalised` computes the same with numpy for inference.

    Args:
        images: (N, C, H, W), values 0-1.
    """
    count, depth, height, width = images.shape
    with torch.autocast(images.device.type, enabled=False):
        greys = (images.float() * 255).round().clamp(0, 255).long().reshape(count * depth, height * width)
        bins = torch.zeros(count * depth, 256, device=images.device)
        bins.scatter_add_(1, greys, torch.ones_like(greys, dtype=bins.dtype))
        shares = bins.cumsum(dim=1) / (height * width)  # of pixels that are at most as bright
        maps = shares.gather(1, greys).reshape(-1, height, width)
        maps = maps - maps.mean(dim=(1, 2), keepdim=True)
        down = torch.linspace(-1, 1, height, device=images.device)[:, None].expand(height, width)
        across = torch.linspace(-1, 1, width, device=images.device)[None, :].expand(height, width)
        for slope in (down, across):
            maps = maps - (maps * slope).sum(dim=(1, 2), keepdim=True) / slope.square().sum() * slope
        spread = maps.square().mean(dim=(1, 2), keepdim=True).sqrt()
        return (maps / spread.clamp(min=LEAST_SPREAD)).reshape(images.shape)
