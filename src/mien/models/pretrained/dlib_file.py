"""Reads the .dat file of dlib's face recognition network into tensors.

dlib writes an object field after field, without a table of contents: the loss, then the version of every layer from the
output to the input, then the layers from the input to the output. An integer is a control byte (bit 7: negative, the
rest: number of bytes) and its bytes, the lowest first; a number with a fraction is an integer and its power of two; a
tensor is its version, its four sizes and its float32 values. Nothing in the file is executed, and no length in it is
trusted: each is compared with the bytes that are left.
"""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

_NAME: Final = 64  # longest name of a layer
_SIZE: Final = 1 << 24  # largest size of a tensor along one axis
_DEPTH: Final = 10_000  # most layers
_INNERMOST: Final = 3  # version of the layer beside the input, written last; the others have version 1 or 2
# Integers after the name of a layer that has no tensors.
_PLAIN: Final = {"relu_": 0, "max_pool_2": 6, "avg_pool_2": 6, "add_prev_": 0}
_BLOCKS: Final = 14  # residual blocks of two convolutions


def parse(data: bytes) -> dict[str, Tensor]:
    """The tensors of dlib's face recognition network.

    Args:
        data: Content of dlib_face_recognition_resnet_model_v1.dat, or of a file with a network of the same layers.

    Returns:
        For the first convolution and its affine layer "trunk.conv" and "trunk.norm", for block I
        "trunk.blocks.I.conv1", "norm1", "conv2" and "norm2", each with ".weight" and ".bias"; "fc.weight" (128, 256)
        of the embedding.

    Raises:
        ValueError: The file is damaged, or holds another object.
    """
    reader = _Reader(data)
    convolutions, norms, dense = _layers(reader)
    if reader.left:
        raise ValueError(f"{reader.left} bytes follow after the last layer")
    expected = 1 + 2 * _BLOCKS
    if len(convolutions) != expected or len(norms) != expected or len(dense) != 1:
        raise ValueError(
            f"it has {len(convolutions)} convolutions, {len(norms)} affine layers and {len(dense)} dense layers, "
            f"expected {expected}, {expected} and 1"
        )
    places = ["trunk.{}", *(f"trunk.blocks.{number}.{{}}{part}" for number in range(_BLOCKS) for part in (1, 2))]
    state = {"fc.weight": dense[0]}
    for place, (kernel, bias), (gamma, beta) in zip(places, convolutions, norms, strict=True):
        conv, norm = place.format("conv"), place.format("norm")
        state |= {f"{conv}.weight": kernel, f"{conv}.bias": bias, f"{norm}.weight": gamma, f"{norm}.bias": beta}
    return state


def _layers(reader: "_Reader") -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]], list[Tensor]]:
    """Kernels and biases of the convolutions, factors and offsets of the affine layers, matrices of dense layers."""
    convolutions, norms, dense = [], [], []
    for number in range(1, _count(reader) + 1):
        name = reader.text()
        if name == "con_4":
            convolutions.append(_convolution(reader, number))
        elif name == "affine_":
            values, gamma, beta = reader.tensor(), reader.shape()[1], reader.shape()[1]
            reader.integers(1)
            norms.append(_parts(values, gamma, beta, number))
        elif name == "fc_2":
            dense.append(_dense(reader, number))
        elif name in _PLAIN:
            reader.integers(_PLAIN[name])
        else:
            raise ValueError(f"layer {number} is of an unknown kind '{name}'")
        reader.take(3)  # flags
        for _ in range(3):  # gradients and outputs of the last training step, empty in published files
            reader.tensor()
        if number == 1:
            reader.integers(1)  # images made of one input
    return convolutions, norms, dense


