"""Writes files as dlib saves its face recognition network, and random networks to write."""

import math
import struct
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

WIDTHS = (32, 64, 128, 256, 256)
DEPTHS = (3, 4, 3, 3, 1)


def random_state(widths: Sequence[int] = WIDTHS, seed: int = 0) -> dict[str, Tensor]:
    """A network in the layout of `dlib_resnet_fp16.safetensors`, with values of the usual size."""
    torch.manual_seed(seed)
    state = {"fc.weight": torch.randn(128, widths[-1]) / math.sqrt(widths[-1])}

    def layer(conv: str, norm: str, width: int, channels: int, size: int) -> None:
        scale = 0.05 * math.sqrt(2 / (channels * size**2))  # small, as in the published file
        state[f"{conv}.weight"] = torch.randn(width, channels, size, size) * scale
        state[f"{conv}.bias"] = torch.randn(width) / 100
        state[f"{norm}.weight"] = 15 * (0.5 + torch.rand(width))
        state[f"{norm}.bias"] = torch.randn(width) / 5

    layer("trunk.conv", "trunk.norm", widths[0], 3, 7)
    channels, number = widths[0], 0
    for width, depth in zip(widths, DEPTHS, strict=True):
        for _ in range(depth):
            for part in (1, 2):
                place = f"trunk.blocks.{number}"
                layer(f"{place}.conv{part}", f"{place}.norm{part}", width, channels if part == 1 else width, 3)
            channels, number = width, number + 1
    return state


def dlib_file(state: Mapping[str, Tensor]) -> bytes:
    """The state as dlib's `serialize` writes it."""
    layers: list[bytes] = []
    layers.append(_layer(_convolution(state, "trunk.conv", 2)))
    layers[0] += _integer(1)
    layers += [_layer(_affine(state, "trunk.norm")), _layer(_text("relu_"))]
    layers.append(_layer(_text("max_pool_2") + _integers(3, 3, 2, 2, 0, 0)))
    number = 0
    # Versions from the output to the input: shortcuts begin and end without a name.
    versions: list[int] = []
    for stage, depth in enumerate(DEPTHS):
        for index in range(depth):
            down = stage > 0 and index == 0
            place = f"trunk.blocks.{number}"
            layers.append(_layer(_convolution(state, f"{place}.conv1", 2 if down else 1)))
            layers += [_layer(_affine(state, f"{place}.norm1")), _layer(_text("relu_"))]
            layers += [_layer(_convolution(state, f"{place}.conv2", 1)), _layer(_affine(state, f"{place}.norm2"))]
            if down:
                layers.append(_layer(_text("avg_pool_2") + _integers(2, 2, 2, 2, 0, 0)))
            layers += [_layer(_text("add_prev_")), _layer(_text("relu_"))]
            # from the output to the input: relu, sum, (pool, skip, tag), affine, conv, relu, affine, conv, tag
            versions = [2, 2, *([2, 1, 1] if down else []), 2, 2, 2, 2, 2, 1, *versions]
            number += 1
    layers.append(_layer(_text("avg_pool_2") + _integers(0, 0, 1, 1, 0, 0)))
    matrix = state["fc.weight"]
    dense = _text("fc_2") + _integers(*matrix.shape) + _tensor(matrix.T, (matrix.shape[1], matrix.shape[0], 1, 1))
    dense += _shape(matrix.shape[1], matrix.shape[0], 1, 1) + _shape(0, 0, 0, 0) + _integer(1) + _rates()
    layers.append(_layer(dense))
    versions = [2, 2, *versions, 2, 2, 2, 3]
    head = _integer(1) + _text("loss_metric_2") + _fraction(0.04) + _fraction(0.6) + _integers(*versions)
    head += _text("input_rgb_image_sized") + b"".join(map(_fraction, (122.782, 117.001, 104.298))) + _integers(150, 150)
    return head + b"".join(layers)


def _layer(details: bytes) -> bytes:
    return details + b"110" + _tensor(torch.empty(0), (0, 0, 0, 0)) * 3


def _convolution(state: Mapping[str, Tensor], name: str, stride: int) -> bytes:
    kernel, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    size, padding = kernel.shape[2], 0 if stride == 2 else kernel.shape[2] // 2
    values = torch.cat([kernel.flatten(), bias])
    fields = _integers(len(kernel), size, size, stride, stride, padding, padding)
    shapes = _shape(*kernel.shape) + _shape(1, len(bias), 1, 1)
    return _text("con_4") + _tensor(values, (len(values), 1, 1, 1)) + fields + shapes + _rates()


def _affine(state: Mapping[str, Tensor], name: str) -> bytes:
    gamma, beta = state[f"{name}.weight"], state[f"{name}.bias"]
    shapes = _shape(1, len(gamma), 1, 1) + _shape(1, len(beta), 1, 1)
    return _text("affine_") + _tensor(torch.cat([gamma, beta]), (2 * len(gamma), 1, 1, 1)) + shapes + _integer(0)


def _rates() -> bytes:
    return b"".join(map(_fraction, (1.0, 1.0, 1.0, 0.0)))


def _tensor(values: Tensor, shape: Sequence[int]) -> bytes:
    return _integers(2, *shape) + values.contiguous().numpy().astype("<f4").tobytes()


def _shape(*sizes: int) -> bytes:
    return _integers(1, *sizes)


def _integers(*values: int) -> bytes:
    return b"".join(map(_integer, values))


def _integer(value: int) -> bytes:
    content = struct.pack("<Q", abs(value)).rstrip(b"\0") or b"\0"
    return bytes([len(content) | (0x80 if value < 0 else 0)]) + content


def _fraction(value: float) -> bytes:
    mantissa, exponent = math.frexp(value)
    return _integers(int(mantissa * 2**24), exponent - 24)


def _text(value: str) -> bytes:
    return _integer(len(value)) + value.encode()
