"""The command that keeps classic networks: scores in recipes, entries, the ensemble's members, and the curves."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from mien.assets.manifest import read_manifest
from mien.assets.store import open_model
from mien.files import sha256
from mien.training.recipe import load, recipe_names
from scripts import classics


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of the project, empty, in another place."""
    monkeypatch.setattr(classics, "SCORES", tmp_path / "scores")
    monkeypatch.setattr(classics, "CURVES", tmp_path / "curves")
    monkeypatch.setattr(classics, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(classics, "ENTRIES", tmp_path / "classics.toml")
    monkeypatch.setattr(classics, "FIGURE", tmp_path / "curves.png")
    for name in ("scores", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "classics.toml").write_text("# A comment.\nformat = 1\n")
    return tmp_path


def found(value: float, classes: int = 7) -> dict[str, object]:
    """An evaluation, as `mien evaluate --out` writes it, of what is read here."""
    accuracy = {"value": value, "low": value - 0.015, "high": value + 0.015}
    return {
        "split": "val",
        "tta": "none",
        "protocols": {"labels": {"accuracy": accuracy, "classes": [{"emotion": str(n)} for n in range(classes)]}},
    }


def test_scores_replace_those_of_two_epochs_and_keep_the_recipe() -> None:
    text = (classics.RECIPES / "fourlayer.toml").read_text(encoding="utf-8")
    plain = tomllib.loads(text)
    short = tomllib.loads(classics.scored(text, found(0.6123456), 10))
    assert short["score"] == [
        {"protocol": "FER2013", "split": "val", "accuracy": 0.6123, "low": 0.5973, "high": 0.6273, "epochs": 10}
    ]
    full = tomllib.loads(classics.scored(text, found(0.6), None))
    assert "epochs" not in full["score"][0]
    for each in (short, full):
        assert {**each, "score": []} == {**plain, "score": []}


def test_an_entry_is_added_and_replaced(place: Path, tiny_model: Path) -> None:
    info, _ = open_model(tiny_model)
    for name in ("one", "two", "one"):
        shutil.copy(tiny_model, place / "weights" / f"{name}.onnx")
        file = f"{name}.onnx"
        classics.add_entry(type(info)(**{**vars(info), "name": name, "file": file, "sha256": sha256(tiny_model)}))
    text = (place / "classics.toml").read_text()
    assert text.startswith("# A comment.\n")
    assert set(read_manifest(text, "x")) == {"one", "two"}
    assert tomllib.loads(text)["sizes"] == dict.fromkeys(("one", "two"), tiny_model.stat().st_size)


def test_members_of_the_ensemble_are_near_the_best(place: Path, tiny_model: Path) -> None:
    info, _ = open_model(tiny_model)
    for name, value, classes in (
        ("emonet", 0.66, 7),
        ("inception-v1", 0.65, 7),
        ("fourlayer", 0.61, 7),
        ("emonet6", 0.68, 6),
    ):
        shutil.copy(tiny_model, place / "weights" / f"{name}.onnx")
        classics.add_entry(type(info)(**{**vars(info), "name": name, "file": f"{name}.onnx", "sha256": "0" * 64}))
        (place / "scores" / f"{name}.json").write_text(json.dumps(found(value, classes)))
    (place / "scores" / "tflearn.json").write_text(json.dumps(found(0.67)))  # its file is too large to be kept
    assert classics.members() == ["emonet", "inception-v1"]


def test_curves_are_those_of_the_run_and_can_be_looked_at(place: Path, tiny_run: Path) -> None:
    runs = place / "runs"
    shutil.copytree(tiny_run, runs / "tiny")
    classics.curves(runs)
    kept = json.loads((place / "curves" / "tiny.json").read_text())
    lines = (tiny_run / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/fer2013/accuracy")
    assert kept["series"]["val/fer2013/accuracy"] == [round(float(row.split(",")[column]), 4) for row in lines[1:]]
    assert kept["epochs"] == kept["planned"] == len(lines) - 1
    with Image.open(place / "curves.png") as image:
        assert image.width > 800
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10


def test_every_classic_is_a_recipe_and_every_score_names_its_interval() -> None:
    assert set(classics.CLAIMS) <= set(recipe_names())
    for name in classics.CLAIMS:
        for score in load(name).score:
            if score.epochs != 2:
                assert score.low is not None
                assert score.high is not None
                assert score.low <= score.accuracy <= score.high
