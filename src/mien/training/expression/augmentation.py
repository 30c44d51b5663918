"""Random changes of whole batches: one matrix and one resampling for all geometry, then light, detail and erasing.

Everything is tensor work on the batch; per-image pipelines would keep the network waiting.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from mien.training.expression.jpeg import compressed
from mien.training.recipe import Augmentation

__all__ = ["augment", "mixup"]

_COARSE: Final = (0.4, 0.8)  # of the side: 19 to 38 of FER2013's 48 pixels
_DARK: Final = (0.15, 0.6)  # of the light
_QUALITY: Final = (10.0, 60.0)  # of JPEG
_CLOTH: Final = ((0.45, 0.6), (0.0, 0.4), (0.25, 0.45))  # upper edge, its fall towards the cheeks, half the width
_NOISE: Final = 0.08  # largest sigma, of 0-1: that of a face of 48 pixels in a dim room


def augment(images: Tensor, settings: Augmentation, side: int | None = None) -> Tensor:
    """Changes each image (N, C, H, W), values 0-1, in its own way; draws from torch's generator.

    Args:
        images: The images.
        settings: How much of what.
        side: Of the result, (N, C, side, side); None leaves the size.
    """
    with torch.autocast(images.device.type, enabled=False):  # in bf16, places are wrong by up to a tenth of a pixel
        images = _warp(images, _matrices(len(images), settings).to(images), side)
        images = _relight(images, settings)
        images = _darken(images, settings.dark)
        images = _coarsen(images, settings.coarse)
        images = _roughen(images, settings.noise)
        images = _compress(images, settings.jpeg)
        return _erase(_mask(images, settings.mask), settings)


def _uniform(count: int, reach: float) -> Tensor:
    """(N,) within -reach..reach."""
    return (torch.rand(count) * 2 - 1) * reach


def _matrices(count: int, settings: Augmentation) -> Tensor:
    """(N, 2, 3) affine maps from places in the new image to places in the old one, in -1..1 coordinates."""
    angle = _uniform(count, math.radians(settings.rotation))
    size = torch.exp(_uniform(count, math.log(settings.scale)))
    stretch = torch.exp(_uniform(count, math.log(settings.stretch) / 2))
    shear = _uniform(count, settings.shear)
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
    shift = _uniform(2 * count, 2 * settings.shift).reshape(count, 2, 1)  # the side is 2 in these coordinates
    return torch.cat([matrix, shift], dim=2)


def _warp(images: Tensor, matrices: Tensor, side: int | None) -> Tensor:
    shape = [*images.shape[:2], side, side] if side else list(images.shape)
    grid = nn.functional.affine_grid(matrices, shape, align_corners=False)  # (N, H, W, 2)
    return nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _relight(images: Tensor, settings: Augmentation) -> Tensor:
    count = len(images)
    gain = torch.exp(_uniform(count, math.log(settings.gain))).to(images).reshape(-1, 1, 1, 1)
    offset = _uniform(count, settings.offset).to(images).reshape(-1, 1, 1, 1)
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - middle) * gain + middle + offset).clamp(0, 1)


def _coarsen(images: Tensor, chance: float) -> Tensor:
    """Takes detail from some images, as of faces that are small in their frame: one size for the whole batch."""
    chosen = torch.rand(len(images)) < chance
    side = images.shape[-1]
    small = max(1, round(side * float(torch.empty(()).uniform_(*_COARSE))))
    if chosen.any():
        less = nn.functional.interpolate(images[chosen], (small, small), mode="bilinear", antialias=True)
        images[chosen] = nn.functional.interpolate(less, images.shape[2:], mode="bilinear")
    return images


def _darken(images: Tensor, chance: float) -> Tensor:
    """Takes light from some images; before the noise, as in a camera."""
    if not chance:
        return images
    chosen = torch.rand(len(images)) < chance
    light = torch.where(chosen, torch.empty(len(images)).uniform_(*_DARK), 1.0)
    return images * light.to(images).reshape(-1, 1, 1, 1)


def _roughen(images: Tensor, chance: float) -> Tensor:
    """Adds noise to some images, to each as much as it happens."""
    if not chance:
        return images
    chosen = torch.rand(len(images)) < chance
    sigma = torch.rand(int(chosen.sum()), 1, 1, 1) * _NOISE
    # Drawn where the images are, unlike all other numbers: a device waits for so many.
    noise = torch.randn(len(sigma), *images.shape[1:], device=images.device) * sigma.to(images)
    images[chosen] = (images[chosen] + noise).clamp(0, 1)
    return images


def _compress(images: Tensor, chance: float) -> Tensor:
    """Gives some images the squares of JPEG, each in a quality of its own; what a face in a video looks like."""
    if not chance:
        return images
    chosen = torch.rand(len(images)) < chance
    images[chosen] = compressed(images[chosen], torch.empty(int(chosen.sum())).uniform_(*_QUALITY))
    return images


def _mask(images: Tensor, chance: float) -> Tensor:
    """Hides nose, mouth and chin of some images under one grey, whose upper edge is highest in the middle."""
    if not chance:
        return images
    count, _, height, width = images.shape
    chosen = torch.rand(count) < chance
    top, slope, reach = (torch.empty(count, 1, 1).uniform_(*each) for each in _CLOTH)
    down = ((torch.arange(height) + 0.5) / height)[:, None]
    aside = ((torch.arange(width) + 0.5) / width - 0.5).abs()
    cloth = (down >= top + slope * aside) & (aside <= reach) & chosen[:, None, None]  # (N, H, W)
    return torch.where(cloth[:, None].to(images.device), torch.rand(count, 1, 1, 1).to(images), images)


def _erase(images: Tensor, settings: Augmentation) -> Tensor:
    """Fills a random rectangle of some images with one random grey (Zhong et al., "Random erasing", AAAI 2020)."""
    count, _, height, width = images.shape
    low, high = settings.erase_size
    sides = low + torch.rand(count, 2) * (high - low)
    start = torch.rand(count, 2) * (1 - sides)
    down, across = torch.arange(height) / height, torch.arange(width) / width
    rows = (down >= start[:, :1]) & (down < start[:, :1] + sides[:, :1])  # (N, H)
    columns = (across >= start[:, 1:]) & (across < start[:, 1:] + sides[:, 1:])  # (N, W)
    chosen = torch.rand(count) < settings.erase
    hole = (rows[:, None, :, None] & columns[:, None, None, :] & chosen[:, None, None, None]).to(images.device)
    return torch.where(hole, torch.rand(count, 1, 1, 1).to(images), images)


def mixup(images: Tensor, targets: dict[str, Tensor], alpha: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Blends each image and its targets with another of the batch (Zhang et al., "mixup", ICLR 2018).

    One share for the whole batch, as in the authors' program. A row without targets keeps only its partner's.
    """
    if alpha <= 0:
        return images, targets
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(images)).to(images.device)
    mixed = images.lerp(images[order], 1 - share)
    return mixed, {name: target.lerp(target[order], 1 - share) for name, target in targets.items()}
