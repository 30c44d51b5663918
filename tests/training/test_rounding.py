"""Rounding to int8: the grid, sums of kernels, biases, and that the quantiser keeps what was rounded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.assets.session import Session
from mien.errors import WeightsError
from mien.training.artifacts import quantized
from mien.training.rounding import STEPS, corrected, on_grid

SHAPES = st.sampled_from([(3, 2, 3, 3), (4, 1, 5, 5), (2, 6, 1, 1), (3, 7)])
WEIGHTS = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-2, 2, width=32)))
RNG = np.random.default_rng(3)
IMAGES = RNG.uniform(0, 1, (24, 3, 10, 10)).astype(np.float32)


def parts(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights in steps, by kernels, before and after the rounding."""
    kernels = weights.reshape(*weights.shape[:2], -1)
    step = np.maximum(np.abs(kernels).max(axis=(1, 2), keepdims=True), 1e-300) / STEPS
    return kernels / step, on_grid(weights).reshape(kernels.shape) / step


@given(WEIGHTS)
def test_weights_lie_on_the_grid_near_where_they_were(weights: NDArray[np.float64]) -> None:
    exact, rounded = parts(weights)
    np.testing.assert_allclose(rounded, np.round(rounded), atol=1e-6)
    assert np.abs(rounded).max() <= STEPS + 1e-6
    assert np.abs(rounded - exact).max() < 1 + 1e-6


@given(WEIGHTS)
def test_the_sum_of_a_kernel_moves_by_half_a_step_at_most(weights: NDArray[np.float64]) -> None:
    exact, rounded = parts(weights)
    assert np.abs((rounded - exact).sum(axis=-1)).max() <= 0.5 + 1e-6


@given(WEIGHTS)
def test_rounding_again_changes_nothing(weights: NDArray[np.float64]) -> None:
    once = on_grid(weights)
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    np.testing.assert_allclose(np.abs(once).reshape(len(once), -1).max(axis=1), largest, rtol=1e-12)
    np.testing.assert_allclose(on_grid(once), once, rtol=1e-9, atol=1e-12)


def network(*, bias: bool = True) -> onnx.ModelProto:
    """Two convolutions, the second depthwise, a normalisation, and a dense layer."""
    constants = {
        "k1": RNG.normal(size=(8, 3, 3, 3)),
        "k2": RNG.normal(size=(8, 1, 3, 3)),
        "b1": RNG.normal(size=8),
        "scale": RNG.uniform(0.01, 30, 8),
        "shift": RNG.normal(size=8),
        "mean": RNG.normal(size=8),
        "var": RNG.uniform(0.5, 2, 8),
        "w": RNG.normal(size=(5, 8)),
        "b": RNG.normal(size=5),
    }
    nodes = [
        helper.make_node("Conv", ["images", "k1", "b1"] if bias else ["images", "k1"], ["one"], name="first"),
        helper.make_node("Relu", ["one"], ["positive"], name="relu"),
        helper.make_node("Conv", ["positive", "k2"], ["two"], name="second", group=8),
        helper.make_node("BatchNormalization", ["two", "scale", "shift", "mean", "var"], ["normal"], name="norm"),
        helper.make_node("GlobalAveragePool", ["normal"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w", "b"], ["out"], name="dense", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def batches() -> list[dict[str, NDArray[np.float32]]]:
    return [{"images": IMAGES[:16]}, {"images": IMAGES[16:]}]  # of unequal length: means are of images, not of batches


def constants_of(graph: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    return {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}


def means_of(graph: onnx.ModelProto, output: str, images: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The mean of each channel of a tensor inside a network; all images count alike, whatever their size."""
    seen = onnx.ModelProto()
    seen.CopyFrom(graph)
    seen.graph.output[0].CopyFrom(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = Session(seen.SerializeToString(), "a network")
    found = [session.run(image[None])[output][0] for image in images]
    means: NDArray[np.float64] = np.mean([each.reshape(len(each), -1).mean(axis=1) for each in found], axis=0)
    return means


@pytest.mark.parametrize("layer", ["first", "second", "dense"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(10, 10), (6, 9)], ids=["one size", "two sizes"])
def test_the_mean_of_each_channel_stays(layer: str, bias: bool, sizes: tuple[int, int]) -> None:
    graph = network(bias=bias)
    (node,) = (node for node in graph.graph.node if node.name == layer)
    others = [other.name for other in graph.graph.node if other.name != layer]
    images = [image[:, :height] for height, part in zip(sizes, (IMAGES[:4], IMAGES[4:]), strict=True) for image in part]
    after = corrected(graph, lambda: [{"images": image[None]} for image in images], others)
    assert not np.array_equal(constants_of(graph)[node.input[1]], constants_of(after)[node.input[1]])
    before, kept = (means_of(each, node.output[0], images) for each in (graph, after))
    np.testing.assert_allclose(kept, before, atol=2e-5 * np.abs(before).max())


def test_what_is_excluded_or_shared_stays_as_it_is() -> None:
    graph = network()
    graph.graph.node[2].input[1] = "k3"
    graph.graph.node.insert(3, helper.make_node("Conv", ["positive", "k3"], ["other"], name="sharing", group=8))
    graph.graph.initializer.append(numpy_helper.from_array(constants_of(graph)["k2"] * 3, "k3"))
    before, after = constants_of(graph), constants_of(corrected(graph, batches, ["first"]))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"w", "b"}
    assert set(after) == set(before)
    assert constants_of(graph).keys() == before.keys()  # the given network is not changed


def test_the_quantiser_keeps_what_was_rounded(tmp_path: Path) -> None:
    graph = network()
    rounded = constants_of(corrected(graph, batches, []))
    small = onnx.load_from_string(quantized(graph, batches, [], tmp_path))
    constants = constants_of(small)
    for name in ("k1", "k2", "w"):
        step = constants[f"{name}_scale"].reshape(-1, *[1] * (rounded[name].ndim - 1))
        np.testing.assert_allclose(constants[f"{name}_quantized"] * step, rounded[name], rtol=1e-5, atol=1e-6)


def test_a_network_without_layers_is_refused(tmp_path: Path) -> None:
    graph = network()
    with pytest.raises(WeightsError, match="no layer that can be quantised"):
        quantized(graph, batches, [node.name for node in graph.graph.node], tmp_path)


def test_a_kernel_of_zeros_and_halves_of_another_type() -> None:
    graph = network()
    graph.graph.node.insert(6, helper.make_node("Cast", ["flat"], ["halves"], name="cast", to=TensorProto.FLOAT16))
    graph.graph.node[7].input[0] = "halves"
    values = constants_of(graph)
    replaced: dict[str, NDArray[Any]] = {
        "k2": 0 * values["k2"],
        "w": values["w"].astype(np.float16),
        "b": values["b"].astype(np.float16),
    }
    for constant in graph.graph.initializer:
        if constant.name in replaced:
            constant.CopyFrom(numpy_helper.from_array(replaced[constant.name], constant.name))
    after = constants_of(corrected(graph, batches, []))
    assert not after["k2"].any()
    assert after["w"].dtype == np.float16


def test_a_normalisation_of_its_own_stays_in_float(tmp_path: Path) -> None:
    small = onnx.load_from_string(quantized(network(), batches, [], tmp_path))
    made_by = {output: node for node in small.graph.node for output in node.output}
    (norm,) = (node for node in small.graph.node if node.op_type == "BatchNormalization")
    for name in norm.input[1:]:
        assert made_by.get(name) is None
