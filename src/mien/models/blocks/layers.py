"""Layers as classic convolutional networks stack them: convolutions in stages, then dense layers."""

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.models.blocks.network import Fusible, Network


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution without a bias, whose gradients are found in 32 bits on a processor where that is faster.

    In bf16 the gradients of kernels above 3x3 take oneDNN three to five times as long as in 32 bits, and those of
    strides above 1 four times (`python -m benchmarks.depthwise`); 3x3 kernels without a stride are faster in bf16.
    """

    def __init__(self, channels: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels, channels, size, stride, padding=padding, groups=channels, bias=False)
        self._slow_in_bf16 = size > 3 or stride > 1

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, h, w)."""
        learns = self._slow_in_bf16 and input.device.type == "cpu" and torch.is_grad_enabled()
        if learns and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


class ConvNorm(Fusible):
    """A convolution without a bias and its batch norm; fused, one convolution with a bias.

    Args:
        channels: Channels of the maps.
        width: Channels of the result.
        size: Side of the kernel.
        stride: Of the convolution.
        padding: Zeros around the maps.
        groups: As many as channels: a depthwise convolution.
        eps: Of the batch norm.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        size: int = 3,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d
        if groups == channels == width:
            self.conv = DepthwiseConv(channels, size, stride=stride, padding=padding)
        else:
            self.conv = nn.Conv2d(channels, width, size, stride, padding=padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=eps)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, h, w)."""
        normed: Tensor = self.norm(self.conv(maps))
        return normed

    def fused(self) -> nn.Module:
        """The convolution with the norm in its kernel and bias."""
        return fuse_conv_bn_eval(self.conv, self.norm)


class DropPath(nn.Module):
    """Leaves out the long path of a residual block for some images of a training batch (stochastic depth).

    Huang et al., "Deep networks with stochastic depth", ECCV 2016. What is kept is divided by the share that is kept,
    so that nothing changes in evaluation.

    Args:
        rate: Chance of each image, 0 to below 1; 0 draws no random numbers.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not self.training or not self.rate:
            return maps
        kept = torch.rand(len(maps), 1, 1, 1, device=maps.device) >= self.rate
        return maps * (kept.to(maps) / (1 - self.rate))


def drop_rates(rate: float, count: int) -> list[float]:
    """The rates of `count` blocks, rising in equal steps to `rate` at the last: early blocks are needed most.

    Raises:
        ConfigError: The rate is not a number from 0 to below 1.
    """
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise ConfigError(
            f"model.options.drop_path: expected a number from 0 to below 1, got {rate!r}", hint="e.g. 0.1"
        )
    return [rate * number / max(1, count) for number in range(1, count + 1)]


def assign(target: Tensor, value: Tensor | None, key: str) -> None:
    """Copies a published tensor into a parameter or a buffer.

    Raises:
        ValueError: There is no such tensor, or it has another shape; the message names `key`.
    """
    if value is None:
        raise ValueError(f"it has no {key}")
    if value.shape != target.shape:
        raise ValueError(f"{key} has the shape {tuple(value.shape)}, expected {tuple(target.shape)}")
    with torch.no_grad():
        target.copy_(value)


def activated(layer: nn.Conv2d | nn.Linear, *, slope: float = 0.0, norm: str = "none") -> list[nn.Module]:
    """A layer with its activation and, optionally, its batch norm.

    Args:
        layer: A convolution or a dense layer.
        slope: Negative slope of the activation; 0 is ReLU.
        norm: Where the batch norm stands: "none", "before" or "after" the activation.

    Raises:
        ValueError: `norm` has another value.
    """
    relu = nn.LeakyReLU(slope) if slope else nn.ReLU()
    if norm == "none":
        return [layer, relu]
    batch_norm = nn.BatchNorm2d(layer.out_channels) if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d(len(layer.bias))
    if norm == "before":
        return [layer, batch_norm, relu]
    if norm == "after":
        return [layer, relu, batch_norm]
    raise ValueError(f"norm: expected none, before or after, got '{norm}'")


def convolution(
    channels: int, width: int, size: int = 3, *, stride: int = 1, slope: float = 0.0, norm: str = "none"
) -> list[nn.Module]:
    """A padded convolution with a bias from `channels` to `width` channels, with its activation (see `activated`)."""
    return activated(nn.Conv2d(channels, width, size, stride, padding=size // 2), slope=slope, norm=norm)


def shortcut(channels: int, width: int, *, stride: int) -> nn.Sequential:
    """The shortcut of a residual block: subsampling, a 1x1 convolution and a batch norm.

    Subsampling before the convolution equals a convolution with a stride, whose gradient in full precision crashes
    oneDNN on processors with AVX-512 (torch 2.13).
    """
    return nn.Sequential(nn.MaxPool2d(1, stride), nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))


def scaled(sizes: Sequence[int], factor: float) -> list[int]:
    """Widths times `factor`, each at least 1: the same network, narrower or wider.

    Raises:
        ConfigError: The factor is not a number above 0.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise ConfigError(
            f"model.options.width: expected a number above 0, got {factor!r}", hint="1.0 is the published network"
        )
    return [max(1, round(size * factor)) for size in sizes]


