"""A trained model into the package: exported, compared with what ships, and put in its place."""

from importlib import import_module
from pathlib import Path

import pytest

from mien.assets.manifest import read_manifest, shipped_models
from mien.datasets import Samples
from mien.expression import OnnxClassifier
from mien.files import sha256
from scripts import ship


@pytest.fixture
def open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network's few faces make whole points of one."""
    for limit in ("FALL", "SHIFT", "RISE"):
        monkeypatch.setattr(import_module("mien.training.quantize"), limit, 1.0)


@pytest.mark.usefixtures("open_gate")
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
    info, small = found["mien-s"], found["mien-s-int8"]
    assert (small.form, small.training_file, small.training_sha256) == (
        "int8",
        info.training_file,
        info.training_sha256,
    )
    assert sha256(assets / small.file) == small.sha256
    assert (info.file, info.training_file, info.licence) == ("mien-s.onnx", "mien-s.safetensors", "Apache-2.0")
    assert sha256(assets / info.file) == info.sha256
    assert sha256(assets / info.training_file) == info.training_sha256
    assert info.heads[0].classes is not None  # it knows its class shares, so that it can be read under other priors
    assert OnnxClassifier(assets / info.file).info.outputs == info.outputs


@pytest.mark.usefixtures("open_gate")
def test_an_int8_form_is_made_of_the_model_that_ships(
    tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, assets = tmp_path / "place", tmp_path / "assets"
    place.mkdir()
    assets.mkdir()
    monkeypatch.setattr(ship, "FOLDER", assets)
    ship.placed(ship.small_form("mien-s-int8", tiny_samples, place), place)
    assert sorted(path.name for path in assets.iterdir()) == ["manifest.toml", "mien-s-int8.onnx"]
    info = read_manifest((assets / "manifest.toml").read_text(encoding="utf-8"), "manifest.toml")["mien-s-int8"]
    assert (info.form, info.training_file) == ("int8", "mien-s.safetensors")
    assert OnnxClassifier(assets / info.file).info.outputs == info.outputs


@pytest.mark.parametrize(("name", "run"), [("mien-s-int8", ["--run", "r"]), ("mien-s", [])])
def test_only_full_models_need_a_run(
    name: str, run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["ship", "faces.h5", "--name", name, *run])
    with pytest.raises(SystemExit):
        ship.main()
    assert "--run" in capsys.readouterr().err


@pytest.mark.usefixtures("open_gate")
def test_a_new_name_ships_in_int8_alone(tiny_run: Path, tiny_samples: Samples, tmp_path: Path) -> None:
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
