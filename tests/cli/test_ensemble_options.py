"""`--ensemble` and `--vote` of the commands that read."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.drawn import draw_face, drawn_samples
from tests.expression.test_ensemble import linear_model

from mien.datasets import store
from mien.emotions import vocabulary
from mien.expression import Ensemble


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a crop, a store and a model of seven classes."""
    folder = tmp_path_factory.mktemp("ensemble")
    Image.fromarray(draw_face("happiness", np.random.default_rng(0))).save(folder / "face.png")
    store.save(drawn_samples(folder / "csv", per_class=6), folder / "faces.h5")
    linear_model(folder / "seven.onnx", vocabulary(7), size=32)
    return folder


def mien(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mien", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=600)


@pytest.mark.parametrize(
    "typed", [("--ensemble", "mien-s,seven.onnx"), ("--ensemble", "mien-s", "--ensemble", "seven.onnx")]
)
def test_analyze(place: Path, typed: tuple[str, ...]) -> None:
    done = mien(place, "analyze", "face.png", "--faces-are-crops", "--json", *typed)
    assert done.returncode == 0, done.stderr
    (face,) = json.loads(done.stdout)["faces"]
    pixels = np.asarray(Image.open(place / "face.png").convert("RGB"))
    expected = Ensemble(["mien-s", place / "seven.onnx"])([pixels])[0]
    assert face["emotions"] == pytest.approx(expected.as_dict(), abs=1e-6)


def test_evaluate(place: Path) -> None:
    options = ("faces.h5", "--protocol", "majority", "--json", "--model", "mien-s,seven.onnx", "--vote", "hard")
    done = mien(place, "evaluate", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"] == "mien-s + seven (hard vote)"
    assert list(found["protocols"]) == ["majority"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vote", "hard"), "the vote 'hard' is of an ensemble"),
        (("--ensemble", "mien-s", "--vote", "loud"), "there is no vote 'loud'"),
        (("--ensemble", "mien-s", "--model", "mien-s"), "two ways to read"),
        (("--ensemble", "seven.onnx", "--emotions", "8"), "no member tells all of"),
        (("--ensemble", "mien-s,nobody"), "there is no model 'nobody'"),
    ],
)
def test_what_is_refused(place: Path, options: tuple[str, ...], message: str) -> None:
    done = mien(place, "analyze", "face.png", "--faces-are-crops", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
