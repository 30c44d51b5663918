"""What a model costs: parameters and operations, counted from its ONNX graph, and the time it takes for a face."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.assets.store import model_bytes
from mien.bench import face_timing
from mien.expression import Classifier
from mien.expression.tta import TTA

if TYPE_CHECKING:
    import onnx

__all__ = ["Cost", "cost_of", "counted"]

# Operators whose further inputs are scales and zero points, no parameters.
_QUANTISING: Final = {"QuantizeLinear", "DequantizeLinear"}
_SHAPES: Final = 7  # int64 in ONNX: sizes and axes, no weights


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a model, or of an ensemble together.

    Attributes:
        parameters: Of the exported, fused form; None where the package `onnx` is not installed.
        operations: Multiply-adds of convolutions, matrix products and recurrent layers for one face, all its tta;
            None likewise.
        milliseconds: For one face on one thread, prepared and read; the median.
        low: Its lower quartile.
        high: Its upper quartile.
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


def cost_of(models: Sequence[str | Path], classifier: Classifier, *, tta: str = "single", repeats: int = 50) -> Cost:
    """Counts and times a model, or the members of an ensemble.

    Args:
        models: Names of shipped models, or paths of exported ONNX files.
        classifier: What reads with them.
        tta: How often it looks at each face.
        repeats: Of the timing.
    """
    counts = [counted(model_bytes(model)) for model in models]
    known = [count for count in counts if count is not None]
    whole = len(known) == len(counts)
    timing = face_timing(classifier, repeats)
    return Cost(
        parameters=sum(parameters for parameters, _ in known) if whole else None,
        operations=TTA[tta] * sum(operations for _, operations in known) if whole else None,
        milliseconds=timing.value,
        low=timing.low,
        high=timing.high,
    )


def counted(model: bytes) -> tuple[int, int] | None:
    """Parameters and multiply-adds for one face of an ONNX file's content; None where `onnx` is not installed.

    Biases, norms, activations and pooling are not counted as multiply-adds, which is the custom.
    """
    try:
        import onnx
    except ImportError:
        return None
    loaded = onnx.load_model_from_string(model)
    shapes = _shapes(onnx.shape_inference.infer_shapes(loaded))
    operations = sum(_operations(node, shapes) for node in loaded.graph.node)
    return sum(_sizes(loaded)), operations


def _sizes(model: "onnx.ModelProto") -> Iterator[int]:
    """Numbers of parameters in each tensor that holds some."""
    aside = {name for node in model.graph.node if node.op_type in _QUANTISING for name in node.input[1:]}
    tensors = [(tensor.name, tensor) for tensor in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors += [(node.output[0], each.t) for each in node.attribute if each.name == "value"]
    for name, tensor in tensors:
        if name not in aside and tensor.data_type != _SHAPES and len(tensor.dims):
            yield int(np.prod(tensor.dims, dtype=np.int64))


Shapes = dict[str, tuple[int, ...]]


def _shapes(model: "onnx.ModelProto") -> Shapes:
    """The shape of every value; a free dimension is that of the faces, of which there is one."""
    graph = model.graph
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)
    return shapes


def _operations(node: "onnx.NodeProto", shapes: Shapes) -> int:
    """The multiply-adds of one node; 0 for one that is not counted, or of whose shapes nothing is known."""
    kind = node.op_type
    if kind not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"):
        return 0
    first, second, out = (shapes.get(name, ()) for name in (node.input[0], node.input[1], node.output[0]))
    if kind in ("LSTM", "GRU", "RNN"):  # (T, N, I) with W (D, gates * H, I) and R (D, gates * H, H)
        steps = first[0] if first else 0
        return steps * (_product(second) + _product(shapes.get(node.input[2], ())))
    if kind == "Conv":
        return _product(out) * _product(second[1:])
    if kind == "ConvTranspose":
        return _product(first) * _product(second[1:])
    return _product(out) * (_common(node, first) if first else 0)


def _common(node: "onnx.NodeProto", first: tuple[int, ...]) -> int:
    """The length over which a matrix product sums."""
    turned = any(each.name == "transA" and each.i for each in node.attribute)
    return first[0] if turned else first[-1]


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64)) if sizes else 0
