"""Options and arguments as people mistype, swap and combine them: each message names what was given and what to do."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.drawn import draw_face

from mien.assets.recognise import recognise
from mien.cli import main
from mien.datasets import Samples, store
from mien.errors import ConfigError
from mien.evaluation.compare import candidates
from mien.expression import ClassifierOptions, load_classifier
from mien.faces.detectors import DetectorOptions
from mien.training import load_recipe

Said = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path, tiny_model: Path, tiny_samples: Samples) -> Path:
    """A store, a run, its exported model, a crop, a CSV, and models of other programs."""
    folder = tmp_path_factory.mktemp("options")
    store.save(tiny_samples, folder / "faces.h5")
    shutil.copytree(tiny_run, folder / "run")
    for form in (".onnx", ".safetensors"):
        shutil.copy(tiny_model.with_suffix(form), folder / f"tiny{form}")
    Image.fromarray(draw_face("happiness", np.random.default_rng(0))).save(folder / "face.png")
    (folder / "labels.csv").write_text("image,label\n", encoding="utf-8")
    (folder / "photos").mkdir()
    with zipfile.ZipFile(folder / "net.pt", "w") as file:
        file.writestr("data.pkl", b"\x80\x02")
    for name, content in {
        "net.h5": b"\x89HDF\r\n\x1a\n",
        "net.tflite": b"\0\0\0\0TFL3",
        "net.pkl": b"\x80\x04.",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "net.keras").write_bytes((folder / "net.pt").read_bytes())
    return folder


@pytest.fixture
def said(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs the command line `mien ...` in the folder, and gives its exit code and all that it prints."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["mien", *words])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        found = capsys.readouterr()
        return code, found.out + found.err

    return run


# --- files in the wrong place


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            "analyze face.png --model run",
            "the folder of a training run",
            "mien export run --data STORE.h5 --out run.onnx",
        ),
        ("analyze face.png --model run/best.ckpt", "a checkpoint of a training run", "mien export run --data"),
        ("analyze face.png --model run/last.ckpt", "a checkpoint of a training run", "--checkpoint last"),
        ("analyze face.png --model net.pt", "is a PyTorch file", "mien export"),
        ("analyze face.png --model net.h5", "is a Keras model or another HDF5 file", "mien export"),
        ("analyze face.png --model net.keras", "is a Keras model", "mien export"),
        ("analyze face.png --model net.tflite", "is a TensorFlow Lite model", "mien export"),
        ("analyze face.png --model net.pkl", "is a pickle file", "mien export"),
        ("analyze face.png --model tiny.safetensors", "the training form", "give tiny.onnx"),
        ("analyze face.png --model faces.h5", "is a store", "mien evaluate faces.h5 --model"),
        ("bench --model run", "the folder of a training run", "mien export run"),
        ("quantize run --data faces.h5 --out q.onnx", "the folder of a training run", "mien export run"),
        ("evaluate run", "is the folder of a training run, expected a store", "mien compare run --data"),
        ("evaluate tiny.onnx --model faces.h5", "is an ONNX model, expected a store", "--model tiny.onnx"),
        ("evaluate labels.csv", "is a CSV file, expected a store", "mien data build"),
        ("compare run --data labels.csv", "is a CSV file, expected a store", "mien data build"),
        ("data show photos", "is a folder, expected a store", "mien data build folder photos"),
        ("data build folder faces.h5 --out x.h5", "is a store already", "mien train RECIPE --data faces.h5"),
        ("train faces.h5 --data mien-s", "is a store", "mien train RECIPE --data faces.h5"),
        ("train run --data faces.h5", "the folder of a training run, expected a recipe", "--resume run"),
        ("train tiny.onnx --data faces.h5", "is an ONNX model, expected a recipe", "--from tiny.safetensors"),
        ("train --from tiny.onnx --data faces.h5", "training cannot start from", "tiny.safetensors"),
        ("train --from run/best.ckpt --data faces.h5", "training cannot start from", "give the run's folder: run"),
        ("train mien-x --data faces.h5", "no such recipe", "did you mean mien-"),
        ("export tiny.onnx --data faces.h5 --out x.onnx", "expected the folder of a training run", "exported already"),
        ("export faces.h5 --data run --out x.onnx", "is a store", "mien train"),
        ("export nowhere --data faces.h5 --out x.onnx", "no such folder", "recipe.toml"),
        ("average run/best.ckpt run --out y", "a checkpoint of a training run", "give the run's folder: run"),
        ("models fetch mien-s", "no weights 'mien-s'", "is in the package"),
        ("data build fer2013 labels.csv --out x.h5", "'labels.csv' is given without an option", "--csv labels.csv"),
    ],
)
def test_swapped_and_foreign_files_are_named(said: Said, words: str, message: str, hint: str) -> None:
    code, text = said(*words.split())
    assert 2 <= code <= 7
    assert message in text
    assert hint in text
    assert "Traceback" not in text


def test_a_best_checkpoint_is_exported(said: Said, place: Path) -> None:
    code, text = said(*["export", "run/best.ckpt", "--data", "faces.h5", "--out", "again.onnx"])
    assert code == 0, text
    assert (place / "again.onnx").is_file()
    code, text = said(*["export", "run/best.ckpt", "--checkpoint", "last", "--data", "faces.h5", "--out", "other.onnx"])
    assert code == 2
    assert "contradict" in text
    assert not (place / "other.onnx").exists()


def test_a_best_checkpoint_is_compared_as_its_run(place: Path, tmp_path: Path) -> None:
    exported: list[Path] = []
    found = candidates([str(place / "run" / "best.ckpt")], lambda run, target: exported.append(run), tmp_path)
    assert exported == [place / "run"]
    assert found[0].error is None


def test_a_model_under_any_name_is_still_a_model(place: Path, tmp_path: Path) -> None:
    (tmp_path / "renamed.weights").write_bytes((place / "tiny.onnx").read_bytes())
    assert load_classifier(tmp_path / "renamed.weights").name == "tiny"
    assert recognise(tmp_path / "missing").kind == ""


# --- settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimiser.lr=1", "--set optimiser.lr=1: unknown key, did you mean optimizer.lr?"),
        ("lr=0.1", "--set lr=0.1: unknown key, did you mean optimizer.lr?"),
        ("optimizer.learning_rate=1", "did you mean optimizer.lr?"),
        ("batch-size=4", "--set batch-size=4: unknown key, did you mean batch_size?"),
        ("optimizer.lr=abc", "--set optimizer.lr=abc: input should be a valid number, got 'abc'"),
        ("optimizer.lr=0,01", "write 0.01"),
        ("optimizer=adam", "--set optimizer=adam: input should be an object, got 'adam'; it is a table"),
        ("fine_tune=True", "write true or false"),
        ("optimizer.lr", "--set optimizer.lr: has no value; write it as optimizer.lr=0.01"),
        ("=4", "--set =4: has no key"),
        ("model.name=resnet19", "--set model.name=resnet19: there is no network 'resnet19', did you mean resnet18?"),
        ("task=detect", "--set task=detect: there is no task 'detect'"),
        ("monitor=val/acc", "--set monitor=val/acc: there is no metric 'val/acc'"),
    ],
)
def test_a_wrong_setting_is_blamed_not_the_file(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("mien-s", [setting])
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert ".toml" not in caught.value.message
    assert "recipes" not in caught.value.message


def test_several_wrong_settings_and_a_wrong_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the settings: 2 errors") as caught:
        load_recipe("mien-s", ["optimiser.lr=1", "epochs=0"])
    assert caught.value.message.count("\n  --set ") == 2
    path = tmp_path / "own.toml"
    path.write_text('name = "a"\nepochz = 3\n[model]\nname = "plain"\n[heads.a]\nsource = "labels"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, ["batch_size=1"])
    assert caught.value.message.startswith(f"{path} and --set: 2 errors")
    assert "\n  epochz: unknown key" in caught.value.message
    with pytest.raises(ConfigError, match="epochs: is set twice: epochs=1 and epochs=2"):
        load_recipe("mien-s", ["epochs=1", "epochs=2"])
    assert load_recipe("mien-s", ["init_from=", "description=a,b"]).description == "a,b"


# --- the command line


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("anaylze face.png", "there is no command 'mien anaylze'", "did you mean analyze?"),
        ("analyse face.png", "there is no command 'mien analyse'", "did you mean analyze?"),
        ("face.png", "there is no command 'mien face.png'", "mien analyze face.png"),
        ("data bild fer2013", "no command 'mien data bild'", "did you mean build?"),
        ("data build fer", "no command 'mien data build fer'", "did you mean fer2013?"),
        ("analyze face.png --modle mien-s", "No such option: --modle", "did you mean --model?"),
        ("train mien-s --data faces.h5 --epochs 3", "No such option: --epochs", "--set epochs=..."),
        ("train mien-s --data faces.h5 --set epochs 3", "--set epochs: has no value", "write --set epochs=3"),
        ("analyze face.png --model mien-s --model mien-m", "--model is given 2 times", "A,B"),
        ("analyze face.png --emotions 7 --emotions 8", "--emotions is given 2 times", "all but one"),
        ("analyze face.png --emotions happy", "--emotions: expected at least two names", "always 1"),
        ("analyze face.png --emotions happy,joy", "--emotions: 'happy' and 'joy' are the same class", "once"),
        ("analyze face.png --abstain 50", "--abstain: expected a number 0-1, got 50", "50 percent is 0.5"),
        ("analyze face.png --abstain 0,5", "'0,5' is not a number", "write 0.5"),
        ("analyze face.png --min-score 120%", "--min-score: expected a number 0-1, got 1.2", ""),
        ("analyze face.png --threads 0", "--threads: expected a number from 1, got 0", ""),
        ("analyze face.png --min-face -1", "--min-face: expected a whole number of pixels above 0", ""),
        ("analyze face.png --detector whole-image --detect-size 64", "--detect-size: has no effect", "leave it out"),
        ("analyze face.png --detector whole-image --min-face 9", "--min-face: has no effect", "leave it out"),
        ("analyze face.png --detector Mien", "there is no detector 'Mien'", "did you mean mien?"),
        ("analyze face.png --detector opencv", "there is no detector 'opencv'", "yunet and haar"),
        ("analyze face.png --model mien_s", "there is no model 'mien_s'", "did you mean mien-s?"),
        ("analyze face.png --table photos", "'photos': it is a folder", "photos/faces.csv"),
        ("analyze face.png --table x.xlsx", "no table format for 'x.xlsx'", "x.csv, which Excel opens"),
        ("analyze face.png --table x.json", "no table format for 'x.json'", "x.jsonl"),
        ("analyze face.png --annotate labels.csv", "--annotate labels.csv: is a file", "a new folder"),
        ("analyze face.png --annotate out.jpg", "--annotate out.jpg: expected a folder", "--annotate out writes"),
        ("analyze face.png --table x.csv --style pyfeta", "there is no style 'pyfeta'", "did you mean pyfeat?"),
        ("analyze face.png --table x.csv.gz", "no table format for 'x.csv.gz'", "for example x.csv, and compress"),
        ("analyze face.png --table photos/.csv", "no table format for 'photos/.csv'", "for example photos/faces.csv"),
        ("analyze face.png --table x.csv --format jsonl", "x.csv and --format jsonl name two", "--table x.jsonl"),
        ("analyze face.png --format json", "--format has no effect without a table", "per line, is --json"),
        ("analyze face.png --format jsonl", "--format has no effect", "--table - --format jsonl prints one face"),
        ("analyze face.png --format parquet", "--format has no effect", "add --table out.parquet"),
        ("analyze face.png --min-score 2", "--min-score: expected a number 0-1, got 2", "for example 0.5"),
        ("analyze face.png --abstain 1.5", "--abstain: expected a number 0-1, got 1.5", "for example 0.5"),
        ("analyze face.png --every 2 --fps 3", "--every: cannot be combined with --fps", "omit one"),
        ("evaluate faces.h5 --split PublicTest", "unknown split 'PublicTest'", "did you mean val?"),
    ],
)
def test_what_is_mistyped_or_contradictory(said: Said, place: Path, words: str, message: str, hint: str) -> None:
    code, text = said(*words.split())
    assert code == 2
    assert message in text
    assert hint in text
    assert "Traceback" not in text
    assert not (place / "out.jpg").exists()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("analyze face.png --tta foo", "--tta: 'foo' is not one of 'none', 'flip', 'ten-crop'", "mien analyze --help"),
        ("analyze face.png --start abc", "--start: expected a time in seconds, or as 1:02:03.5, got 'abc'", "--help"),
        ("analyze face.png --abstain ja", "--abstain: 'ja' is not a number, such as 0.5 or 50%", "--help"),
        ("analyze face.png --model", "option '--model' requires an argument", "mien analyze --help"),
        ("analyze face.png --quiet=3", "option '--quiet' does not take a value", "mien analyze --help"),
        ("analyze", "the argument PATHS is missing", "see mien analyze --help"),
        ("quantize mien-s --data faces.h5", "option --out is missing", "see mien quantize --help"),
        ("analyze -help", "No such option: -help", "did you mean --help?"),
        ("-help", "No such option: -help", "did you mean --help?"),
        ("data -help", "No such option: -help", "did you mean --help?"),
        ("--versoin", "No such option: --versoin", "did you mean --version?"),
        ("--colour", "No such option: --colour", "see mien --help"),
    ],
)
def test_wrong_usage_has_the_form_of_every_other_error(said: Said, words: str, message: str, hint: str) -> None:
    code, text = said(*words.split())
    first, second = text.splitlines()
    assert (code, first) == (2, f"error: {message}")
    assert second.startswith("  try: ")
    assert hint in second


def test_a_group_alone_still_prints_its_help(said: Said) -> None:
    for words in ((), ("data",), ("--help",), ("data", "build", "--help")):
        text = said(*words)[1]
        assert "Commands" in text
        assert "error:" not in text


def test_percentages(said: Said) -> None:
    options = ("analyze", "face.png", "--faces-are-crops", "--json", "--quiet", "--model", "mien-s")
    code, text = said(*options, "--abstain", "100%")
    assert code == 0, text
    assert '"uncertain": true' in text
    assert said(*options, "--abstain", "1.0") == (0, text)
    assert '"uncertain": false' in said(*options, "--abstain", "0%")[1]


def test_quiet_leaves_out_messages_not_data(said: Said) -> None:
    code, text = said("analyze", "face.png", "--faces-are-crops", "--quiet", "--json", "--model", "mien-s")
    assert code == 0
    assert text.startswith('{"schema"')
    assert len(text.splitlines()) == 1


def test_home_where_the_shell_leaves_it(place: Path, tmp_path: Path) -> None:
    for name in ("face.png", "tiny.onnx"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    words = ("analyze", "~/face.png", "--detector=whole-image", "--model=mien-s,~/tiny.onnx", "--table=~/t.csv")
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    run = [sys.executable, "-m", "mien", *words]
    done = subprocess.run(run, capture_output=True, text=True, cwd=place, timeout=600, env=os.environ | home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.csv").is_file()


# --- in Python


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassifierOptions(abstain="50%"), "abstain: expected a number 0-1, got '50%'"),  # type: ignore[arg-type]
        (lambda: ClassifierOptions(threads="2"), "threads: expected a number from 1, got '2'"),  # type: ignore[arg-type]
        (lambda: ClassifierOptions(batch_size=1.5), "batch_size: expected a number"),  # type: ignore[arg-type]
        (lambda: ClassifierOptions(tta="flips"), "tta: unknown value 'flips'"),  # type: ignore[arg-type]
        (lambda: DetectorOptions(min_face="9"), "min_face: expected a whole number of pixels"),  # type: ignore[arg-type]
        (lambda: DetectorOptions(min_score="high"), "min_score: expected a number 0-1"),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_are_errors_of_options(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
