"""Opening weights: shipped ones against their hash, files against what they say of themselves."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mien.assets import store
from mien.assets.manifest import (
    FOLDER,
    METADATA_KEY,
    REPLACED,
    Head,
    InputSpec,
    ModelInfo,
    default_model,
    info_in,
    shipped_models,
)
from mien.assets.store import model_bytes, open_model, training_form, verified
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
    old = info_in({item.key: item.value for item in graph.metadata_props}, str(path))
    assert old is not None
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
        assert list(session.outputs) == ["votes", "fer2013", "features"]


def test_a_file_without_its_suffix_opens_too(model: Path) -> None:
    bare = model.rename(model.with_suffix(""))
    assert open_model(bare)[0].name == "tiny"


def test_files_that_are_no_network(tmp_path: Path) -> None:
    path = tmp_path / "some.onnx"
    for content in (b"", b"these are words\n", bytes(1000), bytes(range(256)) * 40):
        path.write_bytes(content)
        refused(path, "is not an ONNX network")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(model: Path, share: float) -> None:
    content = model.read_bytes()
    model.write_bytes(content[: int(share * len(content))])
    refused(model, r"is not an ONNX network|mien did not export this file")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "missing.onnx", "no such weights")
    refused(tmp_path, "is a folder, expected an exported .onnx file")


def test_a_foreign_network(tmp_path: Path) -> None:
    foreign(tmp_path / "foreign.onnx")
    refused(tmp_path / "foreign.onnx", "mien did not export this file")


def test_a_foreign_network_with_an_entry(model: Path, tmp_path: Path) -> None:
    own = open_model(model)[0]
    foreign(tmp_path / "foreign.onnx")
    graph = onnx.load(tmp_path / "foreign.onnx")
    helper.set_model_props(graph, {METADATA_KEY: own.to_json()})
    onnx.save(graph, tmp_path / "foreign.onnx")
    refused(
        tmp_path / "foreign.onnx",
        r"inputs are \{'x': \(None, 3\)\}, its description says \{'images': \(None, 1, 48, 48\)\}",
    )


def test_an_entry_that_is_no_entry(model: Path) -> None:
    graph = onnx.load(model)
    helper.set_model_props(graph, {METADATA_KEY: "words"})
    onnx.save(graph, model)
    refused(model, "the description of the model is not JSON")


CHANGES: dict[str, Callable[[ModelInfo], ModelInfo]] = {
    "one head too few": lambda info: replace(info, outputs=info.outputs[1:]),
    "one head too many": lambda info: replace(info, outputs=(*info.outputs, Head("third", ("anger",)))),
    "no outputs": lambda info: replace(info, outputs=()),
    "no features": lambda info: replace(info, outputs=info.heads),
    "another name": lambda info: replace(info, outputs=(replace(info.heads[0], name="poll"), *info.outputs[1:])),
    "one class too few": lambda info: info.with_outputs(
        replace(info.heads[0], emotions=info.heads[0].emotions[:9]),
    ),
    "classes of the other head": lambda info: info.with_outputs(
        replace(info.heads[0], emotions=info.heads[1].emotions),
        replace(info.heads[1], emotions=info.heads[0].emotions),
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_entry_of_other_heads(model: Path, case: str) -> None:
    relabelled(model, CHANGES[case])
    refused(model, r"outputs are \{.*\}, its description says \{")


@pytest.mark.parametrize("spec", [InputSpec(64, "grey", (0.5,), (0.2,)), InputSpec(48, "rgb", (0.5,) * 3, (0.2,) * 3)])
def test_an_entry_of_another_input(model: Path, spec: InputSpec) -> None:
    relabelled(model, lambda info: replace(info, inputs=(replace(info.image, spec=spec),)))
    refused(model, "its description says")


def test_the_order_of_the_heads_does_not_matter(model: Path) -> None:
    relabelled(model, lambda info: replace(info, outputs=info.outputs[::-1]))
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
        with pytest.raises(WeightsError, match="is damaged or was replaced: sha256 ") as caught:
            verified(model, right)
        assert caught.value.message.startswith(f"{model}: ")
        assert "install mien again" in caught.value.hint
    model.unlink()
    with pytest.raises(WeightsError, match="no such weights"):
        verified(model, right)


def test_a_damaged_shipped_model_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = shipped_models()[default_model()]
    content = bytearray((FOLDER / known.file).read_bytes())
    content[-100] ^= 1
    (tmp_path / known.file).write_bytes(content)
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    for name in (None, known.name):
        with pytest.raises(WeightsError, match="is damaged or was replaced"):
            open_model(name)


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_opens_and_gives_what_its_description_says(name: str) -> None:
    known = shipped_models()[name]
    found, session = open_model(name, task=known.task)
    assert found is known
    alone = replace(known, file="", sha256="", training_file="", training_sha256="", general_file="", general_sha256="")
    assert info_in(session.metadata, name) == alone
    spec = known.image.spec
    images = np.zeros((2, spec.depth, spec.size, spec.size), np.float32) if spec else np.zeros((2, 64, 96, 3), np.uint8)
    given = session.run(images)
    assert set(given) == {part.name for part in known.outputs}
    assert known.features is not None
    assert given["features"].shape == (2, known.features.size)
    for part in known.outputs:
        single = session.run(images, outputs=[part.name])
        assert list(single) == [part.name]
        np.testing.assert_array_equal(single[part.name], given[part.name])
        assert all(size in (None, found) for size, found in zip(part.shape, given[part.name].shape, strict=True))


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_has_a_form_to_start_training_from_or_says_where_else_to_start(name: str) -> None:
    if not shipped_models()[name].training_file:
        with pytest.raises(ConfigError, match=f"'{name}' ships without its training form") as caught:
            training_form(name)
        assert "mien-m" in caught.value.hint
        return
    data = training_form(name)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    own = info_in(header, name)
    assert own is not None
    assert own.architecture == shipped_models()[name].architecture
    assert [head.emotions for head in own.heads] == [head.emotions for head in shipped_models()[name].heads]


@pytest.mark.parametrize(("name", "instead"), REPLACED.items())
def test_a_former_name_is_answered_with_the_new_one(name: str, instead: str) -> None:
    for use in (open_model, model_bytes, training_form):
        with pytest.raises(ConfigError, match=f"the model '{name}' is no longer shipped") as caught:
            use(name)
        assert caught.value.hint == f"use {instead}"
        assert any(known in instead for known in shipped_models())


def test_a_model_of_another_task(model: Path) -> None:
    with pytest.raises(ConfigError, match="the model 'mien-detector' is for detection, expected one for expression"):
        open_model("mien-detector")
    with pytest.raises(ConfigError, match=f"'{default_model()}' is for expression, expected one for detection"):
        open_model(default_model(), task="detection")
    with pytest.raises(WeightsError, match="is a model for expression, expected one for detection"):
        open_model(model, task="detection")
    with pytest.raises(WeightsError, match="is a model for detection, expected one for expression"):
        open_model(FOLDER / shipped_models()["mien-detector"].file)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (METADATA_KEY, '{"format": 2, "name": "tiny"}'),
        (METADATA_KEY, '{"name": "tiny"}'),
        ("mien.entry", '{"name": "tiny", "heads": []}'),
        ("mien.detector", '{"name": "tiny"}'),
    ],
)
def test_a_file_of_another_format_has_to_be_exported_again(model: Path, key: str, text: str) -> None:
    graph = onnx.load(model)
    del graph.metadata_props[:]
    helper.set_model_props(graph, {key: text})
    onnx.save(graph, model)
    refused(model, "expected a model description of format 1, found format ")
    with pytest.raises(WeightsError) as caught:
        open_model(model)
    assert caught.value.hint == "export it again with `mien export`"


def test_names_that_are_none() -> None:
    for wrong in ("mien-bass", "some/where", "model.pt"):
        with pytest.raises(ConfigError, match=f"there is no model '{wrong}'"):
            open_model(wrong)
        with pytest.raises(ConfigError, match=f"there is no model '{wrong}'"):
            model_bytes(wrong)
