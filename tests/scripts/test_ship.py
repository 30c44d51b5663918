"""A trained model into the package: exported, compared with what ships, and put in its place."""

from importlib import import_module
from pathlib import Path

import pytest

from mien.assets.manifest import read_manifest, shipped_models
from mien.datasets import Samples
from mien.expression import OnnxClassifier
from mien.files import sha256
from scripts import ship


def test_a_run_takes_the_place_of_a_model(
    tiny_run: Path, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, assets = tmp_path / "place", tmp_path / "assets"
    place.mkdir()
    assets.mkdir()
    monkeypatch.setattr(ship, "FOLDER", assets)
    entries = ship.exported(tiny_run, tiny_samples, "mien-s", place)
    ship.placed(entries, place)
    found = read_manifest((assets / "manifest.toml").read_text(encoding="utf-8"), "manifest.toml")
    assert list(found) == list(shipped_models())
    assert found["mien-m"] == shipped_models()["mien-m"]
    info = found["mien-s"]
    assert (info.file, info.training_file, info.licence) == ("mien-s.onnx", "mien-s.safetensors", "Apache-2.0")
    assert sha256(assets / info.file) == info.sha256
    assert sha256(assets / info.training_file) == info.training_sha256
    assert info.heads[0].classes is not None  # it knows its class shares, so that it can be read under other priors
    assert OnnxClassifier(assets / info.file).info.outputs == info.outputs


def test_a_new_name_ships_in_int8_alone(
    tiny_run: Path, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("FALL", "SHIFT", "RISE"):  # the tiny network's few faces make whole points of one
        monkeypatch.setattr(import_module("mien.training.quantize"), limit, 1.0)
    (info,) = ship.exported(tiny_run, tiny_samples, "mien-xl", tmp_path).values()
    assert (info.name, info.file, info.training_file, info.form) == ("mien-xl", "mien-xl.onnx", "", "int8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mien-xl.entry.toml", "mien-xl.onnx"]
    assert OnnxClassifier(tmp_path / info.file).name == "mien-xl"
    assert not ship.small_alone("mien-s")


def test_the_change_is_paired(tiny_model: Path, tiny_samples: Samples) -> None:
    held = tiny_samples.only("val")
    for told, gain in ship.changes(str(tiny_model), tiny_model, held):
        assert gain == 0
        assert told.endswith("0.0 (0.0-0.0) points")
    gains = [gain for _, gain in ship.changes("mien-s", tiny_model, held)]
    assert len(gains) == 3
    assert any(gains)
