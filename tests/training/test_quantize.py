"""int8 behind its gate."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from mien.assets.store import open_model
from mien.datasets import Samples
from mien.errors import ConfigError, WeightsError
from mien.evaluation import Evaluation, evaluate_model
from mien.expression import OnnxClassifier
from mien.training import quantize

LIMITS = import_module("mien.training.quantize")  # the package has a function of this name


def test_the_small_form_reads_alike(
    tiny_model: Path, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMITS, "FALL", 1.0)  # the tiny network's few faces make whole points of one
    monkeypatch.setattr(LIMITS, "SHIFT", 1.0)
    monkeypatch.setattr(LIMITS, "RISE", 1.0)
    out = tmp_path / "tiny-int8.onnx"
    said: list[tuple[int, int]] = []
    written = quantize(tiny_model, tiny_samples, out, progress=lambda done, total: said.append((done, total)))
    assert said == sorted(said)
    assert said[-1] == (said[0][1],) * 2
    assert [path.name for path in written] == ["tiny-int8.entry.toml", "tiny-int8.onnx"]
    full, _ = open_model(tiny_model)
    small, _ = open_model(out)
    assert small.name == f"{full.name}-int8"
    assert [head.emotions for head in small.heads] == [head.emotions for head in full.heads]
    assert small.input == full.input
    assert not small.training_file
    faces = tiny_samples.images[:40]
    one, other = (OnnxClassifier(model).with_classes(7).predict_proba(faces) for model in (tiny_model, out))
    # How far they are apart depends on the processor; nearer than to what is said of other faces they are on all.
    assert np.abs(one - other).mean() < 0.5 * np.abs(one - other[::-1]).mean()
    assert np.mean(one.argmax(axis=1) == other.argmax(axis=1)) > 0.7
    assert not list(tmp_path.glob(".staging-*"))


def test_dense_layers_are_small_but_for_the_last_of_each_head() -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [0.0] * 16)
    nodes = [
        helper.make_node("Conv", ["images", "k"], ["maps"], name="first"),
        helper.make_node("Conv", ["maps", "k"], ["more"], name="second"),
        helper.make_node("Flatten", ["more"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w"], ["hidden"], name="hidden"),
        helper.make_node("Relu", ["hidden"], ["features"], name="relu"),
        helper.make_node("Gemm", ["features", "w"], ["votes"], name="votes"),
        helper.make_node("MatMul", ["features", "w"], ["product"], name="product"),
        helper.make_node("Add", ["product", "b"], ["fer2013"], name="bias"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("votes", "fer2013", "features")
    ]
    graph = helper.make_model(helper.make_graph(nodes, "tiny", [], outputs, [weights]))
    assert sorted(LIMITS._ends(graph, ["votes", "fer2013"])) == ["first", "product", "votes"]


def test_the_gate_holds(
    tiny_model: Path, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMITS, "FALL", -1.0)
    monkeypatch.setattr(LIMITS, "FACES", -(10**9))
    with pytest.raises(WeightsError, match="the int8 form's accuracy"):
        quantize(tiny_model, tiny_samples, tmp_path / "tiny-int8.onnx")
    assert not list(tmp_path.iterdir())


def test_two_faces_of_few_may_be_lost(tiny_model: Path, tiny_samples: Samples) -> None:
    full = evaluate_model(tiny_model, tiny_samples.only("val"), split="val")
    faces = next(iter(full.scores.values())).n

    def losing(number: int) -> Evaluation:
        scores = {
            name: replace(each, accuracy=replace(each.accuracy, value=each.accuracy.value - number / each.n))
            for name, each in full.scores.items()
        }
        return replace(full, scores=scores)

    assert faces < LIMITS.FACES / LIMITS.FALL
    LIMITS._gate(full, losing(2))
    with pytest.raises(WeightsError, match=r"accuracy falls by .* points \(it may fall by"):
        LIMITS._gate(full, losing(3))


def test_few_faces_may_be_a_little_less_likely(tiny_model: Path, tiny_samples: Samples) -> None:
    full = evaluate_model(tiny_model, tiny_samples.only("val"), split="val")

    def likely(nats: float) -> Evaluation:
        scores = {
            name: replace(each, nll=replace(each.nll, value=each.nll.value + nats / each.n))
            for name, each in full.scores.items()
        }
        return replace(full, scores=scores)

    LIMITS._gate(full, likely(1.9))
    with pytest.raises(WeightsError, match=r"log-likelihood falls by .* nats"):
        LIMITS._gate(full, likely(2.1))


def test_another_suffix_is_refused(tiny_model: Path, tiny_samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"int8\.onnx"):
        quantize(tiny_model, tiny_samples, tmp_path / "int8.bin")
