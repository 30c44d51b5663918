"""Fine-tuning rounds, resuming by the run's folder, Ctrl-C: the real command, with real signals in real processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.commands import run_command
from tests.tiny import tiny_recipe

from mien.assets.manifest import FOLDER, shipped_models
from mien.datasets import Samples, store
from mien.errors import EXIT_CODES, ConfigError, StoppedError
from mien.training import ExpressionRecipe, FitOptions, fit, load_recipe, recipe_names, resolve_recipe, task_spec
from mien.training import weights as weights_module
from mien.training.checkpoints import read
from mien.training.recipe import to_toml
from mien.training.weights import init_weights, load_source


@pytest.fixture(scope="module")
def data(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "drawn.h5"
    store.save(tiny_samples, path)
    return path


def recipe_file(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.toml"
    path.write_text(to_toml(tiny_recipe(**changes)), encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mien", "train", *map(str, arguments)]


def mien(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command("train", *arguments)


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(run / f"{name}.ckpt")["state_dict"]
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


class TestFrom:
    def test_a_shipped_model_gives_its_weights_and_a_tenth_of_its_rate(self) -> None:
        recipe, notes = resolve_recipe(None, ["epochs=1"], init_from="mien-detector")
        assert recipe.optimizer.lr == pytest.approx(load_recipe("mien-detector").optimizer.lr / 10)
        assert any("a tenth of that run's" in line for line in notes)

    def test_a_rate_that_is_given_is_kept(self) -> None:
        recipe, _ = resolve_recipe("mien-detector", ["optimizer.lr=0.02"], init_from="mien-detector")
        assert recipe.optimizer.lr == 0.02

    def test_every_shipped_model_with_a_training_form_can_be_started_from(self) -> None:
        for name in recipe_names():
            if (FOLDER / f"{name}.safetensors").exists():
                assert resolve_recipe(None, [], init_from=name)[0].init_from == name
                assert load_source(name).weights

    def test_weights_are_loaded_once(self, tiny_samples: Samples, tmp_path: Path, monkeypatch: Any) -> None:
        loaded: list[str] = []
        real = weights_module.load_source

        def counting(source: str) -> Any:
            loaded.append(source)
            return real(source)

        monkeypatch.setattr(weights_module, "load_source", counting)
        tiny = ["epochs=1", "batch_size=64"]
        recipe, _ = resolve_recipe(None, tiny, init_from="mien-s")
        few = tiny_samples.subset(np.r_[:80, np.flatnonzero(tiny_samples.split == 1)[:8]])
        soft = replace(few, soft_labels=few.targets, soft_votes=np.asarray(few.votes).astype(np.float32))
        fit(recipe, soft, tmp_path / "run", FitOptions(progress=False))
        assert loaded == ["mien-s"]

    def test_the_network_is_the_shipped_one_before_it_learns(self, tiny_samples: Samples) -> None:
        recipe = load_recipe("mien-s", ["heads.votes.soft=0", "heads.fer2013.soft=0", "augmentation.covers=0"])
        setup = task_spec("expression").setup(recipe, tiny_samples)
        assert init_weights(setup.module, "mien-s") == []
        shipped = safetensors.torch.load((FOLDER / shipped_models()["mien-s"].training_file).read_bytes())
        own = setup.module.network.state_dict()
        assert all(torch.equal(own[name].float(), value.float()) for name, value in shipped.items())

    def test_what_the_recipe_of_the_weights_learns_from_and_the_data_lacks_is_left_out(
        self, tiny_samples: Samples, tmp_path: Path
    ) -> None:
        own = replace(tiny_samples, votes=None)
        recipe, _ = resolve_recipe(None, ["epochs=1"], init_from="mien-s")
        assert isinstance(recipe, ExpressionRecipe)
        covered = recipe.model_copy(update={"augmentation": recipe.augmentation.model_copy(update={"covers": 0.2})})
        adapted, told = task_spec("expression").adapt(covered, own)
        assert list(adapted.heads) == ["fer2013"]
        assert adapted.heads["fer2013"].soft == 0
        assert adapted.augmentation.covers == 0
        assert [line.partition(":")[0] for line in told] == [
            "the head 'votes' is left out",
            "the head 'fer2013' learns from labels alone",
            "no covers are drawn",
        ]
        with pytest.raises(ConfigError, match="learns from soft targets"):  # as a recipe that was asked for does
            task_spec("expression").setup(load_recipe("mien-s"), tiny_samples)

    def test_a_shipped_model_is_fine_tuned_on_data_without_soft_targets(self, data: Path, tmp_path: Path) -> None:
        done = mien("--from", "mien-s", "--data", data, "--out", tmp_path / "own", "--set", "epochs=1", "--quiet")
        assert done.returncode == 0, done.stderr
        assert "learns from votes alone: the data has no soft targets" in done.stderr

    def test_a_run_that_starts_from_a_run_learns_faster(self, tiny_run: Path, data: Path, tmp_path: Path) -> None:
        done = mien("--from", tiny_run, "--data", data, "--out", tmp_path / "tuned", "--set", "epochs=1", "--quiet")
        assert done.returncode == 0, done.stderr
        assert "starts from the weights of" in done.stderr
        before = (tiny_run / "metrics.csv").read_text().splitlines()
        after = (tmp_path / "tuned" / "metrics.csv").read_text().splitlines()
        column = before[0].split(",").index("val/loss")
        first = float(before[1].split(",")[column])
        tuned = float(after[-1].split(",")[after[0].split(",").index("val/loss")])
        assert tuned < first

    def test_heads_with_other_classes_are_re_initialised_with_a_message(
        self, tiny_run: Path, tiny_samples: Samples, tmp_path: Path
    ) -> None:
        recipe = tiny_recipe(
            model=load_recipe(tiny_run / "recipe.toml").model.model_dump(),
            heads={"votes": {"source": "votes"}, "other": {"source": "labels"}},
            epochs=1,
        ).model_copy(update={"init_from": str(tiny_run)})
        lines: list[str] = []
        fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False, tell=lines.append))
        assert any("the head 'other' is re-initialised" in line for line in lines)
        assert not any("votes" in line for line in lines)

    def test_another_network_is_refused(self, tiny_run: Path, data: Path, tmp_path: Path) -> None:
        done = mien("fourlayer", "--from", tiny_run, "--data", data, "--out", tmp_path / "run", "--quiet")
        assert done.returncode == EXIT_CODES[ConfigError]
        assert "belong to a different network" in done.stderr
        assert not (tmp_path / "run").exists()

    def test_nothing_of_that_name(self, data: Path, tmp_path: Path) -> None:
        done = mien("mien-s", "--from", "nobody", "--data", data, "--out", tmp_path / "run")
        assert done.returncode == EXIT_CODES[ConfigError]
        assert "cannot start from 'nobody'" in done.stderr
        assert "mien-s" in done.stderr


class TestStages:
    # After the recipe's own two epochs.
    STAGES: Any = ({"epochs": 2, "lr": 0.05}, {"epochs": 1, "lr": 0.005})

    def test_each_goes_on_from_the_best_of_the_one_before(self, tiny_samples: Samples, tmp_path: Path) -> None:
        fit(tiny_recipe(stages=self.STAGES), tiny_samples, tmp_path / "run", FitOptions(progress=False))
        rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["epoch", *"12345"]
        last = read(tmp_path / "run" / "last.ckpt")
        assert last["training"]["optimizer"]["param_groups"][0]["initial_lr"] == pytest.approx(0.005)

    def test_a_run_cut_off_in_the_second_stage_ends_as_if_it_had_not_been(
        self, tiny_samples: Samples, tmp_path: Path
    ) -> None:
        stages = ({"epochs": 1, "lr": 0.05}, {"epochs": 2, "lr": 0.005})
        recipe = tiny_recipe(stages=stages)
        fit(recipe, tiny_samples, tmp_path / "whole", FitOptions(progress=False))
        program = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from mien.datasets import store\n"
            "from mien.training import Callback, FitOptions, fit, load_recipe\n"
            "class Kill(Callback):\n"
            "    def on_step_start(self, run):\n"
            "        if (run.state.epoch, run.step) == (2, 1): os.kill(os.getpid(), signal.SIGKILL)\n"
            "options = FitOptions(progress=False, callbacks=[Kill()])\n"
            "fit(load_recipe(sys.argv[1]), store.load(sys.argv[2]), Path(sys.argv[3]), options)\n"
        )
        path, cut = tmp_path / "drawn.h5", tmp_path / "cut"
        store.save(tiny_samples, path)
        arguments = [sys.executable, "-c", program, recipe_file(tmp_path, stages=stages), path, cut]
        done = subprocess.run([*map(str, arguments)], capture_output=True, text=True, timeout=600)
        assert done.returncode == -signal.SIGKILL, done.stderr
        fit(recipe, tiny_samples, cut, FitOptions(resume=True, progress=False))
        assert same(weights(tmp_path / "whole"), weights(cut))

    def test_a_stage_without_epochs_is_refused(self, tmp_path: Path) -> None:
        text = to_toml(tiny_recipe()).replace("stages = []\n", "") + "\n[[stages]]\nepochs = 0\n"
        (tmp_path / "wrong.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"stages\.0"):
            load_recipe(tmp_path / "wrong.toml")


class TestResume:
    def test_the_folder_is_enough(self, data: Path, tmp_path: Path) -> None:
        file = recipe_file(tmp_path, epochs=3)
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        assert mien(file, "--data", data, "--out", whole, "--quiet").returncode == 0
        process = subprocess.Popen(command(file, "--data", data, "--out", cut, "--quiet"), stderr=subprocess.PIPE)
        _wait_for(cut / "last.ckpt", process)
        process.kill()
        process.wait()
        done = mien("--resume", cut, "--data", data, "--quiet")
        assert done.returncode == 0, done.stderr
        assert same(weights(whole), weights(cut))
        assert "Precision" not in done.stderr  # nothing of the libraries, on processors with bf16 either
        done = mien("--resume", cut, "--data", data, "--quiet")
        assert "the run is complete: there is nothing left to train" in done.stderr

    def test_a_folder_that_holds_no_run(self, data: Path, tmp_path: Path) -> None:
        done = mien("--resume", tmp_path, "--data", data)
        assert done.returncode == EXIT_CODES[ConfigError]
        assert "nothing to resume" in done.stderr


def test_ctrl_c_saves_and_says_how_to_resume(data: Path, tmp_path: Path) -> None:
    file, run = recipe_file(tmp_path, epochs=200), tmp_path / "my run"
    process = subprocess.Popen(
        command(file, "--data", data, "--out", run, "--quiet"),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for(run / "last.ckpt", process)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == EXIT_CODES[StoppedError] == 130
    assert "Traceback" not in said
    assert f"mien train --resume '{run}' --data {data}" in said
    before = read(run / "last.ckpt")["state"]["epoch"]
    text = (run / "recipe.toml").read_text().replace("epochs = 200", f"epochs = {before + 1}")
    again = tmp_path / "again"
    shutil.copytree(run, again)
    (again / "recipe.toml").write_text(text)
    done = mien("--resume", again, "--data", data, "--quiet")
    assert done.returncode == 0, done.stderr
    assert read(again / "last.ckpt")["state"]["epoch"] == before + 1


def _wait_for(path: Path, process: "subprocess.Popen[Any]") -> None:
    """Until the file is there, or the process has ended."""
    end = time.monotonic() + 600
    while not path.exists():
        assert process.poll() is None, "the run ended early"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_every_optimiser_and_schedule_runs(name: str, schedule: str, tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        epochs=1, optimizer={"name": name, "lr": 0.01}, schedule={"name": schedule, "warmup": 0.0, "final": 0.0}
    )
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False))
    rate = read(tmp_path / "run" / "last.ckpt")["training"]["optimizer"]["param_groups"][0]["lr"]
    assert rate == pytest.approx(0.01 if schedule == "constant" else 0.0, abs=1e-6)
    assert np.isfinite(rate)