def _count(reader: "_Reader") -> int:
    """Reads up to the first layer, and returns the number of layers."""
    reader.expect(1, "the version of the loss layer")
    if (name := reader.text()) != "loss_metric_2":
        raise ValueError(f"its loss is '{name}', expected 'loss_metric_2'")
    reader.fractions(2)
    layers = 1
    while (version := reader.integer()) != _INNERMOST:
        layers += version == 2  # version 1: where a shortcut begins or ends
        if version not in (1, 2) or layers > _DEPTH:
            raise ValueError(f"version {version} of a layer, expected 1 to {_INNERMOST}")
    if (name := reader.text()) != "input_rgb_image_sized":
        raise ValueError(f"its input is '{name}', expected 'input_rgb_image_sized'")
    reader.fractions(3)
    reader.integers(2)
    return layers


def _convolution(reader: "_Reader", number: int) -> tuple[Tensor, Tensor]:
    """Kernel (O, I, h, w) and bias (O,)."""
    values, (filters, *_) = reader.tensor(), reader.integers(7)
    shape, count = reader.shape(), reader.shape()[1]
    reader.fractions(4)
    if shape[0] != filters or count != filters:
        raise ValueError(f"layer {number}: {filters} filters, but a kernel of {shape}")
    kernel, bias = _parts(values, math.prod(shape), count, number)
    return kernel.reshape(shape), bias


def _dense(reader: "_Reader", number: int) -> Tensor:
    """Matrix (outputs, inputs) of a dense layer without biases."""
    reader.integers(2)
    values, shape = reader.tensor(), reader.shape()
    reader.shape()
    reader.integers(1)
    reader.fractions(4)
    matrix, _ = _parts(values, math.prod(shape), 0, number)
    if shape[2:] != (1, 1):
        raise ValueError(f"layer {number}: a matrix of {shape}")
    return matrix.reshape(shape[:2]).T.contiguous()


def _parts(values: Tensor, first: int, second: int, number: int) -> tuple[Tensor, Tensor]:
    """Splits the parameters of a layer in two."""
    if values.numel() != first + second:
        raise ValueError(f"layer {number}: {values.numel()} parameters, expected {first + second}")
    return values[:first], values[first:]


class _Reader:
    """Reads dlib's fields one after the other; every method raises a ValueError where the bytes do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    @property
    def left(self) -> int:
        """Number of bytes that are not yet read."""
        return len(self._data) - self._place

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.left:
            raise ValueError(f"it ends at byte {len(self._data):,}, where {count - self.left:,} more are expected")
        self._place += count
        return self._data[self._place - count : self._place]

    def integer(self) -> int:
        """A signed integer of at most eight bytes."""
        control = self.take(1)[0]
        if control & 0x7F > 8:
            raise ValueError(f"byte {self._place - 1:,} is not the start of a number")
        value = int.from_bytes(self.take(control & 0x7F), "little")
        return -value if control & 0x80 else value

    def integers(self, count: int) -> list[int]:
        """Several integers."""
        return [self.integer() for _ in range(count)]

    def fractions(self, count: int) -> None:
        """Skips numbers with a fraction: none of them is a weight."""
        self.integers(2 * count)

    def expect(self, value: int, what: str) -> None:
        """An integer that must have this value."""
        if (found := self.integer()) != value:
            raise ValueError(f"{what} is {found}, expected {value}")

    def text(self) -> str:
        """A name."""
        length = self.integer()
        if not 0 < length <= _NAME:
            raise ValueError(f"a name of {length} characters at byte {self._place:,}")
        return self.take(length).decode("ascii", "backslashreplace")

    def sizes(self) -> tuple[int, int, int, int]:
        """Four sizes of a tensor."""
        first, second, third, fourth = self.integers(4)
        if not all(0 <= size <= _SIZE for size in (first, second, third, fourth)):
            raise ValueError(f"a tensor of {first}x{second}x{third}x{fourth} before byte {self._place:,}")
        return first, second, third, fourth

    def shape(self) -> tuple[int, int, int, int]:
        """The sizes of a part of a layer's parameters."""
        self.expect(1, f"the version of a shape at byte {self._place:,}")
        return self.sizes()

    def tensor(self) -> Tensor:
        """All values of a tensor in a row."""
        self.expect(2, f"the version of a tensor at byte {self._place:,}")
        count = math.prod(self.sizes())
        return torch.from_numpy(np.frombuffer(self.take(4 * count), "<f4").astype(np.float32))
