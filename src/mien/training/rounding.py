"""Less loss from int8: weights rounded so that the errors of a kernel cancel, and biases that undo what is left.

Activations are mostly positive, and alike at neighbouring pixels. So errors of rounding that all point one way in a
kernel move the mean of a channel, which costs more than their noise; depthwise kernels, with 9 to 25 weights, most.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.assets.session import Session

STEPS: Final = 64  # on each side of 0: the grid of weights of seven bits, of which the largest weight is the end
_ERROR: Final = ".rounding"  # in the names of nodes and tensors that measure


def corrected(
    graph: onnx.ModelProto, batches: Callable[[], Iterable[Mapping[str, NDArray[Any]]]], excluded: Sequence[str]
) -> onnx.ModelProto:
    """A network whose weights lie on the int8 grid of their channel already, with biases that correct the mean error.

    A quantiser with one scale for each channel, set by its largest weight, rounds these weights to themselves. Weights
    are rounded to the nearest step, but for the few that would make the errors of their kernel add up (SQuant, Guo et
    al., ICLR 2022, without its step across kernels). What the means of the channels still move by is measured on the
    inputs, and subtracted from the biases (bias correction, Nagel et al., ICCV 2019, section 4.2).

    Args:
        graph: The full form, in floating point; it is not changed.
        batches: Makes the arrays of its inputs by their names, some at a time.
        excluded: Names of the nodes that stay in floating point.

    Returns:
        The network with the same layers; one without a bias gets one.
    """
    result = onnx.ModelProto()
    result.CopyFrom(graph)
    constants = {each.name: each for each in result.graph.initializer}
    uses = Counter(name for node in result.graph.node for name in node.input)
    layers = [node for node in result.graph.node if node.name not in excluded and _is_layer(node, constants, uses)]
    if not layers:
        return result
    errors = dict[str, NDArray[np.float32]]()
    for layer in layers:
        weights = numpy_helper.to_array(constants[layer.input[1]]).astype(np.float64)
        rounded = on_grid(weights)
        errors[layer.name] = (rounded - weights).astype(np.float32)
        _set(constants[layer.input[1]], rounded)
    for layer, moved in zip(layers, _mean_errors(graph, layers, errors, batches()), strict=True):
        if len(layer.input) > 2 and layer.input[2]:
            bias = constants[layer.input[2]]
            _set(bias, numpy_helper.to_array(bias) - moved)
        else:
            name = f"{layer.name}.bias"
            result.graph.initializer.append(numpy_helper.from_array(-moved.astype(np.float32), name))
            layer.input[2:] = [name]
    return result


def on_grid(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights at the steps of their channel's grid, so that the sum of each kernel moves by at most half a step.

    Args:
        weights: Shape (channels out, channels in, ...): a convolution; or (channels out, channels in): a dense layer,
            whose weights are rounded to the nearest step.
    """
    kernels = weights.reshape(*weights.shape[:2], -1)
    largest = np.abs(kernels).max(axis=(1, 2), keepdims=True)
    step = np.where(largest > 0, largest, 1) / STEPS
    exact = kernels / step
    rounded = np.round(exact)
    if kernels.shape[-1] == 1:  # a dense layer, which may be large, or a convolution of one pixel: nothing adds up
        return (rounded * step).reshape(weights.shape)
    error = rounded - exact
    excess = np.round(error.sum(axis=-1, keepdims=True))  # steps that the sum of a kernel moved by
    # The weights with the largest errors of that sign go to the step on their other side. The largest weight of a
    # channel has no error, so it keeps its place, and with it the grid.
    rank = (-error * np.sign(excess)).argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    rounded -= np.where(rank < np.abs(excess), np.sign(excess), 0)
    return (rounded * step).reshape(weights.shape)


def _is_layer(node: onnx.NodeProto, constants: Mapping[str, TensorProto], uses: Mapping[str, int]) -> bool:
    """Whether a node is a convolution or a dense layer with float32 constants of its own, the channels out first."""
    own = [name for name in node.input[1:] if name]
    if node.op_type not in ("Conv", "Gemm") or not own:
        return False
    if any(uses[name] > 1 or name not in constants or constants[name].data_type != TensorProto.FLOAT for name in own):
        return False
    options = {option.name: helper.get_attribute_value(option) for option in node.attribute}
    plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and options.get("transB", 0) == 1
    return node.op_type == "Conv" or (plain and not options.get("transA", 0))


def _mean_errors(
    graph: onnx.ModelProto,
    layers: Sequence[onnx.NodeProto],
    errors: Mapping[str, NDArray[np.float32]],
    batches: Iterable[Mapping[str, NDArray[Any]]],
) -> list[NDArray[np.float64]]:
    """How far the rounding of its weights moves the mean of each channel of each layer.

    Measured in the full form: beside each layer stands a second one, with the errors for weights and without a bias.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    nodes, outputs = probe.graph.node, []
    del probe.graph.output[:]
    for layer in layers:
        name = layer.name + _ERROR
        probe.graph.initializer.append(numpy_helper.from_array(errors[layer.name], name))
        second = onnx.NodeProto()
        second.CopyFrom(layer)
        second.name, second.input[1:], second.output[0] = name, [name], f"{name}.out"
        nodes.append(second)
        outputs.append(second.output[0])
        if layer.op_type == "Conv":
            outputs[-1] = f"{name}.mean"
            nodes.append(helper.make_node("GlobalAveragePool", [f"{name}.out"], [outputs[-1]]))
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
    session = Session(probe.SerializeToString(), "the network that measures the rounding")
    sums, counts = [np.zeros(1) for _ in layers], [0] * len(layers)
    for batch in batches:
        found = session.run(*(batch[name] for name in session.inputs))
        sums = [
            total + found[name].reshape(len(found[name]), -1).sum(axis=0)
            for total, name in zip(sums, outputs, strict=True)
        ]
        # Rows, not images: a dense layer may see each image several times.
        counts = [count + len(found[name]) for count, name in zip(counts, outputs, strict=True)]
    return [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]


def _set(constant: TensorProto, values: NDArray[Any]) -> None:
    """Replaces what a constant of the graph holds."""
    constant.CopyFrom(numpy_helper.from_array(values.astype(np.float32), constant.name))
