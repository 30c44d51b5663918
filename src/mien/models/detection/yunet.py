"""YuNet: single shot, without anchor boxes, depthwise separable convolutions, strides 8, 16 and 32.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector" (Machine Intelligence Research 20, 2023), figure 2:
units of a pointwise and a depthwise convolution with a batch norm, maximum pools, and a feature pyramid. Its published
weights can be loaded, also into a narrower network. A cell's score there is the geometric mean of the probabilities of
two outputs, that a face is there and that its box fits; here it is one output, the logit of that mean.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Final, NamedTuple

import torch
from torch import Tensor, nn

from mien.models.blocks.layers import assign
from mien.models.blocks.network import Fusible, fold_norm
from mien.models.detection import DetectionNetwork

# The published file has its batch norms folded into the convolutions.
WITHOUT_STATISTICS: Final = True

_STRIDES: Final = 3
_OUTPUTS: Final = 16  # of a cell: two scores, box (4), landmarks (10)
_RAREST: Final = 1e-6  # nearest to 1 that a score comes
_CENTRE: Final = 0.5  # of a cell, from which mien counts; YuNet counts from its corner
_PRIOR: Final = -4.6  # initial logit of a face in a cell: 1%


class Unit(Fusible):
    """Pointwise and depthwise 3x3 convolution, batch norm, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, width, 1)
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H, W)."""
        return torch.relu(self.norm(self.spatial(self.point(maps))))

    def fused(self) -> nn.Module:
        """Two convolutions with biases, and ReLU."""
        return nn.Sequential(self.point, _with_norm(self.spatial, self.norm), nn.ReLU())


class Stem(Fusible):
    """3x3 convolution of stride 2, batch norm, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / 2, W / 2)."""
        return torch.relu(self.norm(self.spatial(maps)))

    def fused(self) -> nn.Module:
        """One convolution with a bias, and ReLU."""
        return nn.Sequential(_with_norm(self.spatial, self.norm), nn.ReLU())


def _with_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution with a bias for a convolution without one and its norm."""
    kernel, bias = fold_norm(convolution.weight, norm)
    made = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        3,
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=1,
        groups=convolution.groups,
    )
    made.weight.copy_(kernel)
    assert made.bias is not None
    made.bias.copy_(bias)
    return made


class YuNet(DetectionNetwork):
    """Images to the predictions of every cell.

    Args:
        stem: Channels at stride 2.
        early: Channels of the four units at stride 4, where most of the time is spent.
        width: Channels at strides 8, 16 and 32, of the pyramid and of the heads.
    """

    gains_from_int8: ClassVar[bool] = False

    def __init__(self, *, stem: int, early: Sequence[int], width: int) -> None:
        super().__init__()
        self.features = width
        self.stem = nn.Sequential(Stem(3, stem), Unit(stem, stem), nn.MaxPool2d(2))
        units = [Unit(channels, wide) for channels, wide in pairwise([stem, *early])]
        self.early = nn.Sequential(*units, nn.MaxPool2d(2))
        channels = [early[-1], *[width] * (2 * _STRIDES - 1)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                *([nn.MaxPool2d(2)] if level else []),
                Unit(channels[2 * level], width),
                Unit(width, width),
            )
            for level in range(_STRIDES)
        )
        self.sides = nn.ModuleList(Unit(width, width) for _ in range(_STRIDES))
        self.mixers = nn.ModuleList(Unit(width, width) for _ in range(_STRIDES))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, _OUTPUTS, 1), nn.Conv2d(_OUTPUTS, _OUTPUTS, 3, padding=1, groups=_OUTPUTS))
            for _ in range(_STRIDES)
        )
        for head in self.heads:
            assert isinstance(head, nn.Sequential)
            bias = head[1].bias
            assert isinstance(bias, Tensor)
            nn.init.zeros_(bias)
            nn.init.constant_(bias[:2], _PRIOR)

    def levels(self, images: Tensor) -> list[Tensor]:
        """See `DetectionNetwork.levels`."""
        maps = self.early(self.stem(images))
        levels = []
        for stage in self.stages:
            maps = stage(maps)
            levels.append(maps)
        return levels

    def cells(self, levels: list[Tensor]) -> Tensor:
        """See `DetectionNetwork.cells`."""
        above = None
        rows = []
        for level in reversed(range(_STRIDES)):
            maps = levels[level]
            if above is not None:
                maps = maps + nn.functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = self.sides[level](maps)
            found = self.heads[level](self.mixers[level](above))  # (N, 16, h, w)
            rows.append(found.permute(0, 2, 3, 1).flatten(1, 2))  # (N, h * w, 16)
        found = torch.cat(rows[::-1], dim=1)
        # The logit of the geometric mean of two probabilities.
        mean = -nn.functional.softplus(-found[..., :2]).mean(dim=2, keepdim=True)
        score = mean - torch.log((1 - torch.exp(mean)).clamp(min=_RAREST))
        return torch.cat([score, found[..., 2:]], dim=2)


def build(*, stem: int = 16, early: Sequence[int] = (16, 64, 64, 64), width: int = 64) -> YuNet:
    """By default YuNet-n as it was published; `early` may be narrower, which saves time."""
    return YuNet(stem=stem, early=early, width=width)


