"""Cross-validation by person: everybody is tested once, by a network that has never seen them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cohn_kanade import write_ckplus
from tests.tiny import tiny_recipe
from typer.testing import CliRunner, Result

from mien.cli import build_app
from mien.cli.crossval import _report
from mien.datasets import store
from mien.datasets.builders.ckplus import SequenceOptions, build
from mien.datasets.folds import subject_folds
from mien.errors import ConfigError, DataError, OutputError, StoppedError
from mien.training import FitOptions
from mien.training.crossval import CrossValidation, CrossValidator, Pool, divided
from mien.training.recipe import load, to_toml

PEOPLE = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of each of six persons, four frames each, as images."""
    folder = tmp_path_factory.mktemp("ck")
    samples = build(write_ckplus(folder / "ck", subjects=PEOPLE, frames=4), sequences=SequenceOptions(crop="whole"))
    store.save(samples, folder / "ck.h5")
    recipe = tiny_recipe(name="tiny", heads={"labels": {"source": "labels"}}, batch_size=8, epochs=2)
    (folder / "tiny.toml").write_text(to_toml(recipe))
    return folder / "ck.h5"


@pytest.fixture(scope="module")
def finished(data: Path) -> tuple[Path, Result]:
    out = data.parent / "cv"
    return out, crossval(data, out)


def crossval(data: Path, out: Path, *more: str, folds: int = 3) -> Result:
    words = ["crossval", str(data.parent / "tiny.toml"), "--data", str(data), "--folds", str(folds), "--out", str(out)]
    words += more
    return CliRunner().invoke(build_app(), words)


def test_every_person_is_tested_once(data: Path, finished: tuple[Path, Result]) -> None:
    out, run = finished
    assert run.exit_code == 0, run.output
    samples = store.load(data)
    found = json.loads((out / "crossval.json").read_text())
    assert found["unit"] == "images"
    assert [fold["labels"]["persons"] for fold in found["folds"]] == [2, 2, 2]
    pooled = found["pooled"]["labels"]
    assert (pooled["examples"], pooled["persons"]) == (len(samples), PEOPLE)
    folds = subject_folds(samples, 3)
    names: list[str] = []
    right = 0
    for number in (1, 2, 3):
        plain = json.loads((out / f"fold-{number}" / "predictions.json").read_text())["labels"]
        pool = Pool.from_dict(plain)
        assert sorted(pool.names) == sorted(samples.names[folds == number - 1])
        names += pool.names.tolist()
        right += int((pool.probabilities.argmax(axis=1) == pool.labels).sum())
        for name, label in zip(pool.names, pool.labels, strict=True):
            row = samples.names.tolist().index(name)
            assert pool.classes[label] == samples.classes[samples.labels[row]]
    assert sorted(names) == sorted(samples.names)
    assert pooled["accuracy"]["value"] == pytest.approx(right / len(samples))
    assert np.trace(pooled["confusion"]) == right
    assert pooled["accuracy"]["low"] <= pooled["accuracy"]["value"] <= pooled["accuracy"]["high"]
    assert ["pooled", "6", str(len(samples))] in [line.split()[:3] for line in run.output.splitlines()]
    assert "95% intervals over persons" in run.output


def test_nobody_is_on_both_sides(data: Path) -> None:
    samples = store.load(data)
    for fold in divided(samples, 3):
        assert fold.subjects is not None
        people = [set(fold.subjects[fold.split == code]) for code in range(3)]
        assert sum(map(len, people)) == len(set.union(*people)) == PEOPLE
        assert all(len(part) == 2 for part in people)


def test_a_stopped_cross_validation_goes_on(data: Path, finished: tuple[Path, Result]) -> None:
    out, _ = finished
    before = (out / "crossval.json").read_text()
    (out / "crossval.json").unlink()
    (out / "fold-3" / "predictions.json").unlink()
    (out / "fold-3" / "model.onnx").unlink()
    again = crossval(data, out)
    assert again.exit_code == 0, again.output
    assert again.output.count("(done before)") == 2
    assert (out / "crossval.json").read_text() == before


