"""A plain stack of 3x3 convolutions, trained in re-parameterisable form; processors are quickest at such layers.

While it learns, a layer is more than the one convolution with a bias that it becomes for inference. `joined` says how:

- "maps": the sum of a 3x3 convolution, a 1x1 convolution and, where shapes allow, the identity, each with its own batch
  norm (Ding et al., "RepVGG: Making VGG-style ConvNets great again", CVPR 2021, sections 3.3-3.4).
- "kernels": one 3x3 convolution, whose kernel has the identity added to it where shapes allow, and one batch norm
  (Zagoruyko & Komodakis, "DiracNets: Training very deep neural networks without skip-connections", 2017, section 3.1,
  without their normalisation of the kernel). A step takes half the time of the other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.models.blocks.network import Fusible, Network

__all__ = ["absorbed", "build"]


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
    """A stem at full size, then stages of `depths` layers and `widths` channels, each halving the image.

    Raises:
        ConfigError: There is no such way to join.
    """
    if joined not in _LAYERS:
        raise ConfigError(f"model.options.joined: there is no '{joined}'", hint=f"choose one of {', '.join(_LAYERS)}")
    layer = _LAYERS[joined]
    layers: list[nn.Module] = [layer(input.depth, stem, 1)]
    before = stem
    for width, depth in zip(widths, depths, strict=True):
        layers += [layer(before if index == 0 else width, width, 2 if index == 0 else 1) for index in range(depth)]
        before = width
    return Network(nn.Sequential(*layers), before, heads, dropout=dropout)


class Layer(Fusible):
    """3x3 + 1x1 + identity, each normed, summed, then ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.square = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.square_norm = nn.BatchNorm2d(after)
        self.point = nn.Conv2d(before, after, 1, bias=False)
        self.point_norm = nn.BatchNorm2d(after)
        self.identity_norm = nn.BatchNorm2d(after) if before == after and stride == 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        # Steps before a 1x1 convolution are the same as steps of it, whose gradient in full precision crashes
        # oneDNN on processors with AVX-512 (torch 2.13).
        stepped = maps[:, :, :: self.stride, :: self.stride]
        total = self.square_norm(self.square(maps)) + self.point_norm(self.point(stepped))
        if self.identity_norm is not None:
            total = total + self.identity_norm(maps)
        return torch.relu(total)

    def fused(self) -> nn.Module:
        """One 3x3 convolution with a bias, and ReLU."""
        kernel, bias = absorbed(self.square.weight, self.square_norm)
        point, point_bias = absorbed(nn.functional.pad(self.point.weight, [1, 1, 1, 1]), self.point_norm)
        kernel, bias = kernel + point, bias + point_bias
        if self.identity_norm is not None:
            unit = torch.zeros_like(kernel)
            unit[:, :, 1, 1] = torch.eye(len(unit))
            same, same_bias = absorbed(unit, self.identity_norm)
            kernel, bias = kernel + same, bias + same_bias
        return _merged(kernel, bias, self.stride)


class JoinedConv2d(nn.Conv2d):
    """3x3 convolution with the identity in its kernel where shapes allow."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__(before, after, 3, stride, padding=1, bias=False)
        # How much of each channel passes; a vector, so that no decay pulls it to nothing.
        self.skip = nn.Parameter(torch.ones(after)) if before == after and stride == 1 else None

    def kernel(self) -> Tensor:
        """(after, before, 3, 3), the identity included."""
        if self.skip is None:
            return self.weight
        unit: Tensor = torch.diag(self.skip)[:, :, None, None]
        return self.weight + nn.functional.pad(unit, [1, 1, 1, 1])

    def forward(self, input: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        return nn.functional.conv2d(input, self.kernel(), stride=self.stride, padding=1)


class KernelLayer(Fusible):
    """3x3 with the identity in its kernel, normed, then ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.square = JoinedConv2d(before, after, stride)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        return torch.relu(self.norm(self.square(maps)))

    def fused(self) -> nn.Module:
        """One 3x3 convolution with a bias, and ReLU."""
        return _merged(*absorbed(self.square.kernel(), self.norm), self.stride)


_LAYERS: Final[dict[str, Callable[[int, int, int], Fusible]]] = {"maps": Layer, "kernels": KernelLayer}


def _merged(kernel: Tensor, bias: Tensor, stride: int) -> nn.Module:
    after, before = kernel.shape[:2]
    merged = nn.Conv2d(before, after, 3, stride, padding=1)
    merged.weight.copy_(kernel)
    merged.bias.copy_(bias)  # type: ignore[union-attr]
    return nn.Sequential(merged, nn.ReLU())


def absorbed(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel (O, I, 3, 3) and bias (O,) that do what `kernel` followed by `norm` does in evaluation mode."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("norm: expected one that keeps running figures")
    scale = norm.weight / torch.sqrt(variance + norm.eps)  # (O,)
    return kernel * scale[:, None, None, None], norm.bias - mean * scale
