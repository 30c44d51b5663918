"""Two processes, started by the real command, learn what one does: the batches are the same, only shared."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


def train(folder: Path, out: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    base = ["train", "two.toml", "--data", "drawn.h5", "--out", out, "--quiet"]
    return subprocess.run(
        [sys.executable, "-m", "mien", *base, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
    )


@pytest.fixture(scope="module")
def place(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    store.save(tiny_samples, folder / "drawn.h5")
    (folder / "two.toml").write_text(to_toml(tiny_recipe(**PLAIN)), encoding="utf-8")
    return folder


def test_two_learn_what_one_does(place: Path) -> None:
    one = train(place, "one")
    two = train(place, "two", "--devices", 2, "--strategy", "ddp")
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    half = train(place, "half", "--set", "batch_size=8")  # what two would do if each had its own batches
    assert half.returncode == 0, half.stderr
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


def test_a_run_of_two_goes_on_as_one(place: Path) -> None:
    """Hardware is no part of a recipe."""
    begun = train(place, "moved", "--devices", 2, "--set", "epochs=1")
    assert begun.returncode == 0, begun.stderr
    again = subprocess.run(
        [sys.executable, "-m", "mien", "train", "--resume", "moved", "--data", "drawn.h5", "--quiet"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=place,
    )
    assert again.returncode == 0, again.stderr


def test_a_batch_that_cannot_be_shared(place: Path) -> None:
    done = train(place, "odd", "--devices", 2, "--set", "batch_size=15")
    assert done.returncode == EXIT_CODES[ConfigError]
    assert "a batch of 15 cannot be divided equally among 2 processes" in done.stderr
    assert "batch_size=14" in done.stderr
    assert not (place / "odd").exists()
