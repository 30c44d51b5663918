"""Entries: what they accept, that they read back from TOML and JSON, and that their constants stand nowhere else."""

import io
import json
import tokenize
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien
from mien.assets.manifest import (
    DEFAULT,
    ENSEMBLES,
    FOLDER,
    METADATA_KEY,
    Head,
    InputSpec,
    ModelInfo,
    default_model,
    info_in,
    model_info,
    quick_model,
    read_manifest,
    shipped_models,
)
from mien.assets.signature import CELL_VALUES, Detections, Features, ImageInput, KeypointInput, Landmarks
from mien.errors import ConfigError, WeightsError
from mien.training.artifacts import dump_toml

SOURCE = Path(mien.__file__).parent
LANDMARKS = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.75), (0.65, 0.75))


@pytest.fixture
def some() -> ModelInfo:
    return ModelInfo(
        name="some",
        task="expression",
        description="A model",
        inputs=(ImageInput("images", InputSpec(48, "grey", (0.5,), (0.25,)), LANDMARKS),),
        outputs=(Head("votes", ("anger", "fear"), 0.7, 0.4), Head("labels", ("anger",)), Features(8)),
        architecture={"name": "plain", "widths": [8, 16]},
        scores={"val": {"accuracy": 0.5, "faces": 3}},
    )


