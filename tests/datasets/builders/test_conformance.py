"""Conformance of all builders of data sets: they are found in their folder, and each has made-up input in its test."""

import importlib
import inspect
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from mien.datasets import Samples, store
from mien.datasets.builders import builder, names
from mien.datasets.samples import COLUMNS, NO_LABEL, SPLITS
from mien.errors import DataError, InputError

OPTIONAL = {"votes", "subjects", "keypoints", "affect"}


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made_up(name: str, folder: Path) -> dict[str, Any]:
    """The arguments of the builder, with a tiny data set written to `folder`: `made_up` of the builder's test."""
    folder.mkdir(exist_ok=True)
    return dict(importlib.import_module(f"tests.datasets.builders.test_{name}").made_up(folder))


def inputs(arguments: Mapping[str, Any]) -> dict[str, Path]:
    """The arguments that are files or folders."""
    found = {key: value for key, value in arguments.items() if isinstance(value, Path) and value.exists()}
    assert found
    return found


def test_samples_are_valid(name: str, tmp_path: Path) -> None:
    samples = builder(name)(**made_up(name, tmp_path))
    assert isinstance(samples, Samples)
    assert len(samples) > 0
    assert samples.images.dtype == np.uint8
    assert samples.images.ndim == 3 or samples.images.shape[3:] == (3,)
    assert samples.images.std() > 0
    assert samples.labels.dtype == np.int64
    assert samples.split.dtype == np.uint8
    assert samples.targets.dtype == np.float32
    assert set(np.unique(samples.split)) <= set(range(len(SPLITS)))
    assert (samples.split == SPLITS.index("train")).any()
    assert len(set(samples.classes)) == len(samples.classes) > 1
    labelled = samples.labels != NO_LABEL
    assert ((samples.labels[labelled] >= 0) & (samples.labels[labelled] < len(samples.classes))).all()
    np.testing.assert_allclose(samples.targets[labelled].sum(axis=1), 1, rtol=1e-5)
    assert not samples.targets[~labelled].any()
    assert (samples.targets.argmax(axis=1) == samples.labels)[labelled].all()


def test_the_optional_columns_are_those_declared(name: str, tmp_path: Path) -> None:
    samples = builder(name)(**made_up(name, tmp_path))
    declared = importlib.import_module(f"mien.datasets.builders.{name}").YIELDS
    assert declared <= OPTIONAL
    assert {column for column in OPTIONAL if getattr(samples, column) is not None} == declared


def test_the_samples_say_how_they_were_made(name: str, tmp_path: Path) -> None:
    about = builder(name)(**made_up(name, tmp_path)).about
    assert json.loads(json.dumps(about)) == about
    assert {"data_set", "labels", "rows_read", "dropped_training_duplicates"} <= set(about)


def test_no_training_image_is_in_another_split(name: str, tmp_path: Path) -> None:
    samples = builder(name)(**made_up(name, tmp_path))
    training = {image.tobytes() for image in samples.only("train").images}
    assert not training & {image.tobytes() for image in samples.images[samples.split != SPLITS.index("train")]}


def test_the_same_input_gives_the_same_samples(name: str, tmp_path: Path) -> None:
    once, again = (builder(name)(**made_up(name, tmp_path / "data")) for _ in cleared(tmp_path / "data", 2))
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(once, column), getattr(again, column))
    assert once.classes == again.classes
    assert once.about == again.about


def cleared(folder: Path, count: int) -> Iterator[int]:
    for number in range(count):
        shutil.rmtree(folder, ignore_errors=True)
        yield number


def test_the_store_round_trips(name: str, tmp_path: Path) -> None:
    samples = builder(name)(**made_up(name, tmp_path / "data"))
    store.save(samples, tmp_path / "faces.h5")
    found = store.load(tmp_path / "faces.h5")
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(found, column), getattr(samples, column))
    assert found.classes == samples.classes
    assert found.about == samples.about


def test_progress_counts_up_to_its_total(name: str, tmp_path: Path) -> None:
    arguments, told = made_up(name, tmp_path / "data"), list[tuple[int, int]]()
    if "progress" not in inspect.signature(builder(name)).parameters:
        pytest.skip("this builder reads its data in seconds, and takes no `progress`")
    builder(name)(**arguments, progress=lambda done, total: told.append((done, total)))
    totals = {total for _, total in told}
    assert [done for done, _ in told] == list(range(1, totals.pop() + 1))
    assert not totals


def missing(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty(path: Path) -> None:
    missing(path)
    path.mkdir() if not path.suffix else path.touch()


def damaged(path: Path) -> None:
    """Every file is replaced by noise."""
    for file in [path] if path.is_file() else path.rglob("*.*"):
        file.write_bytes(np.random.default_rng(0).bytes(2000))


def truncated(path: Path) -> None:
    """Every file loses its second half."""
    for file in [path] if path.is_file() else path.rglob("*.*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("harm", [missing, empty, damaged, truncated], ids=lambda harm: str(harm.__name__))
def test_invalid_input_is_an_error_that_helps(name: str, tmp_path: Path, harm: Any) -> None:
    for key in inputs(made_up(name, tmp_path / "data")):
        shutil.rmtree(tmp_path / "data")
        arguments = made_up(name, tmp_path / "data")
        harm(arguments[key])
        with pytest.raises((DataError, InputError)) as caught:
            builder(name)(**arguments)
        assert str(arguments[key]) in caught.value.message
        assert "\n" not in str(caught.value)
        assert len(caught.value.message) < 1000
        assert caught.value.hint


def options(build: Any) -> Iterator[tuple[str, Any]]:
    """The annotations of the arguments, and of the fields of option dataclasses."""
    hints = get_type_hints(build, include_extras=True)
    assert hints.pop("return") is Samples
    hints.pop("progress", None)  # of the bar
    for key, hint in hints.items():
        if is_dataclass(hint):
            own = get_type_hints(hint, include_extras=True)
            yield from ((field.name, own[field.name]) for field in fields(hint))
        else:
            yield key, hint


def test_every_option_has_a_help_text(name: str) -> None:
    build = builder(name)
    found = list(options(build))
    assert len({key for key, _ in found}) == len(found)
    for key, hint in found:
        assert get_origin(hint) is Annotated, key
        text = get_args(hint)[1]
        assert text[0].isupper() or text[0].isdigit() or text.startswith("fer2013"), (key, text)
        assert text.endswith("."), (key, text)
    summary = inspect.getdoc(build) or ""
    assert summary.startswith("Builds ")
    assert "Raises:" in summary
    assert len(inspect.signature(build).parameters) <= 8
