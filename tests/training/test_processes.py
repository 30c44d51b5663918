"""Two processes, started by the real command, learn what one does: the batches are the same, only shared."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.commands import run_command
from tests.tiny import tiny_recipe

from mien.datasets import Samples, store
from mien.errors import EXIT_CODES, ConfigError
from mien.training.checkpoints import read
from mien.training.recipe import to_toml

CALM = {"flip": 0, "rotation": 0, "scale": 1, "stretch": 1, "shear": 0, "shift": 0, "gain": 1, "offset": 0}
# No batch norm, no dropout, no chance in the images: whatever differs, differs because there are two.
PLAIN: dict[str, Any] = {
    "model": {"name": "fourlayer", "options": {"width": 0.125, "dropout": 0.0, "dense_dropout": 0.0}},
    "heads": {"fer2013": {"source": "labels"}},
    "augmentation": CALM | {"downscale": 0, "erase": 0, "mixup": 0},
    "ema_decay": 0.9,
    "epochs": 2,
    "batch_size": 16,
}


def train(folder: Path, *arguments: object) -> None:
    """The command in this process: one process learns the same wherever it is started."""
    done = run_command("train", *arguments, "--data", "drawn.h5", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    store.save(tiny_samples, folder / "drawn.h5")
    (folder / "two.toml").write_text(to_toml(tiny_recipe(**PLAIN)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def two(place: Path) -> "subprocess.CompletedProcess[str]":
    """Two processes, which start each other; their run is the folder `two`."""
    line = ["train", "two.toml", "--data", "drawn.h5", "--out", "two", "--quiet", "--devices", "2", "--strategy", "ddp"]
    return subprocess.run([sys.executable, "-m", "mien", *line], capture_output=True, text=True, timeout=600, cwd=place)


def test_two_learn_what_one_does(place: Path, two: "subprocess.CompletedProcess[str]") -> None:
    assert two.returncode == 0, two.stderr
    train(place, "two.toml", "--out", "one")
    train(place, "two.toml", "--out", "half", "--set", "batch_size=8")  # as if each of two had its own batches
    first, second, other = (read(place / name / "last.ckpt")["state_dict"] for name in ("one", "two", "half"))
    assert set(first) == set(second)
    apart = {name: float((first[name] - second[name]).abs().max()) for name in first}
    assert max(apart.values()) < 2e-4  # sums of floats in another order
    assert max(float((first[name] - other[name]).abs().max()) for name in first) > 20 * max(apart.values())
    rows = [(place / name / "metrics.csv").read_text().splitlines() for name in ("one", "two")]
    assert rows[0][0] == rows[1][0]
    figures = [np.array([row.split(",") for row in part[1:]], float) for part in rows]
    np.testing.assert_allclose(figures[0], figures[1], atol=1e-4)
    assert two.stdout.count("best checkpoint:") == 1  # one of them speaks, and one writes
    names = [sorted(path.name for path in (place / name).iterdir()) for name in ("one", "two")]
    assert names[0] == names[1]


def test_a_run_of_two_goes_on_as_one(place: Path, two: "subprocess.CompletedProcess[str]", tmp_path: Path) -> None:
    """Hardware is no part of a recipe."""
    assert two.returncode == 0, two.stderr
    moved = tmp_path / "moved"
    shutil.copytree(place / "two", moved)
    recipe = (moved / "recipe.toml").read_text(encoding="utf-8")
    (moved / "recipe.toml").write_text(recipe.replace("epochs = 2", "epochs = 3", 1), encoding="utf-8")
    last = read(moved / "last.ckpt")
    assert (last["state"]["epoch"], last["state"]["done"]) == (2, True)
    torch.save(last | {"state": last["state"] | {"done": False}}, moved / "last.ckpt")  # as after two epochs of three
    train(place, "--resume", moved)
    assert read(moved / "last.ckpt")["state"]["epoch"] == 3
    assert len((moved / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_a_batch_that_cannot_be_shared(place: Path) -> None:
    line = ["train", "two.toml", "--data", "drawn.h5", "--out", "odd", "--devices", 2, "--set", "batch_size=15"]
    done = run_command(*line, cwd=place)
    assert done.returncode == EXIT_CODES[ConfigError]
    assert "a batch of 15 cannot be divided equally among 2 processes" in done.stderr
    assert "batch_size=14" in done.stderr
    assert not (place / "odd").exists()
