"""Runs: what they leave behind, that a killed one resumes to the same weights, and what they refuse."""

import csv
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tests.tiny import taught_recipe, tiny_recipe

from mien.datasets import Samples, store
from mien.errors import ConfigError, MienError, OutputError, WeightsError
from mien.training import ExpressionRecipe, FitOptions, fit, load_recipe
from mien.training.checkpoints import load_module, read
from mien.training.expression.module import ExpressionModule
from mien.training.loop import Callback, Run
from mien.training.recipe import to_toml


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_module(ExpressionModule, folder / f"{name}.ckpt").state_dict()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


# --- what a run leaves behind


def test_a_run_leaves_its_recipe_data_log_curves_and_checkpoints(tiny_run: Path, tiny_samples: Samples) -> None:
    names = {path.name for path in tiny_run.iterdir() if path.is_file()}
    assert names == {"recipe.toml", "data.json", "metrics.csv", "curves.png", "last.ckpt", "best.ckpt"}
    assert load_recipe(tiny_run / "recipe.toml") == taught_recipe()
    data = json.loads((tiny_run / "data.json").read_text(encoding="utf-8"))
    assert data["counts"] == tiny_samples.counts()
    assert data["about"] == tiny_samples.about
    rows = log_of(tiny_run)
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 26)]
    columns = {
        "epoch",
        "train/loss",
        "val/loss",
        *(f"val/{h}/{k}" for h in tiny_recipe().heads for k in ("loss", "accuracy", "mean_recall")),
        *(f"train/{h}/accuracy" for h in tiny_recipe().heads),
    }
    assert set(rows[0]) == columns
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert cv2.imread(str(tiny_run / "curves.png")) is not None


def test_the_validation_loss_is_the_weighted_sum_of_the_heads(tiny_run: Path) -> None:
    for row in log_of(tiny_run):
        parts = float(row["val/votes/loss"]) + float(row["val/fer2013/loss"])
        assert float(row["val/loss"]) == pytest.approx(parts, rel=1e-4)


def test_checkpoints_hold_plain_types_alone(tiny_run: Path) -> None:
    for name in ("best", "last"):
        checkpoint = torch.load(tiny_run / f"{name}.ckpt", weights_only=True)
        assert checkpoint["hyper_parameters"]["classes"]["fer2013"][0] == "anger"


def test_the_loaded_task_has_the_averaged_weights(tiny_run: Path, tiny_samples: Samples) -> None:
    """The log's last figures are those of the average; the weights of the last step give others."""
    task, val = load_module(ExpressionModule, tiny_run / "last.ckpt"), tiny_samples.only("val")
    raw = torch.load(tiny_run / "last.ckpt", weights_only=True)
    assert not all(torch.equal(raw["state_dict"][name], value) for name, value in raw["training"]["weights"].items())
    last = log_of(tiny_run)[-1]
    with torch.no_grad():
        logits = task(torch.from_numpy(val.images[:, None]).float() / 255)["fer2013"]
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(val.targets))
    assert float(loss) == pytest.approx(float(last["val/fer2013/loss"]), rel=1e-3)


def test_it_learns(tiny_run: Path) -> None:
    rows = log_of(tiny_run)
    for figure, share in (("train/loss", 0.7), ("val/votes/loss", 0.8), ("val/fer2013/loss", 0.7)):
        assert float(rows[-1][figure]) < share * float(rows[0][figure]), figure


class Steps(Callback):
    """The learning rate, the decays and the side of the images at each step, by epoch."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.groups: list[dict[str, Any]] = []
        self.sides: dict[int, set[int]] = {}

    def on_start(self, run: Run) -> None:
        self.groups = run.optimizer.param_groups

        def note(_: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
            self.sides.setdefault(run.state.epoch, set()).add(given[0].shape[-1])

        module = run.module
        assert isinstance(module, ExpressionModule)
        begin = module.training_step

        def step(batch: Any) -> Any:
            with_hook = module.network.register_forward_pre_hook(note)
            try:
                return begin(batch)
            finally:
                with_hook.remove()

        module.training_step = step  # type: ignore[method-assign]

    def on_step_start(self, run: Run) -> None:
        self.rates.append(run.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_the_rate_warms_up_to_its_height_and_falls(tiny_samples: Samples, tmp_path: Path, name: str) -> None:
    """Read from the optimizer at every step; a warm-up of part of a step must not exceed the rate."""
    recipe = tiny_recipe(optimizer={"name": name, "lr": 0.05}, schedule={"warmup": 0.1, "final": 0.1}, ema_decay=0)
    seen = Steps()
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False, callbacks=[seen]))
    assert max(seen.rates) == pytest.approx(0.05)
    falling = seen.rates[seen.rates.index(max(seen.rates)) :]
    assert falling == sorted(falling, reverse=True)
    assert 0.005 <= falling[-1] < 0.01
    assert [group["weight_decay"] for group in seen.groups] == [recipe.optimizer.weight_decay, 0]
    assert all(weight.ndim <= 1 for weight in seen.groups[1]["params"])


def test_small_images_come_first(tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=4, augmentation={"sizes": [24, 48]}, ema_decay=0)
    seen = Steps()
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False, callbacks=[seen]))
    assert seen.sides == {0: {24}, 1: {24}, 2: {48}, 3: {48}}


# --- resuming

PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from mien.datasets import store
from mien.training import Callback, FitOptions, fit, load_recipe
class Kill(Callback):
    def on_step_end(self, run):
        if (run.state.epoch, run.step) == (1, 1):
            os.kill(os.getpid(), signal.SIGKILL)
recipe, samples, folder = load_recipe(sys.argv[1]), store.load(sys.argv[2]), Path(sys.argv[3])
fit(recipe.model_copy(update={"epochs": 1}), samples, folder.with_name("short"), FitOptions(progress=False))
fit(recipe, samples, folder, FitOptions(progress=False, callbacks=[Kill()]))
"""


