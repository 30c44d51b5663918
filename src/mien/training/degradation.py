"""Random changes of whole batches of images that leave every pixel in its place: light, detail, noise, covers.

All of it is computed on the whole batch; pipelines for single images would keep the network waiting.
"""

import math
from typing import Annotated, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.training.recipe import Fraction, Table

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


class Degradation(Table):
    """Chances and ranges of the changes; lengths are fractions of the side."""

    gain: Annotated[float, Field(ge=1, le=4, description="largest contrast factor, or its inverse")] = 1.4
    offset: Annotated[float, Field(ge=0, le=1, description="of brightness, either way")] = 0.15
    downscale: Annotated[Fraction, Field(description="chance of fewer details, as of a face of `details` its size")] = (
        0.1
    )
    details: Annotated[
        tuple[Fraction, Fraction],
        Field(description="smallest and largest share of the details, of the side of the input"),
    ] = (
        0.4,
        0.8,
    )
    dark: Annotated[Fraction, Field(description="chance of .15 to .6 of the light")] = 0.0
    noise: Annotated[Fraction, Field(description="chance of noise, sigma up to .08")] = 0.0
    jpeg: Annotated[Fraction, Field(description="chance of JPEG artefacts")] = 0.0
    mask: Annotated[Fraction, Field(description="chance of a mask over nose, mouth and chin")] = 0.0
    erase: Annotated[Fraction, Field(description="chance of a blank rectangle")] = 0.4
    erase_size: tuple[Fraction, Fraction] = (0.1, 0.45)


def degrade(images: Tensor, settings: Degradation) -> Tensor:
    """Changes each image (N, C, H, W), values 0-1, differently; draws from torch's generator."""
    with torch.autocast(images.device.type, enabled=False):  # the products of JPEG's transform would be bf16
        images = _relight(images, settings)
        images = _darken(images, settings.dark)
        images = _downscale(images, settings)
        images = _add_noise(images, settings.noise)
        images = _compress(images, settings.jpeg)
        return _erase(_mask(images, settings.mask), settings)


def uniform(count: int, reach: float) -> Tensor:
    """(N,) within -reach..reach."""
    return (torch.rand(count) * 2 - 1) * reach


def _relight(images: Tensor, settings: Degradation) -> Tensor:
    count = len(images)
    gain = torch.exp(uniform(count, math.log(settings.gain))).to(images).reshape(-1, 1, 1, 1)
    offset = uniform(count, settings.offset).to(images).reshape(-1, 1, 1, 1)
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - middle) * gain + middle + offset).clamp(0, 1)


def _downscale(images: Tensor, settings: Degradation) -> Tensor:
    """Removes detail from some images, as of faces that are small in their frame; one size for the whole batch."""
    chosen = torch.rand(len(images)) < settings.downscale
    side = images.shape[-1]
    small = max(1, round(side * float(torch.empty(()).uniform_(*settings.details))))
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


def _erase(images: Tensor, settings: Degradation) -> Tensor:
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
