"""All steps by the commands that users type: CSV files of drawn faces, store, training, export, analysis."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.commands import run_command
from tests.drawn import draw_face, write_fer_csv

RECIPE = """
name = "drawn"
epochs = 15
batch_size = 16
ema_decay = 0.9
precision = "32-true"
[model]
name = "plain"
[model.options]
stem = 8
widths = [16, 32]
depths = [1, 2]
dropout = 0.0
[input]
mean = [0.5]
std = [0.25]
[heads.votes]
source = "votes"
[heads.fer2013]
source = "labels"
[augmentation]
rotation = 5.0
scale = 1.05
stretch = 1.0
shear = 0.0
shift = 0.04
erase = 0.0
downscale = 0.0
mixup = 0.0
[optimizer]
name = "adamw"
lr = 0.02
[schedule]
warmup = 0.5
"""


def mien(*arguments: object, cwd: Path) -> str:
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything up to the export has been done."""
    place = tmp_path_factory.mktemp("way")
    csv, votes = write_fer_csv(place, np.random.default_rng(0), per_class=60)
    mien("data", "build", "fer2013", "--csv", csv, "--votes", votes, "--out", "faces.h5", cwd=place)
    (place / "drawn.toml").write_text(RECIPE, encoding="utf-8")
    mien("train", "drawn.toml", "--data", "faces.h5", "--quiet", cwd=place)
    mien("export", "runs/drawn", "--data", "faces.h5", "--out", "drawn.onnx", cwd=place)
    return place


def test_everything_is_left_behind(made: Path) -> None:
    for name in ("recipe.toml", "data.json", "metrics.csv", "curves.png", "best.ckpt", "last.ckpt"):
        assert (made / "runs" / "drawn" / name).stat().st_size > 0
    for suffix in (".onnx", ".safetensors", ".entry.toml"):
        assert (made / f"drawn{suffix}").stat().st_size > 0


def test_it_has_learnt(made: Path) -> None:
    found = json.loads(mien("evaluate", "faces.h5", "--model", "drawn.onnx", "--json", cwd=made))
    assert set(found["protocols"]) == {"labels", "majority", "argmax"}
    assert found["protocols"]["labels"]["accuracy"]["value"] > 0.5  # by chance: 0.14
    assert "PublicTest" in found["protocols"]["labels"]["protocol"]


def test_it_reads_new_faces(made: Path) -> None:
    rng = np.random.default_rng(99)
    place = made / "new"
    place.mkdir()
    for index in range(12):
        cv2.imwrite(str(place / f"happiness{index}.png"), draw_face("happiness", rng))
    options = ("--model", "../drawn.onnx", "--faces-are-crops", "--no-align", "--json", "--emotions", 7)
    printed = mien("analyze", place, *options, cwd=place)
    read = [json.loads(line)["faces"][0]["emotion"] for line in printed.splitlines()]
    assert read.count("happiness") >= 6


def test_the_text_report_names_its_protocol(made: Path) -> None:
    done = run_command("evaluate", "faces.h5", "--model", "drawn.onnx", "--protocol", "majority", cwd=made)
    assert "FER+ majority" in done.stdout
    assert "PublicTest" in done.stdout
    assert "macro F1" in done.stdout


def test_a_finished_run_is_not_overwritten(made: Path) -> None:
    result = run_command("train", "drawn.toml", "--data", "faces.h5", "--quiet", cwd=made)
    assert result.returncode == 7
    assert "already contains a run" in result.stderr