class _Convolution(NamedTuple):
    """A convolution of the file: (O, I, k, k) and (O,)."""

    kernel: Tensor
    bias: Tensor


def load_pretrained(network: YuNet, state: Mapping[str, Tensor]) -> None:
    """Loads the weights of the published ONNX file, as `pretrained` reads it, into a network of `build`.

    Of a layer that is narrower here, the channels are kept that have the most influence on the next layer. With the
    published widths, the network is the same function in evaluation mode: YuNet takes BGR images of 0-255, and its
    boxes and landmarks count from the corner of a cell.

    Args:
        network: Changed in place.
        state: The convolutions of the file, in their order.

    Raises:
        ValueError: The state is not that of this network.
    """
    found: list[_Convolution] = []
    while (name := f"conv{len(found)}.weight") in state:
        found.append(_Convolution(state[name], state[f"conv{len(found)}.bias"]))
    heads = 2 * _STRIDES * 4  # for the fit of the box, the box, the face, and the landmarks
    chain = [module for part in (network.stem, network.early, *network.stages) for module in part if _learns(module)]
    aside = [*reversed(network.sides), *network.mixers]
    if len(found) != 2 * (len(chain) + len(aside)) - 1 + heads:
        raise ValueError(f"it has {len(found)} convolutions, YuNet has {2 * (len(chain) + len(aside)) - 1 + heads}")
    first, *rest = found
    body, heads_found = rest[:-heads], rest[-heads:]
    pairs = list(zip(body[::2], body[1::2], strict=True))
    with torch.no_grad():
        kernel = 255 * first.kernel.flip(1)
        kept = _strongest(kernel, pairs[0][0].kernel, chain[0].spatial.out_channels)
        _set(chain[0], _Convolution(kernel[kept], first.bias[kept]), "the first convolution")
        following = [*(point.kernel for point, _ in pairs[1 : len(chain) - 1]), None]
        for number, (unit, pair, after) in enumerate(zip(chain[1:], pairs, following, strict=False), start=1):
            kept = _set_unit(unit, pair, kept, after, f"unit {number}")
        everything = torch.arange(network.features)
        for number, (unit, pair) in enumerate(zip(aside, pairs[len(chain) - 1 :], strict=True), start=len(chain)):
            _set_unit(unit, pair, everything, None, f"unit {number}")
        fit, box, face, points = (heads_found[start : start + 2 * _STRIDES] for start in range(0, heads, 2 * _STRIDES))
        shift = torch.zeros(_OUTPUTS)
        shift[2:4] = shift[6:] = _CENTRE
        for level, head in enumerate(network.heads):
            assert isinstance(head, nn.Sequential)
            for number, convolution in enumerate(head):
                assert isinstance(convolution, nn.Conv2d)
                assert convolution.bias is not None
                parts = [part[2 * level + number] for part in (face, fit, box, points)]
                kernel = torch.cat([part.kernel for part in parts])
                bias = torch.cat([part.bias for part in parts])
                assign(convolution.weight, kernel, f"head {level}")
                assign(convolution.bias, bias - shift if number else bias, f"head {level}")


def _learns(module: nn.Module) -> bool:
    return isinstance(module, Stem | Unit)


def _strongest(kernel: Tensor, after: Tensor | None, count: int) -> Tensor:
    """Indices (count,) of the channels of a layer that have the most influence on the layer after it."""
    influence = kernel.flatten(1).norm(dim=1)
    if after is not None:
        if after.shape[1] != len(influence):
            raise ValueError(f"a layer has {len(influence)} channels, the next one takes {after.shape[1]}")
        influence = influence * after.flatten(1).norm(dim=0)
    chosen: Tensor = influence.argsort(descending=True)[:count].sort().values
    return chosen


def _set_unit(
    unit: Unit, pair: tuple[_Convolution, _Convolution], given: Tensor, after: Tensor | None, name: str
) -> Tensor:
    """Sets a unit that is given the channels `given` of the published one; returns the channels that it keeps."""
    point, depth = pair
    if len(depth.kernel) != len(point.kernel):
        raise ValueError(f"{name} has {len(point.kernel)} and {len(depth.kernel)} channels")
    influence = depth.kernel * point.kernel.flatten(1).norm(dim=1)[:, None, None, None]
    kept = _strongest(influence, after, len(unit.norm.weight))
    if point.kernel.shape[1] <= int(given.max()):
        raise ValueError(f"{name} takes {point.kernel.shape[1]} channels")
    assign(unit.point.weight, point.kernel[kept][:, given], f"{name}, pointwise")
    assert unit.point.bias is not None
    assign(unit.point.bias, point.bias[kept], f"{name}, pointwise")
    _set(unit, _Convolution(depth.kernel[kept], depth.bias[kept]), f"{name}, depthwise")
    return kept


def _set(layer: Stem | Unit, convolution: _Convolution, name: str) -> None:
    """Sets a convolution and makes its norm add the bias alone."""
    assign(layer.spatial.weight, convolution.kernel, name)
    assign(layer.norm.bias, convolution.bias, name)
    layer.norm.reset_running_stats()
    layer.norm.weight.fill_((1 + layer.norm.eps) ** 0.5)
