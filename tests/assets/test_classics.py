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

from mien.assets.download import list_remote
from mien.assets.manifest import FOLDER, classic_models, shipped_models
from mien.assets.recipes import recipes, recipes_of
from mien.assets.session import Session
from mien.assets.store import open_model
from mien.files import sha256
from mien.training.artifacts import dump_toml
from mien.training.recipe import load

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

    path = cache / CLASSIC / "tiny.onnx"
    fetched = mien(installed, cache, "models", "fetch", CLASSIC, "--from", clone / "weights", cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert (fetched.stdout, fetched.stderr) == (f"{path}\n", "")
    assert path.read_bytes() == tiny_model.read_bytes()
    assert mien(installed, cache, *words, cwd=tmp_path).returncode == 0

    again = mien(installed, cache, "models", "fetch", CLASSIC, cwd=tmp_path)
    assert again.returncode == 0
    assert (again.stdout, again.stderr) == (f"{path}\n", "already here, with the expected hash:\n")


def test_a_clone_itself_is_a_source(clone: Path, installed: Path, tmp_path: Path) -> None:
    done = mien(installed, tmp_path / "cache", "models", "fetch", CLASSIC, "--from", clone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cache" / CLASSIC / "tiny.onnx").is_file()
    folder = tmp_path / "empty"
    folder.mkdir()
    wrong = mien(installed, tmp_path / "other", "models", "fetch", CLASSIC, "--from", folder, cwd=tmp_path)
    assert f"{folder / 'tiny.onnx'}: no such weights file" in wrong.stderr


def test_a_cache_that_cannot_be_written(clone: Path, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    done = mien(installed, tmp_path / "cache", "models", "fetch", CLASSIC, "--from", clone, cwd=tmp_path)
    assert done.returncode == 7
    assert "--model FILE" in done.stderr
    assert "--detector-weights" not in done.stderr


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
    for part in (
        f"in the clone {own}: git checkout -- weights/tiny.onnx",
        "mien models fetch emonet --from CLONE/weights",
        "CLONE/weights/tiny.onnx",
        "mien train emonet --data fer.h5",
        "mien export runs/emonet --data fer.h5",
    ):
        assert part in done.stderr

    listed = mien(own / "src", tmp_path / "cache", "models", "list", cwd=tmp_path).stdout
    assert ("state   not here\n" if harm == "gone" else f"state   damaged: {file}\n") in listed
    assert listed.count("mien models fetch NAME --from CLONE/weights") == 1
    assert f"in the clone {own}: git checkout -- weights; or mien models fetch NAME" in listed
    # A good file in the cache counts before a damaged one of the clone.
    assert mien(own / "src", tmp_path / "cache", "models", "fetch", CLASSIC, "--from", clone, cwd=tmp_path).stdout
    assert mien(own / "src", tmp_path / "cache", *words, cwd=tmp_path).returncode == 0
    listed = mien(own / "src", tmp_path / "cache", "models", "list", cwd=tmp_path).stdout
    assert f"state   in {tmp_path / 'cache' / CLASSIC / 'tiny.onnx'}\n" in listed
    assert "mien models fetch NAME --from" not in listed


def test_a_wrong_file_is_not_fetched(installed: Path, tmp_path: Path) -> None:
    other = FOLDER / shipped_models()["mien-s"].file
    done = mien(installed, tmp_path / "cache", "models", "fetch", CLASSIC, "--from", other, cwd=tmp_path)
    assert done.returncode == 5
    assert f"{other}: is not the expected tiny.onnx: sha256 {shipped_models()['mien-s'].sha256[:12]}..." in done.stderr
    assert "; it is damaged, or of a clone of another version" in done.stderr
    assert "download was removed" not in done.stderr
    assert f"mien models fetch {CLASSIC} --from CLONE/weights" in done.stderr
    assert not done.stderr.startswith("\n")
    assert not (tmp_path / "cache" / CLASSIC / "tiny.onnx").exists()


@pytest.mark.parametrize("name", ["vgg16", "emonet-deep", "fourlayer-strided"])
def test_a_recipe_without_weights_says_how_to_train_it(name: str, face: Path) -> None:
    assert name not in classic_models()
    use, fetched = (
        run_command("analyze", face, "--faces-are-crops", "--model", name),
        run_command("models", "fetch", name),
    )
    assert use.returncode == fetched.returncode == 2
    assert f"there is no model '{name}'" in use.stderr
    assert f"there are no weights '{name}' to fetch" in fetched.stderr
    for text in (use.stderr, fetched.stderr):
        assert (
            "is the name of a recipe whose trained file is neither in the package nor in the folder `weights`" in text
        )
        assert f"mien train {name} --data fer.h5" in text
        assert f"mien export runs/{name} --data fer.h5 --out {name}.onnx, then --model {name}.onnx" in text
        assert f"mien models fetch {name}" not in text
        assert all(kept in text for kept in classic_models())
        assert all(weights in fetched.stderr for weights in list_remote())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("tflearnn", ("did you mean tflearn? It is a recipe without a trained file: mien models show tflearn",)),
        ("emonet_deep", ("is the name of a recipe", "mien train emonet-deep --data")),
        (
            "vgg13",
            ("is the name of a network", "its recipes, vgg13-cel, vgg13-majority", "mien train vgg13-cel --data"),
        ),
        ("plain", ("is the name of a network", "choose a model of this network: mien-m, mien-s")),
        ("mien_s", ("did you mean mien-s?",)),
        ("capsnt", ("did you mean capsnet?",)),
        ("landmark", ("mien train landmark --data points.h5",)),
        ("resnet18", ("mien train resnet18 --data fer.h5",)),
    ],
)
def test_names_beside_those_of_models(name: str, parts: tuple[str, ...], face: Path) -> None:
    """Suggested, or explained, by --model and by `mien models fetch` in the same words."""
    for words in (("analyze", face, "--faces-are-crops", "--model", name), ("models", "fetch", name)):
        done = run_command(*words)
        assert done.returncode == 2
        for part in parts:
            assert part in done.stderr


def test_the_name_of_the_network_finds_its_file(clone: Path, face: Path, tmp_path: Path) -> None:
    """`mien models list` writes it with _ where the recipe has -."""
    own = tmp_path / "own"
    shutil.copytree(clone, own)
    listed = own / "src" / "mien" / "assets" / "classics.toml"
    listed.write_text(listed.read_text().replace(CLASSIC, "emonet-deep"))
    words = ["analyze", face, "--faces-are-crops", "--model", "emonet_deep", "--json"]
    done = mien(own / "src", tmp_path / "cache", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fetched = mien(own / "src", tmp_path / "cache", "models", "fetch", "emonet_deep", cwd=tmp_path)
    assert fetched.stdout == f"{tmp_path / 'cache' / 'emonet-deep' / 'tiny.onnx'}\n"


def test_the_list_and_the_summary_say_how_long_a_classic_was_trained_and_where_it_is(tmp_path: Path) -> None:
    listed = run_command("models", "list", env={"COLUMNS": "1000"}).stdout
    for name, info in classic_models().items():
        part = listed.partition(f"\n  {name}: ")[2]
        score, file = (
            next(line for line in part.splitlines() if line.split()[:1] == [key]) for key in ("score", "file")
        )
        assert (f" {recipes()[name].shortened} (" in score) == bool(recipes()[name].shortened)
        size = (ROOT / "weights" / info.file).stat().st_size
        assert file.split(maxsplit=1)[1] == f"{info.file}, {info.form}, {size / 1e6:.1f} MB, {info.licence}"
    (name, info), *_ = classic_models().items()
    shown = run_command("models", "show", name).stdout
    assert f"    state   in {ROOT / 'weights' / info.file}; --model {name}\n" in shown
    assert "weights" not in run_command("models", "show", "fourlayer-dropout").stdout


def test_recipes_in_short() -> None:
    assert recipes()["emonet"].epochs == 100  # of all stages
    assert recipes()["emonet"].shortened == "after 44 of 100 epochs"
    assert recipes()["capsnet"].shortened == ""
    assert "detector-from-scratch" not in recipes()
    assert "--data points.h5" in recipes()["image-landmark"].training
    assert [brief.name for brief in recipes_of("emonet_deep")] == ["emonet-deep"]
    assert recipes_of("nobody") == []
    for name, brief in recipes().items():
        assert brief.command.startswith(f"mien train {name} --data ")
        assert brief.epochs == sum(stage.epochs for stage in load(name).all_stages)


def test_the_help_knows_classic_networks() -> None:
    for words in (("analyze", "--help"), ("compare", "--help")):
        assert "classic network" in " ".join(run_command(*words, env={"COLUMNS": "1000"}).stdout.split())
    assert "its folder `weights`" in run_command("models", "fetch", "--help", env={"COLUMNS": "1000"}).stdout


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