@pytest.fixture(scope="module")
def long_recipe() -> ExpressionRecipe:
    return tiny_recipe(epochs=3, name="long")


@pytest.fixture(scope="module")
def whole(long_recipe: ExpressionRecipe, tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that nothing disturbed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(long_recipe, tiny_samples, folder, FitOptions(progress=False))
    return folder


def test_the_same_recipe_gives_the_same_weights(
    whole: Path, long_recipe: ExpressionRecipe, tiny_samples: Samples, tmp_path: Path
) -> None:
    fit(long_recipe, tiny_samples, tmp_path / "again", FitOptions(progress=False))
    assert_equal(weights(tmp_path / "again"), weights(whole))
    assert log_of(tmp_path / "again") == log_of(whole)


def test_a_killed_run_resumes_to_the_same_result_and_writes_no_messages(
    whole: Path, long_recipe: ExpressionRecipe, tiny_samples: Samples, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(to_toml(long_recipe), encoding="utf-8")
    store.save(tiny_samples, tmp_path / "faces.h5")
    folder = tmp_path / "run"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "recipe.toml"), str(tmp_path / "faces.h5"), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.stdout + run.stderr == ""  # not even of the complete run: progress is off
    assert run.returncode == -signal.SIGKILL
    assert torch.load(folder / "last.ckpt", weights_only=True)["state"]["epoch"] == 1
    fit(long_recipe, tiny_samples, folder, FitOptions(resume=True, progress=False))
    assert_equal(weights(folder), weights(whole))
    assert_equal(weights(folder, "best"), weights(whole, "best"))
    assert log_of(folder) == log_of(whole)


class Stop(Exception):
    """What ends a run in these tests."""


class Stopping(Callback):
    """Ends a run at the third step of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_step_start(self, run: Run) -> None:
        if (run.state.epoch, run.step) == (self.epoch, 2):
            raise Stop


def cut_off(recipe: ExpressionRecipe, samples: Samples, folder: Path, epoch: int) -> None:
    with pytest.raises(Stop):
        fit(recipe, samples, folder, FitOptions(progress=False, callbacks=[Stopping(epoch)]))


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("ema_decay", [0, 0.5])
def test_a_run_cut_off_in_any_epoch_resumes_to_the_same_result(
    tiny_samples: Samples, tmp_path: Path, epoch: int, ema_decay: float
) -> None:
    recipe = tiny_recipe(
        epochs=3, ema_decay=ema_decay, optimizer={"name": "adamw", "lr": 0.01}, monitor="val/votes/accuracy"
    )
    fit(recipe, tiny_samples, tmp_path / "whole", FitOptions(progress=False))
    cut_off(recipe, tiny_samples, tmp_path / "cut", epoch)
    fit(recipe, tiny_samples, tmp_path / "cut", FitOptions(resume=True, progress=False))
    for name in ("last", "best"):
        assert_equal(weights(tmp_path / "cut", name), weights(tmp_path / "whole", name))
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_a_finished_run_resumed_stays_as_it_is(
    whole: Path, long_recipe: ExpressionRecipe, tiny_samples: Samples, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    best = fit(long_recipe, tiny_samples, tmp_path / "run", FitOptions(resume=True, progress=False))
    assert best == tmp_path / "run" / "best.ckpt"
    assert_equal(weights(tmp_path / "run"), weights(whole))
    assert log_of(tmp_path / "run") == log_of(whole)


def test_early_stopping(tiny_samples: Samples, tmp_path: Path) -> None:
    """At a rate of next to nothing no accuracy gets better."""
    recipe = tiny_recipe(
        epochs=30,
        optimizer={"lr": 1e-9},
        stopping={"monitor": "val/fer2013/accuracy", "patience": 2},
        ema_decay=0,
        heads={"fer2013": {"source": "labels"}},
        model={"name": "plain", "options": {"stem": 2, "widths": [2], "depths": [1]}},
    )
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False))
    assert 3 <= len(log_of(tmp_path / "run")) < 30


# --- what is refused


def refused(
    kind: type[MienError], told: str, recipe: ExpressionRecipe, samples: Samples, folder: Path, resume: bool
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(kind, match=told) as caught:
        fit(recipe, samples, folder, FitOptions(resume=resume, progress=False))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_folder_that_holds_a_run(run: Path, tiny_samples: Samples) -> None:
    refused(OutputError, "already contains a run", taught_recipe(), tiny_samples, run, False)


def test_resuming_with_another_recipe(run: Path, tiny_samples: Samples) -> None:
    refused(ConfigError, "another recipe", tiny_recipe(epochs=5), tiny_samples, run, True)
    (run / "recipe.toml").unlink()
    refused(ConfigError, "another recipe", taught_recipe(), tiny_samples, run, True)


def test_resuming_on_other_data(run: Path, tiny_samples: Samples) -> None:
    fewer = tiny_samples.subset(np.arange(1, len(tiny_samples)))
    images = tiny_samples.images.copy()
    images[3, 20, 20] ^= 1
    votes = np.asarray(tiny_samples.votes).copy()
    votes[0, 0] += 1
    for other in (fewer, replace(tiny_samples, images=images), replace(tiny_samples, votes=votes)):
        refused(ConfigError, "other data", taught_recipe(), other, run, True)
    # Without votes the recipe is adapted, and it is the data that changed it.
    optional = taught_recipe().model_dump()
    optional["heads"]["votes"]["optional"] = True
    recipe = ExpressionRecipe.model_validate(optional)
    (run / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    without = replace(tiny_samples, votes=None)
    refused(ConfigError, "other data", recipe, without, run, True)
    refused(ConfigError, "another recipe: epochs", recipe.model_copy(update={"epochs": 9}), without, run, True)
    (run / "recipe.toml").write_text(to_toml(taught_recipe()), encoding="utf-8")
    (run / "data.json").write_text("{", encoding="utf-8")
    refused(ConfigError, "other data", taught_recipe(), tiny_samples, run, True)


def test_resuming_nothing(tiny_samples: Samples, tmp_path: Path) -> None:
    refused(ConfigError, "nothing to resume", tiny_recipe(), tiny_samples, tmp_path / "run", True)
    assert not (tmp_path / "run").exists()


class Bomb:
    """Pickled code: unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_checkpoint_with_code_in_it_is_refused_unrun(
    run: Path, tiny_samples: Samples, tmp_path: Path, form: str
) -> None:
    mark = tmp_path / "mark"
    for name in ("last.ckpt", "best.ckpt"):
        if form == "torch":
            checkpoint = torch.load(run / name, weights_only=True)
            torch.save(checkpoint | {"state": Bomb(mark)}, run / name)
        else:
            (run / name).write_bytes(pickle.dumps({"state_dict": Bomb(mark)}))
    refused(WeightsError, "contains more than weights", taught_recipe(), tiny_samples, run, True)
    with pytest.raises(WeightsError, match="contains more than weights"):
        load_module(ExpressionModule, run / "best.ckpt")
    assert not mark.exists()


@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_damaged_checkpoint(run: Path, tiny_samples: Samples, share: float) -> None:
    content = (run / "last.ckpt").read_bytes()
    (run / "last.ckpt").write_bytes(content[: int(share * len(content))])
    refused(WeightsError, r"last\.ckpt: ", taught_recipe(), tiny_samples, run, True)
    with pytest.raises(WeightsError, match=r"last\.ckpt: "):
        load_module(ExpressionModule, run / "last.ckpt")


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such checkpoint"):
        load_module(ExpressionModule, tmp_path / "best.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(WeightsError, match=r"foreign\.ckpt: "):
        load_module(ExpressionModule, tmp_path / "foreign.ckpt")


@pytest.mark.parametrize(
    "model", [{"name": "plane"}, {"name": "plain", "options": {"size": 3}}, {"name": "plain", "options": {"stem": "x"}}]
)
def test_a_wrong_network_leaves_no_folder(tiny_samples: Samples, tmp_path: Path, model: dict[str, object]) -> None:
    refused(ConfigError, "network", tiny_recipe(model=model), tiny_samples, tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(tiny_samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    refused(OutputError, "cannot be written", tiny_recipe(), tiny_samples, tmp_path / "file" / "run", False)
    refused(OutputError, "cannot be written", tiny_recipe(), tiny_samples, tmp_path / "file", False)


class Filling(Callback):
    """Limits the size of files from the second epoch on, which is as good as a full disk."""

    def on_step_start(self, run: Run) -> None:
        if (run.state.epoch, run.step) == (1, 0):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk_leaves_the_checkpoint_of_the_epoch_before(tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match=r"ckpt: cannot be written: ") as caught:
            fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False, callbacks=[Filling()]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--resume" in caught.value.hint
    for name in ("last", "best"):
        assert read(tmp_path / "run" / f"{name}.ckpt")["state"]["epoch"] == 1
    assert not list((tmp_path / "run").glob("*.partial"))
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(resume=True, progress=False))
    assert [row["epoch"] for row in log_of(tmp_path / "run")] == ["1", "2", "3"]
