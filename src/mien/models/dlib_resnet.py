"""dlib's face recognition network, a ResNet with 29 convolutions, for fine-tuning.

King, "High quality face recognition with deep metric learning" (dlib's blog, 2017): the ResNet-34 of He et al. (CVPR
2016) with fewer layers and half the filters. Unlike in other ResNets, layers that halve the size are not padded,
shortcuts have no weights (2x2 averages), and where the two maps of a sum differ in channels, rows or columns, the
smaller one is continued with zeros. The published network has fixed affine layers; here they are batch norms. The
features are the global means before and after the last block, joined; recognition uses only the latter.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import ConvNorm, DropPath, assign, drop_rates, initialise, scaled
from mien.models.blocks.network import Network

# Tables with pretrained weights.
WEIGHTS: Final = ("dlib-resnet",)
# The published weights have no statistics for the batch norms: they are measured on training images.
WITHOUT_STATISTICS: Final = True

_WIDTHS: Final = (32, 64, 128, 256, 256)
_DEPTHS: Final = (3, 4, 3, 3, 1)
_MEAN: Final = (122.782, 117.001, 104.298)  # of red, green and blue, 0-255, subtracted by dlib
_RANGE: Final = 256.0  # by which dlib divides
_LEAST: Final = 3  # rows and columns that an unpadded 3x3 convolution needs
_WEAK: Final = 1e-3  # filters below this share of the strongest one count as this strong


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    widths: Sequence[int] = _WIDTHS,
    depths: Sequence[int] = _DEPTHS,
    dropout: float = 0.2,
    width: float = 1.0,
    drop_path: float = 0.0,
) -> Network:
    """A stem, then stages of `depths` residual blocks and `widths` channels; all but the first halve the size.

    Images may have any size: 150 pixels in dlib, and 96 to 128 are enough for faces of 48 pixels. `dropout` is that of
    the features; `width` multiplies all widths, and the pretrained weights fit 1 only; `drop_path` is the rate of
    stochastic depth at the last block.
    """
    sizes = scaled(widths, width)
    stem = nn.Sequential(ConvNorm(input.depth, sizes[0], 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2))
    trunk = JoinedMeans()
    trunk.add_module("stem", stem)
    channels = sizes[0]
    rates = iter(drop_rates(drop_path, sum(depths)))
    for number, (stage_width, depth) in enumerate(zip(sizes, depths, strict=True), start=1):
        blocks = nn.Sequential()
        for index in range(depth):
            stride = 2 if index == 0 and number > 1 else 1
            blocks.append(Residual(channels, stage_width, stride=stride, drop=next(rates)))
            channels = stage_width
        trunk.add_module(f"stage{number}", blocks)
    initialise(trunk)
    last = trunk[-1]
    assert isinstance(last, nn.Sequential)
    before = sizes[-1] if len(last) > 1 else sizes[-2]
    return Network(trunk, before + channels, heads, dropout=dropout)


class JoinedMeans(nn.Sequential):
    """Modules in sequence; their result is the global means before and after the last block, joined."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, features)."""
        maps, before = input, input
        for stage in self:
            before, maps = maps, stage(maps)
        return torch.cat([before.mean(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1)


class Residual(nn.Module):
    """Two 3x3 convolutions plus the identity, or with stride 2 plus 2x2 averages."""

    def __init__(self, channels: int, width: int, *, stride: int, drop: float = 0.0) -> None:
        super().__init__()
        self.first = ConvNorm(channels, width, stride=stride, padding=1 if stride == 1 else 0)
        self.second = ConvNorm(width, width, padding=1)
        self.drop = DropPath(drop)
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride), rounded down."""
        if isinstance(self.pool, nn.AvgPool2d):
            maps = _continued(maps, (maps.shape[1], *(max(_LEAST, side) for side in maps.shape[2:])))
        long = self.drop(self.second(torch.relu(self.first(maps))))
        short = self.pool(maps)
        shape = [max(sides) for sides in zip(long.shape[1:], short.shape[1:], strict=True)]
        return torch.relu(_continued(long, shape) + _continued(short, shape))


def _continued(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """(N, c, h, w) -> (N, C, H, W): zeros after the last channel, row and column."""
    missing = [new - old for new, old in zip(shape, maps.shape[1:], strict=True)]
    if not any(missing):
        return maps
    return nn.functional.pad(maps, [0, missing[2], 0, missing[1], 0, missing[0]])


def load_pretrained(network: Network, state: Mapping[str, Tensor], input: InputSpec) -> None:
    """Loads dlib's weights, as `pretrained.dlib_file` reads them, into the trunk of a network of `build`.

    In evaluation mode, the network is then the same function of an image as dlib's: the first convolution is not
    padded, so dlib's normalisation and, for grey images, the sum over the colours can be part of it.

    Args:
        network: Changed in place.
        state: The tensors.
        input: The images that the network is given.

    Raises:
        ValueError: The state is not that of this network.
    """
    blocks = [module for module in network.trunk.modules() if isinstance(module, Residual)]
    layers = [next(module for module in network.trunk.modules() if isinstance(module, ConvNorm))]
    layers += [layer for block in blocks for layer in (block.first, block.second)]
    names = ["trunk.{}", *(f"trunk.blocks.{number}.{{}}{part}" for number in range(len(blocks)) for part in (1, 2))]
    if unknown := sorted(key for key in state if key.startswith(f"trunk.blocks.{len(blocks)}.")):
        raise ValueError(f"it has {unknown[0]}, and the network has {len(blocks)} blocks")
    for name, layer in zip(names, layers, strict=True):
        conv, norm = name.format("conv"), name.format("norm")
        kernel, bias = _tensor(state, f"{conv}.weight"), _tensor(state, f"{conv}.bias")
        if layer is layers[0]:
            kernel, bias = _for_input(kernel, bias, input)
        scale = _he_scale(kernel)
        gamma, beta = _tensor(state, f"{norm}.weight"), _tensor(state, f"{norm}.bias")
        if not gamma.shape == beta.shape == bias.shape == scale.shape:
            raise ValueError(f"{norm} has {len(gamma)} channels, {conv} has {len(scale)}")
        assign(layer.conv.weight, kernel * scale[:, None, None, None], f"{conv}.weight")
        assign(layer.norm.weight, gamma / scale * math.sqrt(1 + layer.norm.eps), f"{norm}.weight")
        assign(layer.norm.bias, beta + gamma * bias, f"{norm}.bias")
        layer.norm.reset_running_stats()


def _tensor(state: Mapping[str, Tensor], key: str) -> Tensor:
    try:
        return state[key]
    except KeyError:
        raise ValueError(f"it has no {key}") from None


def _he_scale(kernel: Tensor) -> Tensor:
    """(O,): factors that give each filter the size of He's initialisation.

    The filters in the file are tens of times smaller. Before a batch norm, the size of a filter has no effect on the
    function, but a step of the optimizer changes the direction of a small filter more.
    """
    size = kernel.flatten(1).square().mean(dim=1).sqrt()
    return math.sqrt(2 / kernel[0].numel()) / size.clamp(min=_WEAK * float(size.max().clamp(min=1e-12)))


def _for_input(kernel: Tensor, bias: Tensor, input: InputSpec) -> tuple[Tensor, Tensor]:
    """The first convolution for images normalised by `input` instead of dlib's mean and range."""
    if kernel.ndim != 4 or kernel.shape[1] != len(_MEAN):
        raise ValueError(f"trunk.conv.weight has the shape {tuple(kernel.shape)}, expected three colours")
    mean = 255 * torch.tensor(input.mean, dtype=torch.float64).expand(len(_MEAN))
    std = 255 * torch.tensor(input.std, dtype=torch.float64).expand(len(_MEAN))
    exact = kernel.double()
    bias = bias + (exact * ((mean - torch.tensor(_MEAN)) / _RANGE)[None, :, None, None]).sum(dim=(1, 2, 3)).float()
    exact = exact * (std / _RANGE)[None, :, None, None]
    return (exact.sum(dim=1, keepdim=True) if input.depth == 1 else exact).float(), bias
