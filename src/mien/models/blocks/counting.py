"""The layers of a network with their shapes, parameters and operations, measured without data or weights."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mien import models
from mien.assets.manifest import InputSpec
from mien.models.blocks.network import Network

Kind = Literal["convolution", "pooling", "block", "dense", "average", "other"]

# Neither listed nor drawn.
_SILENT: Final = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Identity, nn.Flatten, nn.ZeroPad2d)
_DROPOUTS: Final = (nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True)
class Layer:
    """A layer, or a block of several branches.

    Attributes:
        name: Its path in the network.
        kind: How it is drawn; "other" (norms and dropout) is not drawn.
        title: Its type in words.
        shape: Shape of its output for one image: (C, H, W) or (C,).
        parameters: Number of parameters.
        trained: Number of parameters that are trained (not frozen).
        operations: Multiply-adds for one image; norms, activations and poolings count 0.
    """

    name: str
    kind: Kind
    title: str
    shape: tuple[int, ...]
    parameters: int
    trained: int
    operations: int


@dataclass(frozen=True)
class Stage:
    """Consecutive layers and blocks of the trunk; `name` is empty if they have none in the network."""

    name: str
    parts: tuple[Layer, ...]
    parameters: int
    operations: int


@dataclass(frozen=True)
class Anatomy:
    """A network in its training form.

    Attributes:
        input: Size and channels of the images.
        layers: In the order in which they run, without activations.
        stages: The stages of the trunk.
        heads: Number of classes by head.
        operations: Multiply-adds for one image.
        fused_operations: Multiply-adds for one image of the inference form, which is exported.
        inputs: What it reads, of "images" and "keypoints".
    """

    input: InputSpec
    layers: tuple[Layer, ...]
    stages: tuple[Stage, ...]
    heads: Mapping[str, int]
    operations: int
    fused_operations: int
    inputs: tuple[str, ...] = ("images",)

    @property
    def parameters(self) -> int:
        """Number of parameters, without the statistics of the batch norms."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trained(self) -> int:
        """Number of parameters that are trained (not frozen)."""
        return sum(layer.trained for layer in self.layers)


def anatomy(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Anatomy:
    """Measures the network `name`, built without memory for its weights.

    Raises:
        ConfigError: No network has that name, or an option or its value is invalid.
    """
    with torch.device("meta"):
        network = models.build(name, heads, input, **options).eval()
        inputs = models.example_inputs(name, input)
        measured, operations = _run(network, inputs)
        _, fused = _run(network.fused(), inputs)
    modules = dict(network.named_modules())
    layers = tuple(layer for layer in measured.values() if _is_listed(modules[layer.name]))
    reads = tuple(part.name for part in models.inputs_of(name, input))
    return Anatomy(input, layers, _stages(network, measured), dict(heads), operations, fused, reads)


def _run(network: Network, inputs: Sequence[Tensor]) -> tuple[dict[str, Layer], int]:
    """Every module by its path, in the order in which they finish, and the multiply-adds of the whole network."""
    shapes: dict[str, tuple[int, ...]] = {}
    modules = {name: module for name, module in network.named_modules() if name}

    def note(name: str, output: Tensor | tuple[Tensor, ...]) -> None:
        shapes[name] = tuple((output[0] if isinstance(output, tuple) else output).shape[1:])  # an LSTM gives its state

    hooks = [
        module.register_forward_hook(lambda _module, _arguments, output, name=name: note(name, output))
        for name, module in modules.items()
    ]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    for hook in hooks:  # otherwise a copy of the network would keep them
        hook.remove()
    flops = counter.get_flop_counts()
    measured = {}
    for name, shape in shapes.items():
        weights = list(modules[name].parameters())
        measured[name] = Layer(
            name,
            *_description(modules[name]),
            shape,
            parameters=sum(weight.numel() for weight in weights),
            trained=sum(weight.numel() for weight in weights if weight.requires_grad),
            # torch counts a multiplication and an addition as two
            operations=sum(flops.get(f"{type(network).__name__}.{name}", {}).values()) // 2,
        )
    return measured, counter.get_total_flops() // 2


def _is_listed(module: nn.Module) -> bool:
    """Layers without parts; no activations and no dropout of 0."""
    idle = isinstance(module, _DROPOUTS) and not module.p
    return not list(module.children()) and not isinstance(module, _SILENT) and not idle


def _description(module: nn.Module) -> tuple[Kind, str]:
    """The kind and the title of a module."""
    kind: Kind = "block" if list(module.children()) else "other" if isinstance(module, _SILENT) else "average"
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(module).__name__).lower()
    if isinstance(module, nn.Conv1d | nn.MaxPool1d):
        kind = "convolution" if isinstance(module, nn.Conv1d) else "pooling"
        size = module.kernel_size if isinstance(module.kernel_size, int) else module.kernel_size[0]
        title = f"{'convolution' if kind == 'convolution' else 'max-pooling,'} {size} points"
    elif isinstance(module, nn.LSTM):
        kind, title = "dense", "LSTM"
    elif isinstance(module, nn.Conv2d | nn.MaxPool2d):
        stride = module.stride if isinstance(module.stride, int) else module.stride[0]
        size = module.kernel_size if isinstance(module.kernel_size, int) else module.kernel_size[0]
        if isinstance(module, nn.Conv2d):
            kind, title = "convolution", f"{'depthwise ' if module.groups > 1 else ''}convolution {size}x{size}"
        else:
            kind, title = "pooling", f"max-pooling, {size}x{size}" if size > 1 else "subsampling"
        title += f", stride {stride}" if stride > 1 else ""
    elif isinstance(module, nn.Linear):
        kind, title = "dense", "dense"
    elif isinstance(module, nn.AdaptiveAvgPool2d):
        title = "average"
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        kind, title = "other", "batch norm"
    elif isinstance(module, _DROPOUTS):
        kind, title = "other", f"dropout {module.p:g}"
    return kind, title


def _stages(network: Network, measured: Mapping[str, Layer]) -> tuple[Stage, ...]:
    """The children of the trunk; consecutive children without names whose outputs have one shape form one stage."""
    stages: list[Stage] = []
    for name, child in network.trunk.named_children():
        total, parts = measured[f"trunk.{name}"], tuple(_parts(f"trunk.{name}", child, measured))
        stage = Stage("" if name.isdigit() else name, parts, total.parameters, total.operations)
        last = stages[-1] if stages else None
        if last and parts and not stage.name and not last.name and last.parts[-1].shape == parts[0].shape:
            parameters, operations = last.parameters + stage.parameters, last.operations + stage.operations
            stages[-1] = Stage("", last.parts + parts, parameters, operations)
        elif parts:
            stages.append(stage)
    return tuple(stages)


def _parts(path: str, module: nn.Module, measured: Mapping[str, Layer]) -> Iterator[Layer]:
    """The layers and blocks to draw."""
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _parts(f"{path}.{name}", child, measured)
    elif measured[path].kind != "other":
        yield measured[path]
