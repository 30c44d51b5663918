"""The cost of a model: parameters and multiply-adds, counted in its ONNX graph, and the time for one face."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.assets.store import model_bytes
from mien.bench import face_timing
from mien.expression import Classifier
from mien.expression.tta import TTA

if TYPE_CHECKING:
    import onnx

# Operators whose second and third inputs are scales and zero points, which are not counted as parameters.
_QUANTISING: Final = {"QuantizeLinear", "DequantizeLinear"}


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a model, or the summed cost of the members of an ensemble.

    Attributes:
        parameters: Number of parameters of the exported, fused form; None if the package `onnx` is not installed.
        operations: Multiply-adds of convolutions, matrix products and recurrent layers for one face with all its
            augmented copies; None if the package `onnx` is not installed.
        milliseconds: Time for one face on one thread, preprocessing included; the median.
        low: Lower quartile of the time.
        high: Upper quartile of the time.
    """

    parameters: int | None
    operations: int | None
    milliseconds: float
    low: float
    high: float

    def as_dict(self) -> dict[str, int | float | None]:
        """Plain types, as written to JSON."""
        return {
            "parameters": self.parameters,
            "multiply_adds": self.operations,
            "ms_a_face": round(self.milliseconds, 4),
            "ms_a_face_quartiles_low": round(self.low, 4),
            "ms_a_face_quartiles_high": round(self.high, 4),
        }


def cost_of(models: Sequence[str | Path], classifier: Classifier, *, repeats: int = 50) -> Cost:
    """Counts and times a model, or the members of an ensemble.

    Args:
        models: Names of shipped models, or paths of exported ONNX files.
        classifier: The classifier made of these models.
        repeats: Number of timed calls.
    """
    counts = [count_cost(model_bytes(model)) for model in models]
    known = [count for count in counts if count is not None]
    whole = len(known) == len(counts)
    timing = face_timing(classifier, repeats)
    return Cost(
        parameters=sum(parameters for parameters, _ in known) if whole else None,
        operations=TTA[classifier.tta] * sum(operations for _, operations in known) if whole else None,
        milliseconds=timing.value,
        low=timing.low,
        high=timing.high,
    )


def count_cost(model: bytes) -> tuple[int, int] | None:
    """Counts the parameters and, for one face, the multiply-adds of an ONNX file; None if `onnx` is not installed.

    Biases, norms, activations and pooling are not counted as multiply-adds, as is customary.

    Args:
        model: The content of the file.
    """
    try:
        import onnx
    except ImportError:
        return None
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model)).graph
    scales = {name for node in graph.node if node.op_type in _QUANTISING for name in node.input[1:]}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors |= {name: each.t for name in node.output for each in node.attribute if each.name == "value"}
    parameters = sum(
        math.prod(tensor.dims)
        for name, tensor in tensors.items()
        # int64 tensors are sizes and axes, scalars are constants
        if name not in scales and tensor.data_type != onnx.TensorProto.INT64 and len(tensor.dims)
    )
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim  # a symbolic size is that of the batch: one face
        shapes[value.name] = tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)
    return parameters, sum(_multiply_adds(node, shapes) for node in graph.node)


def _multiply_adds(node: "onnx.NodeProto", shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The multiply-adds of one node; 0 for an operator that is not counted, or if its shapes are unknown."""
    first, second, third, out = (shapes.get(name, (0,)) for name in (*([*node.input, "", "", ""][:3]), node.output[0]))
    match node.op_type:
        case "Conv":
            return math.prod(out) * math.prod(second[1:])
        case "ConvTranspose":
            return math.prod(first) * math.prod(second[1:])
        case "LSTM" | "GRU" | "RNN":  # (T, N, I) with W (D, gates * H, I) and R (D, gates * H, H)
            return first[0] * (math.prod(second) + math.prod(third))
        case "Gemm" | "MatMul":
            transposed = any(each.name == "transA" and each.i for each in node.attribute)
            return math.prod(out) * first[0 if transposed else -1]
        case _:
            return 0
