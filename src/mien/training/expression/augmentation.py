"""Random changes of whole batches: one matrix and one resampling for the geometry, then light, detail and erasing.

All of it is computed on the whole batch; pipelines for single images would keep the network waiting.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from mien.expression.preprocess import LEAST_SPREAD
from mien.training.expression.recipe import Augmentation

_DOWNSCALE: Final = (0.4, 0.8)  # of the side: 19 to 38 of FER2013's 48 pixels
_DARK: Final = (0.15, 0.6)  # of the light
_QUALITY: Final = (10.0, 60.0)  # of JPEG
_MASK: Final = ((0.45, 0.6), (0.0, 0.4), (0.25, 0.45))  # upper edge, its fall towards the cheeks, half the width
_NOISE: Final = 0.08  # largest sigma, of 0-1: that of a face of 48 pixels in a dim room
_BLOCK: Final = 8
# Steps of a block's frequencies for light, at quality 50 (ITU-T T.81, 1992, table K.1).
_STEPS: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def augment(images: Tensor, settings: Augmentation, side: int | None = None) -> Tensor:
    """Changes each image (N, C, H, W), values 0-1, differently; draws from torch's generator.

    Args:
        images: The images.
        settings: Ranges and probabilities.
        side: Of the result, (N, C, side, side); None keeps the size.
    """
    with torch.autocast(images.device.type, enabled=False):  # in bf16, places are wrong by up to a tenth of a pixel
        images = _warp(images, _matrices(len(images), settings).to(images), side)
        images = _relight(images, settings)
        images = _darken(images, settings.dark)
        images = _downscale(images, settings.downscale)
        images = _add_noise(images, settings.noise)
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


def _downscale(images: Tensor, chance: float) -> Tensor:
    """Removes detail from some images, as of faces that are small in their frame; one size for the whole batch."""
    chosen = torch.rand(len(images)) < chance
    side = images.shape[-1]
    small = max(1, round(side * float(torch.empty(()).uniform_(*_DOWNSCALE))))
    if chosen.any():
        less = nn.functional.interpolate(images[chosen], (small, small), mode="bilinear", antialias=True)
        images[chosen] = nn.functional.interpolate(less, images.shape[2:], mode="bilinear")
    return images


def _darken(images: Tensor, chance: float) -> Tensor:
    """Darkens some images; before the noise, as in a camera."""
    if not chance:
        return images
    chosen = torch.rand(len(images)) < chance
    light = torch.where(chosen, torch.empty(len(images)).uniform_(*_DARK), 1.0)
    return images * light.to(images).reshape(-1, 1, 1, 1)


def _add_noise(images: Tensor, chance: float) -> Tensor:
    """Adds noise to some images, of a random strength for each."""
    if not chance:
        return images
    chosen = torch.rand(len(images)) < chance
    sigma = torch.rand(int(chosen.sum()), 1, 1, 1) * _NOISE
    # Drawn on the device, unlike all other numbers: moving so many would take long.
    noise = torch.randn(len(sigma), *images.shape[1:], device=images.device) * sigma.to(images)
    images[chosen] = (images[chosen] + noise).clamp(0, 1)
    return images


def _compress(images: Tensor, chance: float) -> Tensor:
    """Compresses some images as JPEG, each with its own quality, like faces in a video."""
    if not chance:
        return images
    chosen = torch.rand(len(images)) < chance
    images[chosen] = compressed(images[chosen], torch.empty(int(chosen.sum())).uniform_(*_QUALITY))
    return images


def _mask(images: Tensor, chance: float) -> Tensor:
    """Covers nose, mouth and chin of some images with one grey, whose upper edge is highest in the middle."""
    if not chance:
        return images
    count, _, height, width = images.shape
    chosen = torch.rand(count) < chance
    top, slope, reach = (torch.empty(count, 1, 1).uniform_(*each) for each in _MASK)
    down = ((torch.arange(height) + 0.5) / height)[:, None]
    aside = ((torch.arange(width) + 0.5) / width - 0.5).abs()
    mask = (down >= top + slope * aside) & (aside <= reach) & chosen[:, None, None]  # (N, H, W)
    return torch.where(mask[:, None].to(images.device), torch.rand(count, 1, 1, 1).to(images), images)


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

    One share for the whole batch, as in the authors' program. A row without targets gets only those of its partner.
    """
    if alpha <= 0:
        return images, targets
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(images)).to(images.device)
    mixed = images.lerp(images[order], 1 - share)
    return mixed, {name: target.lerp(target[order], 1 - share) for name, target in targets.items()}


def compressed(images: Tensor, quality: Tensor) -> Tensor:
    """Images after JPEG compression; each channel is treated as luminance.

    Args:
        images: (N, C, H, W), values 0-1.
        quality: (N,), 1 to 100, on libjpeg's scale.

    Returns:
        (N, C, H, W), values 0-1.
    """
    count, depth, height, width = images.shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    whole = nn.functional.pad(images, [0, columns * _BLOCK - width, 0, rows * _BLOCK - height], mode="replicate")
    blocks = (whole * 255 - 128).reshape(count, depth, rows, _BLOCK, columns, _BLOCK).transpose(3, 4)
    factor = torch.where(quality < 50, 5000 / quality.clamp(min=1), 200 - 2 * quality)  # in percent
    steps = torch.tensor(_STEPS, dtype=images.dtype) * factor.cpu().reshape(count, 1, 1, 1, 1, 1)
    steps = ((steps + 50) / 100).floor().clamp(1, 255).to(images)
    waves = _waves().to(images)
    kept = (waves @ blocks @ waves.T / steps).round() * steps
    found: Tensor = (waves.T @ kept @ waves).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return ((found[:, :, :height, :width] + 128) / 255).clamp(0, 1)


def _waves() -> Tensor:
    """(8, 8) orthonormal cosine transform, one row for each frequency."""
    places = (torch.arange(_BLOCK) + 0.5) * math.pi / _BLOCK
    waves = torch.cos(torch.arange(_BLOCK)[:, None] * places) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


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
