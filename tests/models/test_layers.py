"""Depthwise convolutions: what they compute does not depend on the precision in which their gradients are found."""

import pytest
import torch
from torch import nn

from mien.models.blocks.layers import ConvNorm, DepthwiseConv


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_a_depthwise_convolution_is_a_convolution_of_each_channel(size: int, stride: int) -> None:
    layer = DepthwiseConv(4, size, stride=stride, padding=size // 2)
    maps = torch.rand(2, 4, 12, 12, requires_grad=True)
    expected = torch.cat(
        [
            nn.functional.conv2d(maps[:, [channel]], layer.weight[[channel]], None, stride, size // 2)
            for channel in range(4)
        ],
        dim=1,
    )
    torch.testing.assert_close(layer(maps), expected)


@pytest.mark.parametrize(("size", "stride", "exact"), [(3, 1, False), (3, 2, True), (5, 1, True)])
def test_in_mixed_precision_its_slow_gradients_are_those_of_32_bits(size: int, stride: int, exact: bool) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv(8, size, stride=stride, padding=size // 2)
    maps = torch.rand(2, 8, 16, 16)
    layer(maps).square().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(maps)
    found.float().square().sum().backward()
    assert expected is not None
    assert layer.weight.grad is not None
    assert found.dtype is (torch.float32 if exact else torch.bfloat16)
    assert torch.equal(layer.weight.grad, expected) == exact
    torch.testing.assert_close(layer.weight.grad, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


def test_without_gradients_it_stays_in_bf16() -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert DepthwiseConv(4, 5, padding=2)(torch.rand(1, 4, 8, 8)).dtype is torch.bfloat16


def test_only_depthwise_ones_are() -> None:
    assert isinstance(ConvNorm(8, 8, 5, groups=8).conv, DepthwiseConv)
    assert not isinstance(ConvNorm(8, 8, 5).conv, DepthwiseConv)
    assert not isinstance(ConvNorm(8, 16, 5, groups=8).conv, DepthwiseConv)