def named_stages(stages: Mapping[str, Sequence[nn.Module]]) -> nn.Sequential:
    """The stages in sequence, under their names."""
    return nn.Sequential(OrderedDict((name, nn.Sequential(*layers)) for name, layers in stages.items()))


def pooled_stages(
    channels: int,
    widths: Sequence[int],
    depths: Sequence[int],
    dropouts: Sequence[float],
    *,
    slope: float = 0.0,
    norm: str = "none",
) -> dict[str, list[nn.Module]]:
    """Stages of 3x3 convolutions in the manner of VGG, each followed by 2x2 max-pooling and dropout.

    Args:
        channels: Channels of the image.
        widths: Channels of each stage.
        depths: Convolutions of each stage.
        dropouts: Dropout after each stage.
        slope: Negative slope of the activations; 0 is ReLU.
        norm: Where the batch norms stand, see `activated`.
    """
    stages: dict[str, list[nn.Module]] = {}
    for number, (width, depth, dropout) in enumerate(zip(widths, depths, dropouts, strict=True), start=1):
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += convolution(channels, width, slope=slope, norm=norm)
            channels = width
        stages[f"stage{number}"] = [*layers, nn.MaxPool2d(2), nn.Dropout(dropout)]
    return stages


def with_dense(
    stages: Mapping[str, Sequence[nn.Module]],
    sizes: Sequence[int],
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    dropout: float,
    slope: float = 0.0,
    norm: str = "none",
) -> Network:
    """A classic network: stages of convolutions, their maps flattened, dense layers, and the heads.

    Args:
        stages: Layers by the name of their stage; the last stage gives maps (N, C, h, w).
        sizes: Sizes of the dense layers; each has an activation and dropout.
        heads: Number of classes by head.
        input: Size and channels of the images.
        dropout: Dropout after each dense layer.
        slope: Negative slope of the activations; 0 is ReLU.
        norm: Where the batch norms of the dense layers stand, see `activated`.

    Raises:
        ValueError: The images are too small for the stages.
    """
    trunk = named_stages(stages)
    features = flat_size(trunk, input)
    trunk.add_module("flat", nn.Flatten())
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [*activated(nn.Linear(features, size), slope=slope, norm=norm), nn.Dropout(dropout)]
        features = size
    trunk.add_module("dense", nn.Sequential(*layers))
    initialise(trunk, slope, norm=norm)
    return Network(trunk, features, heads)


def flat_size(layers: nn.Module, input: InputSpec) -> int:
    """Number of values that `layers` give for one image, found by a run on shapes alone.

    Raises:
        ValueError: The image is too small for the layers.
    """
    shapes = copy.deepcopy(layers).to("meta").eval()
    try:
        with torch.no_grad():
            maps: Tensor = shapes(torch.empty(1, input.depth, input.size, input.size, device="meta"))
    except RuntimeError as error:
        raise ValueError(f"images of {input.size}x{input.size} pixels are too small for its layers") from error
    return maps[0].numel()


def initialise(network: nn.Module, slope: float = 0.0, *, norm: str = "before") -> None:
    """Initialises kernels so that signals keep their size through many layers; biases become 0.

    With batch norms, as He et al. for (leaky) ReLUs ("Delving deep into rectifiers", ICCV 2015, equations 10 and 15).
    Without them, as Glorot and Bengio (AISTATS 2010, equation 16), which the programs with such networks use:
    max-pooling and dropout raise signals, and with He's initialisation VGG13 on faces started at a loss of 15 instead
    of 2.1.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if norm == "none":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, a=slope)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
