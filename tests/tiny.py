"""The smallest network that has everything: what tests train, export and read with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import common_folder, once
from tests.drawn import drawn_samples

from mien.datasets import Samples
from mien.training import ExpressionRecipe, FitOptions, export_run, fit

LANDMARKS = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]]


def tiny_recipe(**changes: Any) -> ExpressionRecipe:
    """A recipe of seconds, in full precision; `changes` replace whole keys."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "epochs": 2,
        "batch_size": 32,
        "precision": "32-true",
        "ema_decay": 0.5,
        "model": {"name": "plain", "options": {"stem": 4, "widths": [6, 8], "depths": [1, 2], "dropout": 0.1}},
        "input": {"landmarks": LANDMARKS},
        "heads": {"votes": {"source": "votes"}, "fer2013": {"source": "labels", "label_smoothing": 0.05}},
        "optimizer": {"lr": 0.05},
        "schedule": {"warmup": 0.5},
    }
    return ExpressionRecipe.model_validate(plain | changes)


def taught_recipe() -> ExpressionRecipe:
    """The same at length and without most augmentation: it gets two drawn faces out of three right."""
    calm = {"rotation": 0, "scale": 1, "stretch": 1, "shear": 0, "shift": 0.04, "gain": 1, "offset": 0, "downscale": 0}
    return tiny_recipe(
        epochs=25,
        batch_size=8,
        model={"name": "plain", "options": {"stem": 8, "widths": [16, 24], "depths": [1, 2], "dropout": 0.0}},
        augmentation=calm | {"erase": 0, "mixup": 0},
        optimizer={"name": "adamw", "lr": 0.02},
    )


@pytest.fixture(scope="session")
def tiny_samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Drawn faces with votes, seven classes, all three splits: 161 to train on, 48 and 48 to judge."""
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=20)


@pytest.fixture(scope="session")
def tiny_run(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `taught_recipe`; made once, whichever folder's or process's tests ask first."""
    folder = common_folder(tmp_path_factory) / "tiny-run"
    torch.set_num_threads(1)
    with once(folder) as new:
        if new:
            fit(taught_recipe(), tiny_samples, folder, FitOptions(progress=False))
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_run: Path, tiny_samples: Samples) -> Path:
    """That run's exported file, its training form and its info beside it."""
    folder = tiny_run.with_name("tiny-model")
    with once(folder) as new:
        if new:
            export_run(tiny_run, tiny_samples.only("val"), folder / "tiny.onnx", licence="Apache-2.0")
    return folder / "tiny.onnx"
