"""The layers of any network: their names, their units, and what they give for some inputs.

A unit is a channel of a convolution, a value of a dense layer, a capsule, or a value of an LSTM. Every module whose
output is a new tensor is a layer, but for dropout and what only changes the shape.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

_SILENT: Final = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten, nn.ZeroPad2d, nn.ModuleDict, nn.ModuleList)
_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d)  # rescale what is shown already


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        name: Of its module in the network.
        kind: Its type: Conv2d, ReLU, Linear, ...
        units: Number of its units.
        shape: Of what each unit gives: a map (h, w), or () for a single value.
    """

    name: str
    kind: str
    units: int
    shape: tuple[int, ...]

    @property
    def has_maps(self) -> bool:
        """Whether a unit gives a map."""
        return len(self.shape) == 2 and min(self.shape) > 1


def _kind(module: nn.Module) -> str:
    """The name of its class; of convolutions, which may have their own way to compute gradients, that of torch."""
    convolution = next((kind for kind in (nn.Conv1d, nn.Conv2d) if isinstance(module, kind)), type(module))
    return convolution.__name__


def layers_of(network: nn.Module, arrays: Sequence[Tensor]) -> list[Layer]:
    """The layers of a network in the order in which they run.

    Args:
        network: In evaluation mode.
        arrays: Its inputs, for one example.
    """
    names = {module: name for name, module in network.named_modules()}
    found: list[Layer] = []
    kept: list[Tensor] = []  # alive, so that no new tensor can have the place of an old one

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        tensor = _tensor(output)
        if module is network or isinstance(module, _SILENT + _NORMS) or tensor is None or not tensor.numel():
            return
        if any(tensor is old or tensor.data_ptr() == old.data_ptr() for old in kept):
            return  # the same values under another name, such as those of a Sequential's last layer
        kept.append(tensor)
        if any(names[module] == layer.name for layer in found):
            return  # a module that is used again, such as the head of several strides: its first use counts
        units = by_unit(module, output, len(arrays[0]))
        found.append(Layer(names[module], _kind(module), units.shape[1], tuple(units.shape[2:])))

    with _hooks(network.modules(), note), torch.no_grad():
        network(*arrays)
    return found


def _tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, tuple) and output and isinstance(output[0], Tensor) else None


def by_unit(module: nn.Module, output: Any, count: int) -> Tensor:
    """The output of a layer for N examples as (N, units, ...); of several frames the last one.

    Args:
        module: The layer.
        output: Its output.
        count: N.
    """
    tensor = _tensor(output)
    assert tensor is not None
    if isinstance(module, nn.LSTM):  # (N, T, units)
        return tensor[:, -1]
    if len(tensor) != count and len(tensor) % count == 0:  # frames as examples, (N T, units, ...)
        tensor = tensor.reshape(count, len(tensor) // count, *tensor.shape[1:])[:, -1]
    return tensor


@contextmanager
def _hooks(modules: "Iterator[nn.Module] | Sequence[nn.Module]", hook: Callable[..., Any]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Reached(Exception):  # noqa: N818  (no error: it ends a forward pass at the layer that is wanted)
    pass


def activations(network: nn.Module, name: str, arrays: Sequence[Tensor]) -> Tensor:
    """What the layer `name` gives for some inputs, (N, units, ...); the layers behind it are not computed."""
    caught: list[Tensor] = []
    count = len(arrays[0])

    def catch(module: nn.Module, arguments: Any, output: Any) -> None:
        caught.append(by_unit(module, output, count))
        raise _Reached

    with _hooks([network.get_submodule(name)], catch), suppress(_Reached):
        network(*arrays)
    return caught[0]


def all_activations(network: nn.Module, layers: Sequence[Layer], arrays: Sequence[Tensor]) -> dict[str, Tensor]:
    """What every layer gives for some inputs, by its name, in one pass."""
    caught: dict[str, Tensor] = {}
    modules = {network.get_submodule(layer.name): layer.name for layer in layers}
    count = len(arrays[0])

    def catch(module: nn.Module, arguments: Any, output: Any) -> None:
        caught.setdefault(modules[module], by_unit(module, output, count).detach())

    with _hooks(list(modules), catch), torch.no_grad():
        network(*arrays)
    return caught


def strongest(units: Tensor) -> Tensor:
    """The highest activation (N, units) of every unit over its places."""
    return units if units.ndim == 2 else units.flatten(2).amax(dim=2)


def kernels(module: nn.Module) -> Tensor | None:
    """The filters of a convolution (units, inputs, h, w), h being 1 along points; None for another layer."""
    if isinstance(module, nn.Conv2d):
        return module.weight.detach()
    return module.weight.detach()[:, :, None] if isinstance(module, nn.Conv1d) else None
