"""Parameters and multiply-adds, against counts by hand; and a time that is one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.expression.test_ensemble import linear_model

from mien.assets.store import model_bytes
from mien.emotions import vocabulary
from mien.evaluation.cost import cost_of, count_cost
from mien.expression import ClassifierOptions, load_classifier


def network(nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], shape: tuple[int, ...]) -> bytes:
    """A network with weights of these shapes; the faces are free."""
    tensors = [numpy_helper.from_array(np.zeros(size, np.float32), name) for name, size in weights.items()]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["faces", *shape])],
        [helper.make_empty_tensor_value_info("y")],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "expected"),
    [
        pytest.param(
            [helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])],
            {"w": (8, 3, 3, 3), "b": (8,)},
            (3, 20, 20),
            (8 * 27 + 8, 10 * 10 * 8 * 27),
            id="convolution",
        ),
        pytest.param(
            [helper.make_node("Conv", ["x", "w"], ["y"], group=6)],
            {"w": (6, 1, 3, 3)},
            (6, 10, 10),
            (54, 8 * 8 * 6 * 9),
            id="depthwise",
        ),
        pytest.param(
            [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])],
            {"w": (4, 5, 2, 2)},
            (4, 7, 7),
            (80, 7 * 7 * 4 * 5 * 4),
            id="transposed",
        ),
        pytest.param(
            [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
            {"w": (7, 30), "b": (7,)},
            (30,),
            (217, 210),
            id="dense",
        ),
        pytest.param(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": (30, 9)}, (5, 30), (270, 5 * 270), id="matrix"
        ),
        pytest.param([helper.make_node("Relu", ["x"], ["y"])], {}, (5, 30), (0, 0), id="nothing"),
    ],
)
def test_counts_by_hand(
    nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], shape: tuple[int, ...], expected: tuple[int, int]
) -> None:
    assert count_cost(network(nodes, weights, shape)) == expected


def test_a_recurrent_layer() -> None:
    steps, inputs, hidden = 10, 12, 16
    weights: dict[str, tuple[int, ...]] = {"w": (1, 4 * hidden, inputs), "r": (1, 4 * hidden, hidden)}
    layer = helper.make_node("LSTM", ["t", "w", "r"], ["", "y"], hidden_size=hidden)
    graph = network([layer], weights, (steps, inputs))
    model = onnx.load_model_from_string(graph)
    model.graph.node.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]))
    parameters = 4 * hidden * (inputs + hidden)
    assert count_cost(bytes(model.SerializeToString())) == (parameters, steps * parameters)


def test_the_shipped_models() -> None:
    """By the recipe: a stem of 32 at 48 px, 64x3 at 24, 128x4 at 12, 256x2 at 6, and heads of 10 and 7."""
    layers = [(1, 32, 48), (32, 64, 24), *[(64, 64, 24)] * 2, (64, 128, 12), *[(128, 128, 12)] * 3, (128, 256, 6)]
    layers += [(256, 256, 6)]
    parameters = sum(9 * before * after + after for before, after, _ in layers) + 257 * 17
    operations = sum(9 * before * after * side * side for before, after, side in layers) + 256 * 17
    assert count_cost(model_bytes("mien-m")) == (parameters, operations)
    assert count_cost(model_bytes("mien-m-int8")) == (parameters, operations)  # scales are no parameters


def test_the_cost_of_an_ensemble_is_the_sum(tmp_path: Path) -> None:
    small = linear_model(tmp_path / "small.onnx", vocabulary(8))
    alone = [cost_of([model], load_classifier(model), repeats=5) for model in ("mien-s", small)]
    both = cost_of(["mien-s", small], load_classifier(["mien-s", small]), repeats=5)
    assert both.parameters == sum(cost.parameters or 0 for cost in alone)
    assert both.operations == sum(cost.operations or 0 for cost in alone)
    assert alone[1].parameters == alone[1].operations == 24 * 24 * 8
    assert 0 < both.low <= both.milliseconds <= both.high
    flip = cost_of([small], load_classifier(ClassifierOptions(small, tta="flip")), repeats=5)
    assert flip.parameters == alone[1].parameters
    assert flip.operations == 2 * 24 * 24 * 8


def test_without_onnx_nothing_is_counted() -> None:
    program = """
import sys
sys.modules["onnx"] = None
from mien.evaluation.cost import cost_of
from mien.expression import ClassifierOptions, load_classifier
cost = cost_of(["mien-s"], load_classifier("mien-s"), repeats=5)
print(cost.parameters, cost.operations, cost.milliseconds > 0, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.stdout.split() == ["None", "None", "True", "False"], done.stderr
