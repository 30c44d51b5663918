"""Options of the commands that classify: one model or several, votes, classes, and what is refused."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import draw_face, drawn_samples
from tests.expression.test_ensemble import linear_model

from mien.datasets import store
from mien.emotions import vocabulary
from mien.expression import ClassifierOptions, Ensemble, load_classifier


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a crop, a store and a model of seven classes."""
    folder = tmp_path_factory.mktemp("ensemble")
    Image.fromarray(draw_face("happiness", np.random.default_rng(0))).save(folder / "face.png")
    store.save(drawn_samples(folder / "csv", per_class=6), folder / "faces.h5")
    linear_model(folder / "seven.onnx", vocabulary(7), size=32)
    return folder


def mien(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_command(*arguments, cwd=place)


def test_analyze_with_an_ensemble(place: Path) -> None:
    options = ("--faces-are-crops", "--no-align", "--json", "--model", "mien-s,seven.onnx")
    done = mien(place, "analyze", "face.png", *options)
    assert done.returncode == 0, done.stderr
    (face,) = json.loads(done.stdout)["faces"]
    pixels = np.asarray(Image.open(place / "face.png").convert("RGB"))
    expected = Ensemble(ClassifierOptions(("mien-s", place / "seven.onnx"), prior="auto"))([pixels])[0]
    assert face["emotions"] == pytest.approx(expected.as_dict(), abs=1e-6)


def test_analyze_with_test_time_augmentation(place: Path) -> None:
    options = ("analyze", "face.png", "--detector", "whole-image", "--no-align", "--json", "--model", "mien-s")
    single, flipped = (json.loads(mien(place, *options, "--tta", tta).stdout)["faces"][0] for tta in ("none", "flip"))
    pixels = np.asarray(Image.open(place / "face.png").convert("RGB"))
    expected = load_classifier(ClassifierOptions("mien-s", tta="flip", prior="soft"))([pixels])[0]
    assert flipped["emotions"] == pytest.approx(expected.as_dict(), abs=1e-6)
    assert flipped["emotions"] != single["emotions"]


def test_evaluate(place: Path) -> None:
    options = ("faces.h5", "--protocol", "majority", "--json", "--model", "mien-s,seven.onnx", "--vote", "hard")
    done = mien(place, "evaluate", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"] == "mien-s + seven (hard vote)"
    assert list(found["protocols"]) == ["majority"]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--model", "mien-m", "--vote", "hard"), "--vote needs several models", "--model A,B"),
        (("--model", "mien-s,seven.onnx", "--vote", "loud"), "'loud' is not one of", "hard"),
        (("--model", "seven.onnx", "--emotions", "8"), "contempt", "7"),
        (("--model", "mien-s,nobody"), "no model 'nobody'", "mien-m"),
        (("--emotions", "9"), "no vocabulary of 9 emotions", "6, 7, 8, 10"),
        (("--min-face", "9"), "--min-face has no effect with --faces-are-crops", "omit"),
        (("--detector", "haar"), "--detector has no effect with --faces-are-crops", "omit"),
        (("--any-rotaton",), "No such option: --any-rotaton", "--any-rotation"),
        (("--threads", "0"), "--threads: expected a number from 1", ""),
    ],
)
def test_what_is_refused(place: Path, options: tuple[str, ...], message: str, hint: str) -> None:
    done = mien(place, "analyze", "face.png", "--faces-are-crops", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_compare_under_a_prior(place: Path) -> None:
    options = ("--data", "faces.h5", "--protocol", "majority", "--prior", "uniform", "--json")
    done = mien(place, "compare", "mien-s", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["prior"] == "uniform"
    scores = found["rows"][0]["evaluation"]["protocols"]["majority"]
    assert "prior uniform" in scores["protocol"]
    assert scores["mean_recall"]["value"] is not None
    assert scores["calibration_error_above_chance_at_assumed_shares"] is not None
    assert {row["emotion"] for row in scores["rare_classes"]} <= set(vocabulary(8))


@pytest.mark.parametrize(
    ("value", "told"), [("unifrom", "--prior: unknown value 'unifrom'"), ("none.json", "none.json: cannot be read")]
)
def test_priors_that_are_refused(place: Path, value: str, told: str) -> None:
    done = mien(place, "analyze", "face.png", "--faces-are-crops", "--prior", value)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
