"""EfficientNet-Lite 0, 1 and 2: EfficientNets without squeeze-excitation and with ReLU6, which are fast in int8.

Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML 2019, table 1; Liu,
"Higher accuracy on vision models with EfficientNet-Lite" (TensorFlow's blog, 2020): the first and the last stage keep
their depth, stem and head their width. The pretrained weights come from TensorFlow, whose padding ("same") puts the
odd row and column below and to the right.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import ConvNorm, DropPath, assign, drop_rates, initialise, scaled
from mien.models.blocks.network import Network

# Tables with pretrained weights, by variant.
WEIGHTS: Final = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")

_SCALES: Final = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))  # of width and depth, by variant
# Kernel, stride, expansion, width and depth of each stage.
_STAGES: Final = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM: Final = 32
_HEAD: Final = 1280
_EPS: Final = 1e-3


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    variant: int = 0,
    dropout: float = 0.2,
    width: float = 1.0,
    drop_path: float = 0.0,
) -> Network:
    """The network of that variant: 0, 1 or 2.

    Images may have any size; the published ones are 224, 240 and 260, and 96 to 128 are enough for faces of 48 pixels.
    `dropout` is that of the features; `width` multiplies all widths, and the pretrained weights fit 1 only; `drop_path`
    is the rate of stochastic depth at the last block.

    Raises:
        ConfigError: `width` or `drop_path` has a value that cannot be used.
        ValueError: There is no such variant.
    """
    if variant not in range(len(_SCALES)):
        raise ValueError(f"variant: expected 0, 1 or 2, got {variant}")
    wide, deep = _SCALES[variant]
    stem, head = scaled((_STEM, _HEAD), width)
    sizes = scaled([_rounded(stage[3] * wide) for stage in _STAGES], width)
    trunk, channels = nn.Sequential(), stem
    trunk.add_module("stem", nn.Sequential(*_convolution(input.depth, stem, 3, 2), nn.ReLU6()))
    depths = [stage[4] if stage in (_STAGES[0], _STAGES[-1]) else math.ceil(stage[4] * deep) for stage in _STAGES]
    rates = iter(drop_rates(drop_path, sum(depths)))
    for number, ((size, stride, expansion, *_), stage_width) in enumerate(zip(_STAGES, sizes, strict=True), 1):
        blocks = nn.Sequential()
        for index in range(depths[number - 1]):
            step = stride if index == 0 else 1
            block = InvertedResidual(channels, stage_width, size=size, stride=step, expansion=expansion)
            block.drop.rate = next(rates)
            blocks.append(block)
            channels = stage_width
        trunk.add_module(f"stage{number}", blocks)
    trunk.add_module("head", nn.Sequential(ConvNorm(channels, head, 1, eps=_EPS), nn.ReLU6()))
    initialise(trunk)
    return Network(trunk, head, heads, dropout=dropout)


def _rounded(width: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is not below nine tenths of the width."""
    nearest = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * width else nearest


class SamePadding(nn.ZeroPad2d):
    """Zeros as TensorFlow's padding "same" adds them before a convolution with a stride."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__(0)
        self.size, self.stride = size, stride

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H + rows, W + columns)."""
        down, across = (
            max((math.ceil(side / self.stride) - 1) * self.stride + self.size - side, 0) for side in input.shape[2:]
        )
        return nn.functional.pad(input, [across // 2, across - across // 2, down // 2, down - down // 2])


def _convolution(channels: int, width: int, size: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """A convolution with TensorFlow's padding, and its batch norm."""
    if stride == 1:
        return [ConvNorm(channels, width, size, padding=size // 2, groups=groups, eps=_EPS)]
    layer = ConvNorm(channels, width, size, stride=stride, groups=groups, eps=_EPS)
    return [SamePadding(size, stride), layer]


class InvertedResidual(nn.Module):
    """A 1x1 convolution to more channels, a depthwise one, a 1x1 convolution back, plus the identity if it fits."""

    def __init__(self, channels: int, width: int, *, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = nn.Sequential(ConvNorm(channels, inner, 1, eps=_EPS), nn.ReLU6()) if expansion > 1 else None
        self.depthwise = nn.Sequential(*_convolution(inner, inner, size, stride, inner), nn.ReLU6())
        self.project = ConvNorm(inner, width, 1, eps=_EPS)
        self.residual = stride == 1 and channels == width
        self.drop = DropPath()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride), rounded up."""
        inner = self.expand(maps) if self.expand is not None else maps
        found: Tensor = self.project(self.depthwise(inner))
        return maps + self.drop(found) if self.residual else found


def load_pretrained(network: Network, state: Mapping[str, Tensor], input: InputSpec) -> None:
    """Loads the trunk of a published state dict with the key names of `efficientnet_lite_pytorch`, without its classes.

    A network for grey images gets the first kernels summed over the colours: the same function of a grey image, because
    the published mean and deviation are the same for each colour.

    Args:
        network: Of `build`, of the same variant; changed in place.
        state: The tensors.
        input: The images; their mean and deviation should be the published ones, 127 and 128 of 255.

    Raises:
        ValueError: The state is of another network or variant.
    """
    blocks = [module for module in network.trunk.modules() if isinstance(module, InvertedResidual)]
    count = len({match[1] for key in state if (match := re.match(r"_blocks\.(\d+)\.", key))})
    if count != len(blocks):
        raise ValueError(f"it has {count} blocks, expected {len(blocks)}")
    layers = [module for module in network.trunk.modules() if isinstance(module, ConvNorm)]
    places = {"_conv_stem|_bn0": layers[0], "_conv_head|_bn1": layers[-1]}
    for number, block in enumerate(blocks):
        parts = [module for module in block.modules() if isinstance(module, ConvNorm)]
        names = ("_expand_conv|{}_bn0", "_depthwise_conv|{}_bn1", "_project_conv|{}_bn2")[-len(parts) :]
        prefix = f"_blocks.{number}."
        places |= {prefix + name.format(prefix): part for name, part in zip(names, parts, strict=True)}
    for place, layer in places.items():
        conv, _, norm = place.partition("|")
        kernel = state.get(f"{conv}.weight")
        if layer is layers[0] and kernel is not None and input.depth == 1:
            kernel = kernel.sum(dim=1, keepdim=True)
        assign(layer.conv.weight, kernel, f"{conv}.weight")
        for name in ("weight", "bias", "running_mean", "running_var"):
            assign(getattr(layer.norm, name), state.get(f"{norm}.{name}"), f"{norm}.{name}")
    with torch.no_grad():
        for layer in layers:
            layer.norm.num_batches_tracked.zero_()  # type: ignore[union-attr]
