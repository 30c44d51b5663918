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
from mien.assets.manifest import FOLDER, Head, InputSpec, ModelInfo, dump_toml, info, shipped_models
from mien.errors import ConfigError, WeightsError

SOURCE = Path(mien.__file__).parent
LANDMARKS = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.75), (0.65, 0.75))


@pytest.fixture
def some() -> ModelInfo:
    return ModelInfo(
        name="some",
        description="A model",
        input=InputSpec(48, "grey", (0.5,), (0.25,)),
        heads=(Head("votes", ("anger", "fear"), 0.7, 0.4), Head("labels", ("anger",))),
        landmarks=LANDMARKS,
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
    with pytest.raises(ConfigError, match="does not say how its faces are framed"):
        _ = replace(some, landmarks=()).crop_spec.points


SPOILT: dict[str, Any] = {
    "no input": ("input", None),
    "input is a word": ("input", "grey"),
    "a foreign key": ("colour", "red"),
    "foreign key of a head": ("heads", [{"name": "votes", "emotions": ["anger"], "scale": 2}]),
    "heads are words": ("heads", ["votes"]),
    "a head without a name": ("heads", [{"emotions": ["anger"]}]),
    "temperature is a word": ("heads", [{"name": "a", "emotions": ["anger"], "temperature": "hot"}]),
    "temperature is 0": ("heads", [{"name": "a", "emotions": ["anger"], "temperature": 0}]),
    "four landmarks": ("landmarks", LANDMARKS[:4]),
    "landmarks are words": ("landmarks", ["ab", "cd", "ef", "gh", "ij"]),
    "landmarks are numbers": ("landmarks", [1, 2, 3, 4, 5]),
    "three means": ("input", {"size": 48, "channels": "grey", "mean": [1, 1, 1], "std": [1]}),
}


@pytest.mark.parametrize("case", SPOILT)
def test_entries_that_are_none(some: ModelInfo, case: str) -> None:
    key, value = SPOILT[case]
    plain = some.as_dict() | {key: value}
    with pytest.raises(WeightsError, match=r"here\.onnx: its info is not one mien understands: ") as caught:
        ModelInfo.from_json(json.dumps(plain), "here.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["name", "input", "heads", "landmarks"])
def test_a_key_that_is_missing(some: ModelInfo, key: str) -> None:
    plain = some.as_dict()
    del plain[key]
    with pytest.raises(WeightsError, match=key):
        ModelInfo.from_dict(plain, "here.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"words"', "[[1, 2]]"])
def test_metadata_that_is_no_entry(text: str) -> None:
    with pytest.raises(WeightsError, match="its info is not"):
        ModelInfo.from_json(text, "here.onnx")


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
all_entries = st.builds(
    ModelInfo,
    name=texts,
    description=texts,
    input=st.sampled_from(
        [InputSpec(48, "grey", (0.1,), (0.3,)), InputSpec(64, "rgb", (0.1, 1 / 3, 1e-9), (1e9, 1, 2))]
    ),
    heads=st.lists(heads, max_size=3).map(tuple),
    landmarks=st.just(()) | st.tuples(points, points, points, points, points),
    architecture=tables,
    licence=texts,
    data=texts,
    scores=tables,
    file=texts,
    sha256=texts,
)


@given(all_entries)
def test_any_entry_reads_back_from_toml_and_json(made: ModelInfo) -> None:
    read = tomllib.loads(dump_toml(made))
    assert list(read) == [made.name]
    assert ModelInfo.from_dict({"name": made.name, **read[made.name]}, "toml") == made
    assert ModelInfo.from_json(made.to_json(), "json") == made


@pytest.mark.parametrize("name", ["v1.0", "mien-base", "Gesicht ä", "a.b.c", '"', "😀", "\x7f"])
def test_names_that_toml_would_take_apart(some: ModelInfo, name: str) -> None:
    made = replace(some, name=name, description=f"{name} 😀 \\ \n \x00 \x7f", architecture={name: {name: [name]}})
    read = tomllib.loads(dump_toml(made))
    assert ModelInfo.from_dict({"name": name, **read[name]}, "toml") == made


def test_two_entries_stand_in_one_file(some: ModelInfo) -> None:
    text = dump_toml(some) + "\n" + dump_toml(replace(some, name="v2.0"))
    assert list(tomllib.loads(text)) == ["some", "v2.0"]


# --- the shipped ones


def test_the_shipped_entries_are_whole() -> None:
    for name, known in shipped_models().items():
        assert known.name == name
        assert (FOLDER / known.file).is_file()
        assert len(known.sha256) == 64
        assert known.heads
        assert known.licence
        assert known.data
        assert known.scores
        assert tomllib.loads(dump_toml(known))[name]["input"]["mean"] == list(known.input.mean)


def test_a_model_that_is_none() -> None:
    with pytest.raises(ConfigError, match="there is no model 'mien-bass'") as caught:
        info("mien-bass")
    assert all(name in caught.value.hint for name in shipped_models())


# --- preprocessing constants stand in the manifest and the recipes, and nowhere in the source


def constants() -> set[float]:
    """Mean, spread and landmarks of every shipped info and recipe, as fractions and in pixels.

    Numbers of two digits or fewer, as one half, mean too many other things to be told by their value.
    """
    found: set[float] = set()
    inputs = [(info.input.mean, info.input.std, info.landmarks, info.input.size) for info in shipped_models().values()]
    for path in (SOURCE / "recipes").rglob("*.toml"):
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("input")
        if table is None:  # a detector takes images as they are
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