# --- what is accepted


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [("grey", (0.5, 0.5, 0.5), (0.2,)), ("rgb", (0.5,), (0.2,) * 3), ("grey", (0.5,), ()), ("grey", (0.5,), (0.0,))],
)
def test_an_input_that_does_not_fit_itself(channels: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"mean|std"):
        InputSpec(48, channels, mean, std)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_is_above_nothing(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        Head("votes", ("anger",), temperature)


def test_the_template_is_in_pixels(some: ModelInfo) -> None:
    np.testing.assert_allclose(some.crop_spec.points, np.array(LANDMARKS) * 48, rtol=1e-6)
    assert some.crop_spec.points.dtype == np.float32
    with pytest.raises(ConfigError, match="does not define where landmarks are"):
        _ = replace(some, inputs=(replace(some.image, landmarks=()),)).crop_spec.points


def test_a_description_gives_its_parts(some: ModelInfo) -> None:
    assert some.input == InputSpec(48, "grey", (0.5,), (0.25,))
    assert [head.name for head in some.heads] == ["votes", "labels"]
    assert some.features == Features(8)
    with pytest.raises(ConfigError, match="the model 'some' does not detect faces"):
        _ = some.detections


def test_shapes_of_images_keypoints_and_windows() -> None:
    spec = InputSpec(48, "rgb", (0.5,) * 3, (0.2,) * 3)
    assert ImageInput("images", spec).shape == (None, 3, 48, 48)
    assert ImageInput("images", spec, frames=8).shape == (None, 8, 3, 48, 48)
    assert ImageInput("images").shape == (None, None, None, 3)
    assert KeypointInput("keypoints", "68", 68).shape == (None, 68, 2)
    assert KeypointInput("keypoints", "68", 68, frames=16).shape == (None, 16, 68, 2)
    assert Landmarks("landmarks", "68", 68).shape == (None, 68, 2)
    assert Detections().shape == (None, None, CELL_VALUES)


def test_a_sequence_model_over_keypoints_takes_no_images() -> None:
    inputs = (KeypointInput("keypoints", "68", 68, frames=16),)
    made = ModelInfo("sequence", "expression", "", inputs, (Head("labels", ("anger", "fear")), Features(4)))
    assert read_manifest(dump_toml(made), "text") == {"sequence": made}
    with pytest.raises(ConfigError, match="the model 'sequence' does not take images"):
        _ = made.input
    with pytest.raises(ConfigError, match="takes entire images, not faces"):
        _ = model_info("mien-detector").input


IMAGES = {"kind": "image", "name": "images", "spec": {"size": 48, "channels": "grey", "mean": [1], "std": [1]}}
VOTES = {"kind": "logits", "name": "votes", "emotions": ["anger"]}
WRONG: dict[str, Any] = {
    "no inputs": ("inputs", None),
    "inputs are a word": ("inputs", "grey"),
    "an input is a word": ("inputs", ["grey"]),
    "an input without a kind": ("inputs", [{"name": "images"}]),
    "an input of an unknown kind": ("inputs", [IMAGES | {"kind": "sound"}]),
    "an input of an output's kind": ("inputs", [VOTES]),
    "an unknown key": ("colour", "red"),
    "an unknown task": ("task", "sums"),
    "an unknown key of a head": ("outputs", [VOTES | {"scale": 2}]),
    "heads are words": ("outputs", ["votes"]),
    "a head without a name": ("outputs", [{"kind": "logits", "emotions": ["anger"]}]),
    "two outputs of one name": ("outputs", [VOTES, VOTES]),
    "temperature is a word": ("outputs", [VOTES | {"temperature": "hot"}]),
    "temperature is 0": ("outputs", [VOTES | {"temperature": 0}]),
    "no features": ("outputs", [{"kind": "features", "name": "features", "size": 0}]),
    "an operating point of 1": ("outputs", [{"kind": "detections", "name": "cells", "operating_point": 1}]),
    "an operating point without a size": ("outputs", [{"kind": "detections", "name": "cells", "by_size": [0.5]}]),
    "four landmarks": ("inputs", [IMAGES | {"landmarks": LANDMARKS[:4]}]),
    "landmarks are words": ("inputs", [IMAGES | {"landmarks": ["abc", "def", "ghi", "jkl", "mno"]}]),
    "landmarks are numbers": ("inputs", [IMAGES | {"landmarks": [1, 2, 3, 4, 5]}]),
    "a window of no frames": ("inputs", [IMAGES | {"frames": 0}]),
    "three means": ("inputs", [IMAGES | {"spec": {"size": 48, "channels": "grey", "mean": [1, 1, 1], "std": [1]}}]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_descriptions(some: ModelInfo, case: str) -> None:
    key, value = WRONG[case]
    text = json.dumps({"format": 1} | some.as_dict() | {key: value})
    with pytest.raises(WeightsError, match=r"here\.onnx: the description of the model is wrong: ") as caught:
        info_in({METADATA_KEY: text}, "here.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["name", "task", "inputs", "outputs"])
def test_a_key_that_is_missing(some: ModelInfo, key: str) -> None:
    plain = some.as_dict()
    del plain[key]
    with pytest.raises(WeightsError, match=key):
        ModelInfo.from_dict(plain, "here.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"words"', "[[1, 2]]", '{"format": 2}'])
def test_metadata_that_is_no_description(text: str) -> None:
    with pytest.raises(WeightsError, match=r"is not JSON|expected a model description of format 1"):
        info_in({METADATA_KEY: text}, "here.onnx")
    assert info_in({"other": text}, "here.onnx") is None


# --- reading back

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
values = st.recursive(
    st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
tables = st.dictionaries(texts, values, max_size=4)
points = st.tuples(st.floats(-1, 2), st.floats(-1, 2))
heads = st.builds(
    Head,
    name=texts,
    emotions=st.lists(texts, max_size=3).map(tuple),
    temperature=st.floats(1e-6, 1e6),
    threshold=st.floats(0, 1),
)
counts = st.integers(1, 2**31)
specs = [InputSpec(48, "grey", (0.1,), (0.3,)), InputSpec(64, "rgb", (0.1, 1 / 3, 1e-9), (1e9, 1, 2))]
landmarks = st.just(()) | st.tuples(points, points, points, points, points)
images = st.builds(ImageInput, texts, st.sampled_from([None, *specs]), landmarks, counts)
inputs = images | st.builds(KeypointInput, texts, texts, counts, counts)
outputs = (
    heads
    | st.builds(Features, counts, texts)
    | st.builds(Landmarks, texts, texts, counts)
    | st.builds(Detections, texts, st.floats(0.01, 0.99))
)


def distinct(parts: list[Any], side: str) -> tuple[Any, ...]:
    """Parts with different names."""
    return tuple(replace(part, name=f"{side}{index}{part.name}") for index, part in enumerate(parts))


all_models = st.builds(
    ModelInfo,
    name=texts,
    task=st.sampled_from(["expression", "detection", "landmarks"]),
    description=texts,
    inputs=st.lists(inputs, max_size=2).map(lambda parts: distinct(parts, "in")),
    outputs=st.lists(outputs, max_size=3).map(lambda parts: distinct(parts, "out")),
    form=st.sampled_from(["full", "int8"]),
    architecture=tables,
    licence=texts,
    data=texts,
    scores=tables,
)


@given(all_models)
def test_any_description_reads_back_from_toml_and_json(made: ModelInfo) -> None:
    assert read_manifest(dump_toml(made), "toml") == {made.name: made}
    assert info_in({METADATA_KEY: made.to_json()}, "json") == made


@pytest.mark.parametrize("name", ["v1.0", "mien-m", "Gesicht ä", "a.b.c", '"', "😀", "\x7f"])
def test_names_that_need_quotes_in_toml(some: ModelInfo, name: str) -> None:
    made = replace(some, name=name, description=f"{name} 😀 \\ \n \x00 \x7f", architecture={name: {name: [name]}})
    assert read_manifest(dump_toml(made), "toml") == {name: made}


def test_several_models_in_one_file(some: ModelInfo) -> None:
    assert list(read_manifest(dump_toml(some, replace(some, name="v2.0")), "toml")) == ["some", "v2.0"]


def test_hashes_are_in_the_manifest_only(some: ModelInfo) -> None:
    filed = replace(some, file="some.onnx", sha256="0" * 64, training_file="some.safetensors", training_sha256="1" * 64)
    assert read_manifest(dump_toml(filed), "toml") == {"some": filed}
    assert info_in({METADATA_KEY: filed.to_json()}, "json") == some


# --- the shipped ones


def test_the_shipped_entries_are_whole() -> None:
    for name, known in shipped_models().items():
        assert known.name == name
        assert (FOLDER / known.file).is_file()
        assert len(known.sha256) == 64
        assert known.licence
        assert known.data
        assert known.scores
        assert known.features
    assert read_manifest(dump_toml(*shipped_models().values()), "again") == shipped_models()


def test_models_by_task() -> None:
    for task in ("expression", "detection"):
        models = shipped_models(task)
        assert models
        assert {known.task for known in models.values()} == {task}
        assert default_model(task) == next(iter(models))
    assert default_model() == "mien-m"
    assert quick_model() in ENSEMBLES[DEFAULT]  # so that videos need no further network
    assert default_model("detection") == "mien-detector"


def test_a_model_that_is_none() -> None:
    with pytest.raises(ConfigError, match="there is no model 'mien-bass'") as caught:
        model_info("mien-bass")
    assert all(name in caught.value.hint for name in shipped_models())


# --- preprocessing constants stand in the manifest and the recipes, and nowhere in the source


def constants() -> set[float]:
    """Mean, spread and landmarks of every shipped info and recipe, as fractions and in pixels.

    Numbers of two digits or fewer, as one half, mean too many other things to be told by their value.
    """
    found: set[float] = set()
    inputs = [
        (info.input.mean, info.input.std, info.image.landmarks, info.input.size)
        for info in shipped_models("expression").values()
    ]
    for path in (SOURCE / "recipes").rglob("*.toml"):
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("input")
        if table is None or "mean" not in table:  # a detector takes images as they are, others keypoints alone
            continue
        inputs.append((table["mean"], table["std"], table.get("landmarks", ()), table["size"]))
    for mean, std, landmarks, size in inputs:
        fractions = [*mean, *std, *(value for point in landmarks for value in point)]
        found |= {value for value in fractions if round(value, 2) != value}
        found |= {round(value * size, 1) for point in landmarks for value in point}
    return {value for value in found if value != round(value)}


def numbers_in(text: str) -> set[float]:
    """Every number that is written in a program, outside comments and strings."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    plain = [token.string for token in tokens if token.type == tokenize.NUMBER]
    return {
        float(number) for number in plain if not number.lower().startswith(("0x", "0b", "0o")) and number[-1] != "j"
    }


def test_no_preprocessing_constant_is_repeated_in_the_source() -> None:
    known = constants()
    assert len(known) > 5
    repeated = {
        str(path.relative_to(SOURCE)): shared
        for path in sorted(SOURCE.rglob("*.py"))
        if (shared := numbers_in(path.read_text(encoding="utf-8")) & known)
    }
    assert repeated == {}


def test_a_repeated_constant_would_be_found() -> None:
    value = min(constants())
    assert numbers_in(f"def f(x):\n    return (x - {value}) / 0x10  # 3.14\n") == {value}