def test_a_folder_of_something_else(data: Path, finished: tuple[Path, Result], tmp_path: Path) -> None:
    out, _ = finished
    for found, reason in (
        (crossval(data, out, "--set", "epochs=3"), "another recipe"),
        (crossval(data, out, folds=4), "another number of folds"),
    ):
        assert isinstance(found.exception, OutputError)
        assert reason in found.exception.message
    (tmp_path / "notes.txt").write_text("mine")
    found = crossval(data, tmp_path)
    assert isinstance(found.exception, OutputError)
    assert "is not empty" in found.exception.message


def test_damaged_predictions(data: Path, finished: tuple[Path, Result]) -> None:
    out, _ = finished
    path = out / "fold-1" / "predictions.json"
    content = path.read_text()
    path.write_text(content[:50])
    found = crossval(data, out)
    path.write_text(content)
    assert isinstance(found.exception, DataError)
    assert "is damaged" in found.exception.message


def test_impossible_folds_and_recipes(data: Path, tmp_path: Path) -> None:
    samples, recipe = store.load(data), load(data.parent / "tiny.toml")
    with pytest.raises(DataError, match="7 folds need at least 7 persons with labels, and the data has 6"):
        CrossValidator(recipe, samples, 7, tmp_path / "cv")
    with pytest.raises(ConfigError, match="expected a number from 3, got 2"):
        CrossValidator(recipe, samples, 2, tmp_path / "cv")
    with pytest.raises(ConfigError, match="is for the task 'detection'"):
        CrossValidator(load("mien-detector"), samples, 3, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def test_ctrl_c_between_two_trainings(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.training.crossval.fit", lambda *_: None)
    monkeypatch.setattr("mien.training.crossval.export_run", press)
    found = crossval(data, tmp_path / "cv")
    assert isinstance(found.exception, StoppedError)
    assert (found.exception.message, found.exception.hint) == (
        "stopped by Ctrl-C in fold 1",
        "to continue: repeat the command",
    )


def test_data_that_does_not_say_who_is_who(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = store.load(data)
    told: list[str] = []
    unknown = replace(samples, subjects=None)
    recipe, out = load(data.parent / "tiny.toml"), data.parent / "unknown"
    count = np.zeros(len(samples), np.int64)
    clips = replace(unknown, clips=samples.names, frames=count, clip_labels=samples.labels)
    for each, unit in ((clips, "clip"), (unknown, "image"), (samples, "")):
        told.clear()
        CrossValidator(recipe, each, 3, out / (unit or "person"), FitOptions(tell=told.append))
        line = f"the data does not say who is who: folds are by {unit}, so scores may be too high"
        assert told == ([line] if unit else [])
    with pytest.raises(DataError, match="99 folds need at least 99 images with labels"):
        CrossValidator(recipe, unknown, 99, out / "more")
    folds = [{"labels": pool(list("abcd"), [True, False, True, True])}] * 3
    found = CrossValidation(folds, "images", "images")
    assert found.as_dict()["pooled"]["labels"]["images"] == 4
    assert "persons" not in found.as_dict()["folds"][0]["labels"]
    _report(found)
    shown = capsys.readouterr().out
    assert shown.split()[:4] == ["fold", "images", "accuracy", "mean"]
    assert "95% intervals over images" in shown


def pool(persons: list[str], right: list[bool]) -> Pool:
    labels = np.zeros(len(right), np.int64)
    probabilities = np.where(np.array(right)[:, None], [[0.9, 0.1]], [[0.1, 0.9]]).astype(np.float32)
    names: Any = np.arange(len(right)).astype(np.str_)
    return Pool(("a", "b"), np.array(persons), names, labels, probabilities)


def test_images_of_one_person_are_no_more_evidence_than_the_person() -> None:
    single = pool(list("abcdefgh"), [True, True, False, True, True, True, False, True])
    copied = pool(list("abcdefgh") * 20, [True, True, False, True, True, True, False, True] * 20)
    one, twenty = (each.scores()["accuracy"] for each in (single, copied))
    assert one.value == twenty.value
    assert abs(one.low - twenty.low) <= 1 / 8  # of eight persons; their draws differ
    assert abs(one.high - twenty.high) <= 1 / 8
    apart = pool([f"{row}" for row in range(160)], [True, True, False, True, True, True, False, True] * 20)
    wide, narrow = (each.scores()["accuracy"] for each in (copied, apart))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
