"""YuNet: single shot, without anchor boxes, depthwise separable convolutions, strides 8, 16 and 32.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector" (Machine Intelligence Research 20, 2023), figure 2:
units of a pointwise and a depthwise convolution with a batch norm, maximum pools, and a feature pyramid. Its published
weights can be loaded, also into a network that is narrower at stride 4. A cell's score there is the geometric mean of
the probabilities of two outputs, that a face is there and that its box fits; here it is one output, its logit.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Final, NamedTuple

import torch
from torch import Tensor, nn

from mien.assets.signature import CELL_VALUES, STRIDES
from mien.models.blocks.layers import assign
from mien.models.blocks.network import Fusible, fold_norm
from mien.models.detection import DetectionNetwork

# The published file has its batch norms folded into the convolutions.
WITHOUT_STATISTICS: Final = True

_STRIDES: Final = len(STRIDES)
_OUTPUTS: Final = CELL_VALUES + 1  # of a cell: two scores instead of one
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

    def start(self, images: Tensor) -> Tensor:
        """See `DetectionNetwork.start`."""
        maps: Tensor = self.early(self.stem(images))
        return maps

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


def load_pretrained(network: YuNet, state: Mapping[str, Tensor], images: Tensor) -> None:
    """Loads the weights of the published ONNX file, as `pretrained` reads it, into a network of `build`.

    With the published widths, the network is the same function in evaluation mode: YuNet takes BGR images of 0-255, and
    its boxes and landmarks count from the corner of a cell. Layers at stride 4 may be narrower: see `_narrow`.

    Args:
        network: Changed in place.
        state: The convolutions of the file, in their order.
        images: (N, 3, H, W) RGB, values 0-1, on which it is measured which channels can be left out.

    Raises:
        ValueError: The state is not that of this network.
    """
    full = build()
    _load(full, state)
    for number in range(len(network.early) - 2):
        width = _part(network, number).point.out_channels
        if width < _part(full, number).point.out_channels:
            _narrow(full, number, width, images)
    try:
        network.load_state_dict(full.state_dict())
    except RuntimeError as error:
        raise ValueError("only the layers at stride 4, except the last one, may be narrower") from error


def _part(network: YuNet, number: int) -> Unit:
    """A unit at stride 4."""
    unit = network.early[number]
    assert isinstance(unit, Unit)
    return unit


def _load(network: YuNet, state: Mapping[str, Tensor]) -> None:
    """Loads the published weights into a network of the published widths."""
    found: list[_Convolution] = []
    while (name := f"conv{len(found)}.weight") in state:
        found.append(_Convolution(state[name], state[f"conv{len(found)}.bias"]))
    units = [module for part in (network.stem[1:], network.early, *network.stages) for module in part]
    units = [*filter(lambda module: isinstance(module, Unit), units), *reversed(network.sides), *network.mixers]
    heads = 2 * _STRIDES * 4  # for the fit of the box, the box, the face, and the landmarks
    if len(found) != 1 + 2 * len(units) + heads:
        raise ValueError(f"it has {len(found)} convolutions, YuNet has {1 + 2 * len(units) + heads}")
    first, *rest = found
    body, ends = rest[:-heads], rest[-heads:]
    stem = network.stem[0]
    assert isinstance(stem, Stem)
    _set(stem, _Convolution(255 * first.kernel.flip(1), first.bias), "the first convolution")
    for number, (unit, point, spatial) in enumerate(zip(units, body[::2], body[1::2], strict=True), start=1):
        assert isinstance(unit, Unit)
        assign(unit.point.weight, point.kernel, f"unit {number}, pointwise")
        assign(_bias(unit.point), point.bias, f"unit {number}, pointwise")
        _set(unit, spatial, f"unit {number}, depthwise")
    fit, box, face, points = (ends[start : start + 2 * _STRIDES] for start in range(0, heads, 2 * _STRIDES))
    shift = torch.zeros(_OUTPUTS)
    shift[2:4] = shift[6:] = _CENTRE
    for level, head in enumerate(network.heads):
        assert isinstance(head, nn.Sequential)
        for number, convolution in enumerate(head):
            assert isinstance(convolution, nn.Conv2d)
            parts = [part[2 * level + number] for part in (face, fit, box, points)]
            assign(convolution.weight, torch.cat([part.kernel for part in parts]), f"head {level}")
            bias = torch.cat([part.bias for part in parts])
            assign(_bias(convolution), bias - shift if number else bias, f"head {level}")


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _set(layer: Stem | Unit, convolution: _Convolution, name: str) -> None:
    """Sets a convolution and makes its norm add the bias alone."""
    assign(layer.spatial.weight, convolution.kernel, name)
    assign(layer.norm.bias, convolution.bias, name)
    layer.norm.reset_running_stats()
    with torch.no_grad():
        layer.norm.weight.fill_((1 + layer.norm.eps) ** 0.5)


def _narrow(network: YuNet, number: int, width: int, images: Tensor) -> None:
    """Leaves out channels of a unit at stride 4, so that the next pointwise convolution gives nearly the same.

    The channels go one by one, each time the one without which the next convolution, fitted again by least squares,
    gives the smallest error on the images (He, Zhang and Sun, "Channel pruning for accelerating very deep neural
    networks", ICCV 2017, section 3.1, with a backward search in place of the LASSO).

    Args:
        network: Changed in place.
        number: Of the unit.
        width: Its new number of channels.
        images: (N, 3, H, W) RGB, values 0-1.
    """
    unit, after = _part(network, number), _part(network, number + 1).point
    with torch.no_grad():
        seen = network.eval().early[: number + 1](network.stem(images)).transpose(0, 1).flatten(1).double()  # (C, P)
        mean, covariance = seen.mean(dim=1), torch.cov(seen)
        kernel = after.weight[:, :, 0, 0].double()  # (O, C)
        kept = list(range(len(mean)))
        while len(kept) > width:
            errors = [_error(kernel, covariance, kept[:place] + kept[place + 1 :]) for place in range(len(kept))]
            kept.pop(int(torch.tensor(errors).argmin()))
        fitted = kernel @ _regression(covariance, kept)  # (O, width)
        bias = _bias(after) + (kernel @ mean - fitted @ mean[kept]).float()
        narrow, joined = Unit(unit.point.in_channels, width), nn.Conv2d(width, after.out_channels, 1)
        narrow.point.weight.copy_(unit.point.weight[kept])
        _bias(narrow.point).copy_(_bias(unit.point)[kept])
        _set(narrow, _Convolution(unit.spatial.weight[kept], unit.norm.bias[kept]), "narrowed")
        joined.weight.copy_(fitted.float()[:, :, None, None])
        _bias(joined).copy_(bias)
    network.early[number] = narrow
    _part(network, number + 1).point = joined


def _regression(covariance: Tensor, kept: list[int]) -> Tensor:
    """(C, K): the best linear estimate of all channels from those that are kept."""
    own = covariance[kept][:, kept]
    own = own + 1e-6 * own.diagonal().mean() * torch.eye(len(kept), dtype=own.dtype)
    found: Tensor = torch.linalg.solve(own, covariance[kept]).T
    return found


def _error(kernel: Tensor, covariance: Tensor, kept: list[int]) -> float:
    """The variance of the next convolution's outputs that the kept channels do not explain."""
    left = covariance - _regression(covariance, kept) @ covariance[kept]
    return float(torch.einsum("oc,cd,od->", kernel, left, kernel))
