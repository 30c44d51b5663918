"""Opening weights: shipped ones against their hash, files against what they say of themselves."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mien.assets import store
from mien.assets.manifest import FOLDER, METADATA_KEY, Head, InputSpec, ModelInfo, shipped_models
from mien.assets.store import default_model, model_bytes, open_model, verified
from mien.errors import ConfigError, WeightsError


def refused(path: Path, told: str) -> None:
    with pytest.raises(WeightsError, match=told) as caught:
        open_model(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copy(tiny_model, tmp_path / "model.onnx"))


def relabelled(path: Path, change: Callable[[ModelInfo], ModelInfo]) -> None:
    """Rewrites the info inside a file."""
    graph = onnx.load(path)
    old = ModelInfo.from_json({item.key: item.value for item in graph.metadata_props}[METADATA_KEY], str(path))
    helper.set_model_props(graph, {METADATA_KEY: change(old).to_json()})
    onnx.save(graph, path)


def foreign(path: Path) -> None:
    """A network of somebody else's, which doubles its input."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [value], [result])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


# --- a file by its path


def test_a_file_opens_by_its_path(model: Path) -> None:
    for way in (model, str(model)):
        known, session = open_model(way)
        assert known.name == "tiny"
        assert list(session.outputs) == ["votes", "fer2013"]


def test_a_file_without_its_suffix_opens_too(model: Path) -> None:
    bare = model.rename(model.with_suffix(""))
    assert open_model(bare)[0].name == "tiny"


def test_files_that_are_no_network(tmp_path: Path) -> None:
    path = tmp_path / "some.onnx"
    for content in (b"", b"these are words\n", bytes(1000), bytes(range(256)) * 40):
        path.write_bytes(content)
        refused(path, "is no ONNX network")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(model: Path, share: float) -> None:
    content = model.read_bytes()
    model.write_bytes(content[: int(share * len(content))])
    refused(model, r"is no ONNX network|carries no info")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "missing.onnx", "no such weights")
    refused(tmp_path, "cannot be read")


def test_a_foreign_network(tmp_path: Path) -> None:
    foreign(tmp_path / "foreign.onnx")
    refused(tmp_path / "foreign.onnx", "carries no info of mien's")


def test_a_foreign_network_with_an_entry(model: Path, tmp_path: Path) -> None:
    own = open_model(model)[0]
    foreign(tmp_path / "foreign.onnx")
    graph = onnx.load(tmp_path / "foreign.onnx")
    helper.set_model_props(graph, {METADATA_KEY: own.to_json()})
    onnx.save(graph, tmp_path / "foreign.onnx")
    refused(tmp_path / "foreign.onnx", r"takes \[\(None, 3\)\], its info says \(N, 1, 48, 48\)")


def test_an_entry_that_is_no_entry(model: Path) -> None:
    graph = onnx.load(model)
    helper.set_model_props(graph, {METADATA_KEY: "words"})
    onnx.save(graph, model)
    refused(model, "its info is not JSON")


CHANGES: dict[str, Callable[[ModelInfo], ModelInfo]] = {
    "a head fewer": lambda info: replace(info, heads=info.heads[:1]),
    "a head more": lambda info: replace(info, heads=(*info.heads, Head("third", ("anger",)))),
    "no heads": lambda info: replace(info, heads=()),
    "another name": lambda info: replace(info, heads=(replace(info.heads[0], name="poll"), info.heads[1])),
    "a class fewer": lambda info: replace(
        info, heads=(replace(info.heads[0], emotions=info.heads[0].emotions[:9]), info.heads[1])
    ),
    "classes of the other head": lambda info: replace(
        info,
        heads=(
            replace(info.heads[0], emotions=info.heads[1].emotions),
            replace(info.heads[1], emotions=info.heads[0].emotions),
        ),
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_entry_of_other_heads(model: Path, case: str) -> None:
    relabelled(model, CHANGES[case])
    refused(model, r"gives \{.*\}, its info says \{")


@pytest.mark.parametrize("spec", [InputSpec(64, "grey", (0.5,), (0.2,)), InputSpec(48, "rgb", (0.5,) * 3, (0.2,) * 3)])
def test_an_entry_of_another_input(model: Path, spec: InputSpec) -> None:
    relabelled(model, lambda info: replace(info, input=spec))
    refused(model, "its info says")


def test_the_order_of_the_heads_does_not_matter(model: Path) -> None:
    relabelled(model, lambda info: replace(info, heads=info.heads[::-1]))
    assert [head.name for head in open_model(model)[0].heads] == ["fer2013", "votes"]


# --- shipped weights


def test_shipped_weights_are_compared_with_their_hash(model: Path) -> None:
    import hashlib

    content = model.read_bytes()
    right = hashlib.sha256(content).hexdigest()
    assert verified(model, right) == content
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    for other in (bytes(damaged), content[:-1], b"", b"words"):
        model.write_bytes(other)
        with pytest.raises(WeightsError, match="is damaged or was swapped: sha256 ") as caught:
            verified(model, right)
        assert caught.value.message.startswith(f"{model}: ")
        assert "install mien again" in caught.value.hint
    model.unlink()
    with pytest.raises(WeightsError, match="no such weights"):
        verified(model, right)


@pytest.mark.skipif(not shipped_models(), reason="nothing ships yet")
def test_a_damaged_shipped_model_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = shipped_models()[default_model()]
    content = bytearray((FOLDER / known.file).read_bytes())
    content[-100] ^= 1
    (tmp_path / known.file).write_bytes(content)
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    for name in (None, known.name):
        with pytest.raises(WeightsError, match="is damaged or was swapped"):
            open_model(name)


@pytest.mark.skipif(not shipped_models(), reason="nothing ships yet")
def test_every_shipped_model_opens_and_says_of_itself_what_the_manifest_says() -> None:
    for name, known in shipped_models().items():
        found, session = open_model(name)
        assert found is known
        own = ModelInfo.from_json(session.metadata[METADATA_KEY], name)
        assert own == replace(known, file="", sha256="", training_file="", training_sha256="")
        size, depth = known.input.size, known.input.depth
        logits = session.run(np.zeros((2, depth, size, size), np.float32))
        assert {head: values.shape for head, values in logits.items()} == {
            head.name: (2, len(head.emotions)) for head in known.heads
        }


def test_names_that_are_none() -> None:
    for wrong in ("mien-bass", "some/where", "model.pt"):
        with pytest.raises(ConfigError, match=f"there is no model '{wrong}'"):
            open_model(wrong)
        with pytest.raises(ConfigError, match=f"there is no model '{wrong}'"):
            model_bytes(wrong)
