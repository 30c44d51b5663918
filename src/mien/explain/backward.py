"""From a unit back to the image: its gradient, its deconvolution image, and guided backpropagation.

The three differ in how they go back through a ReLU: the gradient passes where the input was positive; deconvolution
(Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014) passes what is positive itself;
guided backpropagation (Springenberg et al., "Striving for simplicity", ICLR 2015 workshop) asks for both. The rule
holds for every ReLU, as a module or as a function, which captum's hooks of modules would miss.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mien.explain.layers import activations, strongest

Rule = Literal["gradient", "guided", "deconvolution"]
RULES: Final[tuple[Rule, ...]] = ("gradient", "guided", "deconvolution")

_RELUS: Final = {torch.relu, torch.relu_, Tensor.relu, functional.relu, functional.relu6, functional.leaky_relu}


class _Passed(torch.autograd.Function):
    """Leaves a value as it is, and its gradient only where it is positive."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].clamp(min=0)


class _Straight(torch.autograd.Function):
    """A ReLU whose gradient is the positive part of what comes back, wherever its input was."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, output: Tensor) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].clamp(min=0), None


class _Relus(TorchFunctionMode):
    """Gives every ReLU the backward rule of guided backpropagation or of deconvolution."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func not in _RELUS:
            return func(*args, **options)
        options.pop("inplace", None)
        values = args[0] if args else options.pop("input")
        output = func(values, *args[1:], **options) if func is not torch.relu_ else torch.relu(values)
        if self.rule == "guided":
            return _Passed.apply(output)  # type: ignore[no-untyped-call]
        return _Straight.apply(values, output.detach())  # type: ignore[no-untyped-call]


def images_of_units(
    network: nn.Module, name: str, units: Sequence[int], arrays: Sequence[Tensor], rule: Rule
) -> tuple[Tensor, ...]:
    """What in the inputs makes some units of a layer as active as they are at their strongest place.

    Args:
        network: In evaluation mode.
        name: Of the layer.
        units: K numbers of units.
        arrays: The inputs of one example.
        rule: How to go back through a ReLU.

    Returns:
        For each input a gradient or its replacement, (K, ...) in the shape of the input; zeros for an input that does
        not reach the layer.
    """
    copies = [array.expand(len(units), *array.shape[1:]).clone().requires_grad_() for array in arrays]
    if rule == "gradient":
        found = activations(network, name, copies)
    else:
        with _Relus(rule):
            found = activations(network, name, copies)
    peaks = strongest(found)[torch.arange(len(units)), list(units)]
    gradients = torch.autograd.grad(peaks.sum(), copies, allow_unused=True)
    return tuple(
        torch.zeros_like(copy) if gradient is None else gradient.nan_to_num()
        for copy, gradient in zip(copies, gradients, strict=True)
    )
