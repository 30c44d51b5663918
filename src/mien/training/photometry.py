"""Random changes that imitate cameras: film, phones, web cameras. Every pixel stays in its place.

FER2013's faces were shrunk to 48 pixels from photographs of the web; what a photograph looks like before that depends
on the camera and its processing. All of it is computed on the whole batch, values 0-1, grey or RGB. A change whose
chance is 0 draws no random numbers.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.training.degradation import compressed
from mien.training.recipe import Fraction, Table

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Photometry(Table):
    """Chances of the cameras; they may come together."""

    film: Annotated[Fraction, Field(description="chance of a film's curve, fading, grain and vignette")] = 0.0
    phone: Annotated[
        Fraction, Field(description="chance of a phone's processing: local tones, smoothing, sharpening")
    ] = 0.0
    webcam: Annotated[
        Fraction, Field(description="chance of a web camera: few details, light from one side, noise, compression")
    ] = 0.0


def photograph(images: Tensor, settings: Photometry) -> Tensor:
    """Changes each image (N, C, H, W), values 0-1, differently; draws from torch's generator."""
    for chance, camera in ((settings.film, _film), (settings.phone, _phone), (settings.webcam, _webcam)):
        if chance:
            chosen = (torch.rand(len(images)) < chance).to(images.device)
            if chosen.any():
                images = images.clone()
                images[chosen] = camera(images[chosen]).clamp(0, 1)
    return images


def _between(images: Tensor, low: float, high: float) -> Tensor:
    """A random number of a range for each image, (N, 1, 1, 1)."""
    return torch.empty(len(images), 1, 1, 1).uniform_(low, high).to(images)


def _film(images: Tensor) -> Tensor:
    """A curve with a toe and a shoulder, faded blacks and whites, a cast of colour, a vignette, and grain."""
    images = images.clamp(1e-4, 1) ** torch.exp(_between(images, -0.5, 0.5))
    steep = _between(images, 0.0, 6.0)  # of the S-curve; 0 is a straight line
    curve = torch.sigmoid((images - 0.5) * steep) - torch.sigmoid(-0.5 * steep)
    span = (torch.sigmoid(0.5 * steep) - torch.sigmoid(-0.5 * steep)).clamp(min=1e-4)
    images = torch.where(steep > 0.1, curve / span, images)
    black, white = _between(images, 0.0, 0.2), _between(images, 0.8, 1.0)
    images = _cast(black + images * (white - black), 0.15)
    height, width = images.shape[2:]
    down = torch.linspace(-1, 1, height, device=images.device)[:, None]
    across = torch.linspace(-1, 1, width, device=images.device)[None, :]
    images = images * (1 - _between(images, 0.0, 0.4) * (down**2 + across**2) / 2)
    grain = torch.randn(len(images), 1, height, width, device=images.device)
    share = _between(images, 0.0, 1.0)  # fine grain, or coarse
    grain = torch.lerp(grain, _blurred(grain) * 2, share)
    return images + grain * _between(images, 0.0, 0.07) * (1 - (2 * images - 1).abs() * 0.6)  # most in the middle tones


def _phone(images: Tensor) -> Tensor:
    """Tones mapped locally, as in HDR; detail smoothed away as noise; edges sharpened to halos; strong colours."""
    side = images.shape[-1]
    wide = _blurred(images.mean(dim=1, keepdim=True), max(3, side // 4) | 1)
    middle = wide.mean(dim=(2, 3), keepdim=True)
    images = images - _between(images, 0.0, 0.7) * (wide - middle)
    images = torch.lerp(images, _blurred(images), _between(images, 0.0, 0.8))
    images = images + _between(images, 0.0, 2.0) * (images - _blurred(images))
    if images.shape[1] == len(_LUMA):
        grey = (images * torch.tensor(_LUMA).to(images).reshape(1, -1, 1, 1)).sum(dim=1, keepdim=True)
        images = grey + (images - grey) * _between(images, 0.8, 1.5)
    return images


def _webcam(images: Tensor) -> Tensor:
    """Light of a screen or a window from one side, little detail, noise, a cast of colour, and compression."""
    count, depth, height, width = images.shape
    angle = torch.rand(count, 1, 1, 1).to(images) * 2 * math.pi
    down = torch.linspace(-1, 1, height, device=images.device)[:, None]
    across = torch.linspace(-1, 1, width, device=images.device)[None, :]
    side = torch.cos(angle) * across + torch.sin(angle) * down
    images = images * torch.exp(_between(images, 0.0, 0.7) * side + _between(images, -0.7, 0.35))
    small = [max(4, round(each * float(torch.empty(()).uniform_(0.4, 0.9)))) for each in (height, width)]
    less = nn.functional.interpolate(images, small, mode="bilinear", antialias=True)
    sigma = _between(images, 0.0, 0.06)
    less = _cast(less, 0.2) + torch.randn(count, depth, *small, device=images.device) * sigma
    less = nn.functional.interpolate(less.clamp(0, 1), (height, width), mode="bilinear")
    return compressed(less, torch.empty(count).uniform_(25, 80))


def _cast(images: Tensor, most: float) -> Tensor:
    """RGB images with another white; grey ones stay."""
    if images.shape[1] == 1:
        return images
    gains = torch.exp(torch.empty(len(images), images.shape[1], 1, 1).uniform_(-most, most))
    return images * gains.to(images)


def _blurred(images: Tensor, side: int = 3) -> Tensor:
    """Each channel, averaged over squares of `side` pixels, an odd number."""
    reach = min(side // 2, images.shape[-1] - 1, images.shape[-2] - 1)
    padded = nn.functional.pad(images, [reach] * 4, mode="reflect")
    return nn.functional.avg_pool2d(padded, 2 * reach + 1, stride=1)
