"""Activation maximisation: the input that a unit responds to most, found by gradient ascent.

Without regularisation the result is noise that no one understands. The regularisers are those of Yosinski et al.,
"Understanding neural networks through deep visualization", ICML 2015 workshop, section 3: L2 decay, a Gaussian blur
every few steps, and clipping to zero of pixels with a small norm or a small contribution; and jitter (Mordvintsev et
al., "Inceptionism", 2015). Zero is the mean grey of the network's images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien.explain.layers import activations


@dataclass(frozen=True)
class MaximiseOptions:
    """How an input is optimised; the defaults suit faces of 48 pixels.

    Attributes:
        steps: Steps of gradient ascent.
        rate: Length of a step, as the root of its mean square, in units of the network's input.
        decay: Share that every value loses in each step.
        blur_every: Steps between two blurs.
        blur: Standard deviation of the blur in pixels.
        small_norm: Percentage of the pixels with the smallest norm that are set to zero.
        small_contribution: Percentage of the pixels with the smallest contribution that are set to zero.
        jitter: Each step shifts the image by up to this many pixels.
        seed: Of the first image and the shifts.
    """

    steps: int = 64
    rate: float = 0.12
    decay: float = 0.01
    blur_every: int = 4
    blur: float = 0.6
    small_norm: float = 10.0
    small_contribution: float = 10.0
    jitter: int = 2
    seed: int = 0


def maximise(
    network: nn.Module,
    name: str,
    units: Sequence[int],
    arrays: Sequence[Tensor],
    place: int,
    options: MaximiseOptions | None = None,
) -> Tensor:
    """The inputs that excite some units of a layer most, on average over the places of the unit.

    Args:
        network: In evaluation mode.
        name: Of the layer.
        units: K numbers of units.
        arrays: The inputs of one example; all but one stay as they are.
        place: Which of them is optimised. Images begin with noise, keypoints with those that are given.
        options: How.

    Returns:
        (K, C, H, W) images, or (K, 68, 2) keypoints; networks that read windows see them in every frame.
    """
    options = options or MaximiseOptions()
    generator = torch.Generator().manual_seed(options.seed)
    given = arrays[place][0]
    frames = given.ndim - (3 if _is_image(given) else 2)
    start = given[-1] if frames else given
    if not _is_image(given):
        return _moved_points(network, name, units, arrays, place, start, options)
    images = 0.1 * torch.randn(len(units), *start.shape, generator=generator)
    for step in range(options.steps):
        shift = torch.randint(-options.jitter, options.jitter + 1, (2,), generator=generator).tolist()
        images = images.roll(shift, dims=(2, 3)).requires_grad_()
        gradient = _gradient(network, name, units, arrays, place, images)
        with torch.no_grad():
            contribution = (images * gradient).sum(dim=1, keepdim=True).abs()
            images = (images + options.rate * _scaled(gradient)) * (1 - options.decay)
            if step % options.blur_every == 0:
                images = _blurred(images, options.blur)
            if step > options.steps // 2:  # once there is an image, what does not matter becomes grey
                norm = images.square().sum(dim=1, keepdim=True)
                images = (
                    images * _largest(norm, options.small_norm) * _largest(contribution, options.small_contribution)
                )
            images = images.roll([-each for each in shift], dims=(2, 3)).clamp(-2.2, 2.2)
    return images.detach()


def _is_image(given: Tensor) -> bool:
    return given.shape[-1] > 2


def _gradient(
    network: nn.Module, name: str, units: Sequence[int], arrays: Sequence[Tensor], place: int, values: Tensor
) -> Tensor:
    """The gradient (K, ...) of each unit's mean activation with respect to its own input."""
    copies = [array.expand(len(units), *array.shape[1:]) for array in arrays]
    shape = arrays[place].shape[1:]
    copies[place] = values if len(shape) == values.ndim - 1 else values[:, None].expand(len(units), *shape)
    found = activations(network, name, copies)
    means = found if found.ndim == 2 else found.flatten(2).mean(dim=2)
    score = means[torch.arange(len(units)), list(units)].sum()
    (gradient,) = torch.autograd.grad(score, values, allow_unused=True)
    return torch.zeros_like(values) if gradient is None else gradient.nan_to_num()


def _scaled(gradient: Tensor) -> Tensor:
    """A gradient (K, ...) with a root mean square of 1 for each of K; zeros stay."""
    size = gradient.flatten(1).square().mean(dim=1).sqrt().clamp(min=1e-12)
    return gradient / size.reshape(-1, *[1] * (gradient.ndim - 1))


def _largest(values: Tensor, percent: float) -> Tensor:
    """1 for all but the smallest `percent` of the values (K, 1, H, W) of each of K, else 0."""
    least = torch.quantile(values.flatten(1), percent / 100, dim=1)
    return (values >= least.reshape(-1, 1, 1, 1)).float()


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (K, C, H, W) with a Gaussian blur."""
    reach = max(1, round(3 * sigma))
    line = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma**2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(images.shape[1], 1, -1, -1)
    padded = nn.functional.pad(images, (reach,) * 4, mode="replicate")
    return nn.functional.conv2d(padded, kernel, groups=images.shape[1])


def _moved_points(
    network: nn.Module,
    name: str,
    units: Sequence[int],
    arrays: Sequence[Tensor],
    place: int,
    start: Tensor,
    options: MaximiseOptions,
) -> Tensor:
    """Keypoints (K, 68, 2) moved from where they are; the decay pulls them back."""
    start = start.nan_to_num()
    size = (start - start.mean(dim=0)).square().sum(dim=1).mean().sqrt().clamp(min=1e-6)
    points = start.expand(len(units), *start.shape).clone()
    for _ in range(options.steps):
        points = points.requires_grad_()
        gradient = _gradient(network, name, units, arrays, place, points)
        with torch.no_grad():
            moved = points + 0.1 * options.rate * size * _scaled(gradient)
            points = start + (moved - start) * (1 - options.decay)
    return points.detach()
