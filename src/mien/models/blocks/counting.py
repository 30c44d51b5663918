"""A network's layers with their shapes, parameters and operations, measured on a run without data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mien import models
from mien.assets.manifest import InputSpec
from mien.models.blocks.network import Network

__all__ = ["Anatomy", "Layer", "Slab", "Stage", "anatomy"]

Kind = Literal["convolution", "pooling", "block", "dense", "average"]

# No rows of a listing, nor parts of a drawing.
_SILENT: Final = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Flatten, nn.ZeroPad2d)
_TITLES: Final[dict[type[nn.Module], str]] = {
    nn.Linear: "dense",
    nn.BatchNorm2d: "batch norm",
    nn.BatchNorm1d: "batch norm",
    nn.AdaptiveAvgPool2d: "average",
}
_DROPOUT: Final = (nn.Dropout, nn.Dropout2d)
_POOLS: Final = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: Its path in the network.
        title: What it is, in words.
        shape: Of what it gives for one image: (C, H, W) or (C,).
        parameters: How many numbers it has.
        trained: How many of them learn.
        operations: Multiplications with an addition each, for one image.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    parameters: int
    trained: int
    operations: int


@dataclass(frozen=True)
class Slab:
    """Part of a stage as it is drawn: a layer, or a block of several branches.

    Attributes:
        kind: What it is.
        title: In words.
        shape: Of what it gives for one image.
    """

    kind: Kind
    title: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Part of the trunk.

    Attributes:
        name: In the network, or "" where layers there have none.
        slabs: Its parts, in order.
        parameters: How many numbers it has.
        operations: Multiplications with an addition each, for one image.
    """

    name: str
    slabs: tuple[Slab, ...]
    parameters: int
    operations: int


@dataclass(frozen=True)
class Anatomy:
    """All of a network, as it is trained.

    Attributes:
        input: What the images are like.
        layers: In the order in which they run; activations are left out.
        stages: Of the trunk.
        heads: Number of classes by head.
        fused_operations: Of the network as it is exported, for one image.
    """

    input: InputSpec
    layers: tuple[Layer, ...]
    stages: tuple[Stage, ...]
    heads: Mapping[str, int]
    fused_operations: int

    @property
    def parameters(self) -> int:
        """How many numbers the network has, not counting the statistics of its norms."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trained(self) -> int:
        """How many of them learn."""
        return sum(layer.trained for layer in self.layers)


def anatomy(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Anatomy:
    """Measures the network `name`; it is built without memory for its weights, however large it is.

    Raises:
        ConfigError: There is no such network, or it has no such option or no such value of one.
    """
    with torch.device("meta"):
        network = models.build(name, heads, input, **options).eval()
        layers, shapes = _run(network, input)
        fused = sum(layer.operations for layer in _run(network.fused(), input)[0])
    return Anatomy(input, tuple(layers), tuple(_stages(network, layers, shapes)), dict(heads), fused)


def _run(network: Network, input: InputSpec) -> tuple[list[Layer], dict[str, tuple[int, ...]]]:
    """The layers in the order in which they run, and the shape of what every module gives for one image."""
    layers: list[Layer] = []
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, module: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
            shapes[name] = tuple(result.shape[1:])
            idle = isinstance(module, _DROPOUT) and not module.p
            if not list(module.children()) and not isinstance(module, _SILENT) and not idle:
                weights = list(module.parameters())
                trained = sum(weight.numel() for weight in weights if weight.requires_grad)
                count = sum(weight.numel() for weight in weights)
                layers.append(Layer(name, _title(module), shapes[name], count, trained, _operations(module, result)))

        return module.register_forward_hook(hook)

    parts = [(name, module) for name, module in network.named_modules() if name]
    hooks = [note(name, module) for name, module in parts if not isinstance(module, nn.ModuleDict)]
    with torch.no_grad():
        network(torch.empty(1, input.depth, input.size, input.size))
    for hook in hooks:  # else a copy of the network would carry them on
        hook.remove()
    return layers, shapes


def _operations(module: nn.Module, result: Tensor) -> int:
    """Multiplications with an addition each; norms, activations and poolings count nothing."""
    if isinstance(module, nn.Conv2d):
        return result[0].numel() * module.weight[0].numel()
    return result[0].numel() * module.in_features if isinstance(module, nn.Linear) else 0


def _title(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        kernel = "x".join(map(str, module.kernel_size))
        steps = f", steps of {module.stride[0]}" if module.stride[0] > 1 else ""
        return f"{'depthwise ' if module.groups > 1 else ''}convolution {kernel}{steps}"
    if isinstance(module, nn.MaxPool2d):
        if module.kernel_size == 1:
            return f"steps of {module.stride}"
        return f"max-pooling {module.kernel_size}x{module.kernel_size}, steps of {module.stride}"
    if isinstance(module, _DROPOUT):
        return f"dropout {module.p:g}"
    return next((title for kind, title in _TITLES.items() if isinstance(module, kind)), type(module).__name__.lower())


def _stages(network: Network, layers: list[Layer], shapes: dict[str, tuple[int, ...]]) -> Iterator[Stage]:
    """The trunk's children; nameless ones with results of one shape are one stage."""
    groups: list[tuple[str, list[str], list[Slab]]] = []
    for name, child in network.trunk.named_children():
        path = f"trunk.{name}"
        slabs = list(_slabs(path, child, shapes))
        label = "" if name.isdigit() else name
        if not slabs:
            continue
        last = groups[-1][2][-1] if groups else None
        if last and not label and not groups[-1][0] and last.shape == slabs[0].shape:
            groups[-1][1].append(path)
            groups[-1][2].extend(slabs)
        else:
            groups.append((label, [path], slabs))
    for label, paths, slabs in groups:
        own = [layer for layer in layers if any(f"{layer.name}.".startswith(f"{path}.") for path in paths)]
        parameters, operations = (sum(getattr(layer, key) for layer in own) for key in ("parameters", "operations"))
        yield Stage(label, tuple(slabs), parameters, operations)


def _slabs(path: str, module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> Iterator[Slab]:
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _slabs(f"{path}.{name}", child, shapes)
    elif isinstance(module, nn.Conv2d):
        yield Slab("convolution", _title(module).partition(",")[0], shapes[path])
    elif isinstance(module, nn.Linear):
        yield Slab("dense", "dense", shapes[path])
    elif isinstance(module, _POOLS):
        yield Slab("pooling", "average" if isinstance(module, nn.AdaptiveAvgPool2d) else "max-pooling", shapes[path])
    elif list(module.children()):
        yield Slab("block", type(module).__name__.lower(), shapes[path])
    elif not isinstance(module, (*_SILENT, *_DROPOUT, nn.BatchNorm2d, nn.BatchNorm1d)):
        yield Slab("average", type(module).__name__.lower(), shapes[path])
