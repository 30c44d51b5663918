"""Classic networks outside the package: found in a clone, fetched into the cache, or missed with what to do.

A clone is what the project's own folder is: the package in `src`, and the files in `weights`. None of the real ones has
to be there for these tests: a small network takes the place of one.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.conftest import ROOT

from mien.assets.manifest import FOLDER, classic_models, shipped_models
from mien.assets.session import Session
from mien.assets.store import open_model
from mien.files import sha256
from mien.training.artifacts import dump_toml

CLASSIC = "emonet"


def entry(file: Path) -> str:
    """`classics.toml` with the file as the network of that name."""
    info, _ = open_model(file)
    found = replace(info, name=CLASSIC, file=file.name, sha256=sha256(file), training_file="", training_sha256="")
    return f"{dump_toml(found)}\n[sizes]\n{CLASSIC} = {file.stat().st_size}\n"


def copied(target: Path, file: Path) -> None:
    """The package in a folder, knowing that file as a classic network."""
    shutil.copytree(
        ROOT / "src" / "mien", target / "mien", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    (target / "mien" / "assets" / "classics.toml").write_text(entry(file))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    copied(folder / "src", tiny_model)
    (folder / "pyproject.toml").touch()
    (folder / "weights").mkdir()
    shutil.copy(tiny_model, folder / "weights")
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    copied(folder, tiny_model)
    return folder


@pytest.fixture
def face(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def mien(package: Path, cache: Path, *words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """The command of the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(package), "MIEN_CACHE": str(cache), "COLUMNS": "1000"}
    line = [sys.executable, "-m", "mien", *map(str, words)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500)


def test_a_clone_needs_no_command(clone: Path, face: Path, tmp_path: Path) -> None:
    words = ["analyze", face, "--faces-are-crops", "--model", CLASSIC, "--json"]
    done = mien(clone / "src", tmp_path / "cache", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"emotions"' in done.stdout
    listed = mien(clone / "src", tmp_path / "cache", "models", "list", cwd=tmp_path).stdout
    assert f"in {clone / 'weights' / 'tiny.onnx'}" in listed


def test_an_installed_package_fetches_from_a_clone(
    clone: Path, installed: Path, face: Path, tmp_path: Path, tiny_model: Path
) -> None:
    cache = tmp_path / "cache"
    words = ["analyze", face, "--faces-are-crops", "--model", CLASSIC, "--json"]
    missing = mien(installed, cache, *words, cwd=tmp_path)
    assert missing.returncode == 5
    assert f"the weights of '{CLASSIC}' are not here: there is no {cache / CLASSIC / 'tiny.onnx'}" in missing.stderr
    assert f"mien models fetch {CLASSIC} --from CLONE/weights" in missing.stderr
    assert f"mien train {CLASSIC} --data" in missing.stderr
    assert "--model CLONE/weights/tiny.onnx" in missing.stderr

    nowhere = mien(installed, cache, "models", "fetch", CLASSIC, cwd=tmp_path)
    assert nowhere.returncode == 2
    assert "has no public address" in nowhere.stderr
    assert "--from CLONE/weights" in nowhere.stderr

    fetched = mien(installed, cache, "models", "fetch", CLASSIC, "--from", clone / "weights", cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert (cache / CLASSIC / "tiny.onnx").read_bytes() == tiny_model.read_bytes()
    assert mien(installed, cache, *words, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("harm", ["gone", "damaged", "another"])
def test_a_file_of_a_clone_that_is_not_as_it_should_be(harm: str, clone: Path, face: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(clone, own)
    file = own / "weights" / "tiny.onnx"
    if harm == "gone":
        file.unlink()
    elif harm == "damaged":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        shutil.copy(FOLDER / shipped_models()["mien-s"].file, file)
    words = ["analyze", face, "--faces-are-crops", "--model", CLASSIC]
    done = mien(own / "src", tmp_path / "cache", *words, cwd=tmp_path)
    assert done.returncode == 5
    assert str(file) in done.stderr
    assert ("are not here" if harm == "gone" else "is damaged or was replaced") in done.stderr
    for part in ("mien models fetch emonet --from CLONE/weights", "CLONE/weights/tiny.onnx", "mien train emonet"):
        assert part in done.stderr


def test_a_wrong_file_is_not_fetched(installed: Path, tmp_path: Path) -> None:
    other = FOLDER / shipped_models()["mien-s"].file
    done = mien(installed, tmp_path / "cache", "models", "fetch", CLASSIC, "--from", other, cwd=tmp_path)
    assert done.returncode == 5
    assert "is not the expected tiny.onnx" in done.stderr
    assert not (tmp_path / "cache" / CLASSIC / "tiny.onnx").exists()


@pytest.mark.parametrize("name", ["vgg16", "emonet-deep", "fourlayer-strided"])
def test_a_recipe_without_weights_says_how_to_train_it(name: str, face: Path) -> None:
    assert name not in classic_models()
    done = run_command("analyze", face, "--faces-are-crops", "--model", name)
    assert done.returncode == 2
    assert f"'{name}': it is the name of a recipe whose weights are not available" in done.stderr
    assert f"mien train {name} --data STORE" in done.stderr


def test_the_files_of_this_clone_are_those_of_its_list() -> None:
    """Every file in `weights` has an entry, and every entry its file, of at most 3 MB."""
    folder = ROOT / "weights"
    files = {path.name: path for path in folder.glob("*.onnx")}
    assert {info.file for info in classic_models().values()} == set(files)
    for name, info in classic_models().items():
        assert name not in shipped_models()
        assert sha256(files[info.file]) == info.sha256
        assert files[info.file].stat().st_size <= 3_000_000
        assert Session(files[info.file].read_bytes(), info.file).outputs == {
            part.name: part.shape for part in info.outputs
        }
        assert info.scores
