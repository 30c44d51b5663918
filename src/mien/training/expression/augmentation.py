"""Random changes of whole batches: one matrix and one resampling for the geometry, then those of `degradation`.

All of it is computed on the whole batch; pipelines for single images would keep the network waiting.
"""

import math

import torch
from torch import Tensor, nn

from mien.expression.preprocess import LEAST_SPREAD
from mien.faces.keypoints import MIRRORED
from mien.training.degradation import degrade, uniform
from mien.training.expression.recipe import Augmentation
from mien.training.photometry import photograph


def augment(images: Tensor, settings: Augmentation, side: int | None = None, maps: Tensor | None = None) -> Tensor:
    """Changes each image (N, C, H, W), values 0-1, differently; draws from torch's generator.

    Args:
        images: The images.
        settings: Ranges and probabilities.
        side: Of the result, (N, C, side, side); None keeps the size.
        maps: Of the geometry, from `affine_maps`; None draws them.
    """
    maps = affine_maps(len(images), settings) if maps is None else maps
    with torch.autocast(images.device.type, enabled=False):  # in bf16, places are wrong by up to a tenth of a pixel
        images = _warp(images, maps.to(images), side)
        return degrade(photograph(images, settings), settings)


def affine_maps(count: int, settings: Augmentation) -> Tensor:
    """(N, 2, 3) affine maps from places in the new image to places in the old one, in -1..1 coordinates.

    Draws from torch's generator.
    """
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


def moved(points: Tensor, maps: Tensor, noise: float = 0.0) -> Tensor:
    """Where keypoints lie in images that `augment` has changed; the points of mirrored faces are in mirrored order.

    Args:
        points: (N, ..., 68, 2) in -1..1 coordinates; nan where unknown.
        maps: (N, 2, 3), from `affine_maps`.
        noise: Standard deviation of noise, relative to the root of the points' mean squared distance to their middle.
    """
    maps = maps.to(points)
    linear, shift = maps[:, :, :2], maps[:, :, 2]
    between = [1] * (points.ndim - 2)
    placed = points - shift.reshape(-1, *between, 2)
    placed = (placed[..., None, :] * torch.linalg.inv(linear).reshape(-1, *between, 2, 2)).sum(dim=-1)
    mirrored = (torch.linalg.det(linear) < 0).reshape(-1, *between, 1)
    placed = torch.where(mirrored, placed[..., MIRRORED[: points.shape[-2]].tolist(), :], placed)
    if noise:
        middle = placed.mean(dim=-2, keepdim=True)
        size = (placed - middle).square().sum(dim=-1, keepdim=True).mean(dim=-2, keepdim=True).sqrt()
        placed = placed + torch.randn(placed.shape).to(placed) * size * noise
    return placed


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
