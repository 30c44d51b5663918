"""A plain stack of 3x3 convolutions, trained in a re-parameterisable form; processors run such layers fastest.

For inference, every layer is one convolution with a bias and ReLU. During training it has more parts; the option
`joined` chooses them:

- "maps": the sum of a 3x3 convolution, a 1x1 convolution and, if the shapes allow it, the identity, each with its own
  batch norm (Ding et al., "RepVGG: Making VGG-style ConvNets great again", CVPR 2021, sections 3.3-3.4).
- "kernels": one 3x3 convolution, with the identity added to its kernel if the shapes allow it, and one batch norm
  (Zagoruyko & Komodakis, "DiracNets: Training very deep neural networks without skip-connections", 2017, section 3.1,
  without their normalisation of the kernel). A training step takes half as long as with "maps".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.models.blocks.network import Fusible, Network, fold_norm, identity_kernel, merged


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    stem: int = 24,
    widths: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (2, 4, 4),
    dropout: float = 0.2,
    joined: str = "maps",
) -> Network:
    """A stem at full size, then stages of `depths` layers and `widths` channels, each halving the size.

    Raises:
        ConfigError: `joined` has another value.
    """
    if joined not in _LAYERS:
        raise ConfigError(f"model.options.joined: unknown '{joined}'", hint=f"choose one of {', '.join(_LAYERS)}")
    layer = _LAYERS[joined]
    layers: list[nn.Module] = [layer(input.depth, stem, 1)]
    channels = stem
    for width, depth in zip(widths, depths, strict=True):
        layers += [layer(channels if index == 0 else width, width, 2 if index == 0 else 1) for index in range(depth)]
        channels = width
    return Network(nn.Sequential(*layers), channels, heads, dropout=dropout)


class RepVggLayer(Fusible):
    """3x3 + 1x1 + identity, each with a batch norm, summed, then ReLU."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.square = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.square_norm = nn.BatchNorm2d(width)
        self.point = nn.Conv2d(channels, width, 1, bias=False)
        self.point_norm = nn.BatchNorm2d(width)
        self.identity_norm = nn.BatchNorm2d(width) if channels == width and stride == 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride)."""
        # Subsampling before a 1x1 convolution equals a stride, whose gradient in full precision crashes oneDNN on
        # processors with AVX-512 (torch 2.13).
        sampled = maps[:, :, :: self.stride, :: self.stride]
        total = self.square_norm(self.square(maps)) + self.point_norm(self.point(sampled))
        if self.identity_norm is not None:
            total = total + self.identity_norm(maps)
        return torch.relu(total)

    def fused(self) -> nn.Module:
        """One 3x3 convolution with a bias, and ReLU."""
        branches = [
            fold_norm(self.square.weight, self.square_norm),
            fold_norm(nn.functional.pad(self.point.weight, [1, 1, 1, 1]), self.point_norm),
        ]
        if self.identity_norm is not None:
            branches.append(fold_norm(identity_kernel(self.square.weight), self.identity_norm))
        return merged(branches, self.stride)


class DiracConv2d(nn.Conv2d):
    """3x3 convolution with the identity added to its kernel if the shapes allow it."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__(channels, width, 3, stride, padding=1, bias=False)
        # Weight of the identity for each channel; a vector, so that weight decay leaves it alone.
        self.skip = nn.Parameter(torch.ones(width)) if channels == width and stride == 1 else None

    def kernel(self) -> Tensor:
        """(width, channels, 3, 3), the identity included."""
        if self.skip is None:
            return self.weight
        unit: Tensor = torch.diag(self.skip)[:, :, None, None]
        return self.weight + nn.functional.pad(unit, [1, 1, 1, 1])

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride)."""
        return nn.functional.conv2d(input, self.kernel(), stride=self.stride, padding=1)


class DiracLayer(Fusible):
    """3x3 convolution with the identity in its kernel, batch norm, ReLU."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.square = DiracConv2d(channels, width, stride)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride)."""
        return torch.relu(self.norm(self.square(maps)))

    def fused(self) -> nn.Module:
        """One 3x3 convolution with a bias, and ReLU."""
        return merged([fold_norm(self.square.kernel(), self.norm)], self.stride)


_LAYERS: Final[dict[str, Callable[[int, int, int], Fusible]]] = {"maps": RepVggLayer, "kernels": DiracLayer}
