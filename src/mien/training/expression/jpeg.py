"""What JPEG leaves of grey images, as work on a whole batch."""

import math
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["compressed"]

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


def compressed(images: Tensor, quality: Tensor) -> Tensor:
    """Images as they come back from JPEG; each channel is treated as light.

    Args:
        images: (N, C, H, W), values 0-1.
        quality: (N,), 1 to 100, as libjpeg counts it.

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
    """(8, 8) orthonormal cosine transform: a row a frequency."""
    places = (torch.arange(_BLOCK) + 0.5) * math.pi / _BLOCK
    waves = torch.cos(torch.arange(_BLOCK)[:, None] * places) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2)
    return waves
