"""What every network shares: a trunk, linear heads, and the conversion from the training form to the inference form."""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

_Net = TypeVar("_Net", bound=nn.Module)


class Network(nn.Module):
    """A trunk from the inputs to features, and one linear head for each way of labelling.

    The inputs are images (N, C, H, W), keypoints (N, K, 2), or both, as the `INPUTS` of the network's module say; with
    T frames after N if it reads windows.

    Args:
        trunk: Gives maps (N, features, h, w), which are averaged, or vectors (N, features).
        features: Number of features.
        heads: Number of classes by head.
        dropout: Dropout of the features during training.
    """

    def __init__(self, trunk: nn.Module, features: int, heads: Mapping[str, int], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = trunk
        self.width = features
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(features, classes) for name, classes in heads.items()})

    def features(self, *inputs: Tensor) -> Tensor:
        """Normalised inputs -> features of the trunk (N, F), before dropout and heads."""
        maps: Tensor = self.trunk(*inputs)  # (N, F, h, w) or (N, F)
        return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Features (N, F) -> logits (N, classes) by head."""
        features = self.dropout(features)
        return {name: head(features) for name, head in self.heads.items()}

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Normalised inputs -> logits (N, classes) by head."""
        return self.classify(self.features(*inputs))

    def fused(self) -> "Network":
        """A copy in evaluation mode with every `Fusible` block in its inference form."""
        return fuse(self)


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Turns autocasting off on the device of a tensor, where it is on; an exported graph then has no trace of it."""
    device = like.device.type
    on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


class Fusible(nn.Module):
    """A block whose training form can be replaced by an equivalent, cheaper inference form."""

    def fused(self) -> nn.Module:
        """The inference form: the same function in evaluation mode."""
        raise NotImplementedError


def fuse(network: _Net) -> _Net:
    """A copy of a network in evaluation mode with every `Fusible` block in its inference form."""
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        _fuse(network)
    return network


def _fuse(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Fusible):
            setattr(module, name, child.fused())
        else:
            _fuse(child)


def set_statistics(network: nn.Module, images: Tensor) -> None:
    """Gives every 2D batch norm the mean and the variance that it meets on these images; the function stays the same.

    For weights that were published without statistics: a training step normalises by those of its batch, and where the
    stored ones differ, its network is another function than the one that was loaded.

    Args:
        network: Changed in place; its function in evaluation mode is unchanged.
        images: Normalised images (N, C, H, W).
    """

    def measure(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        new_variance, new_mean = torch.var_mean(arguments[0], dim=(0, 2, 3), correction=0)
        factor = norm.weight / torch.sqrt(variance + norm.eps)
        norm.bias.add_((new_mean - mean) * factor)
        norm.weight.copy_(factor * torch.sqrt(new_variance + norm.eps))
        mean.copy_(new_mean)
        variance.copy_(new_variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)


def fold_norm(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel (O, I, 3, 3) and bias (O,) equivalent to `kernel` followed by `norm` in evaluation mode."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("norm: expected a batch norm with running statistics")
    scale = norm.weight / torch.sqrt(variance + norm.eps)  # (O,)
    return kernel * scale[:, None, None, None], norm.bias - mean * scale


def identity_kernel(like: Tensor) -> Tensor:
    """The 3x3 kernel (C, C, 3, 3) that leaves maps unchanged."""
    kernel = torch.zeros_like(like)
    kernel[:, :, 1, 1] = torch.eye(len(like))
    return kernel


def merged(branches: list[tuple[Tensor, Tensor]], stride: int) -> nn.Module:
    """One 3x3 convolution with a bias, then ReLU: the sum of branches given as kernels (O, I, 3, 3) and biases (O,)."""
    kernel = sum((kernel for kernel, _ in branches[1:]), branches[0][0])
    bias = sum((bias for _, bias in branches[1:]), branches[0][1])
    convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, stride, padding=1)
    convolution.weight.copy_(kernel)
    convolution.bias.copy_(bias)  # type: ignore[union-attr]
    return nn.Sequential(convolution, nn.ReLU())
