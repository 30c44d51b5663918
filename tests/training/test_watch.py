"""What a person is told of a run: divergence, early stops, what a recipe or a folder has that does not fit."""

import csv
import io
import math
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from tests.tiny import tiny_recipe

from mien.datasets import Samples, store
from mien.errors import ConfigError, DivergedError
from mien.training import fit, load_recipe
from mien.training.checkpoints import read
from mien.training.hardware import Hardware
from mien.training.loop import _unlike
from mien.training.progress import ProgressView
from mien.training.recipe import load, to_toml
from mien.training.tasks import kind
from mien.training.weights import planned


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_epoch(tiny_samples: Samples, tmp_path: Path) -> None:
    wild = tiny_recipe(optimizer={"lr": 1e30}, schedule={"name": "constant"}, averaging=0.0)
    with pytest.raises(DivergedError, match=r"the run diverged: .* is (nan|inf) after epoch 1"):
        fit(wild, tiny_samples, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "best.ckpt").exists()


def test_the_command_ends_with_the_code_of_divergence(tiny_samples: Samples, tmp_path: Path) -> None:
    store.save(tiny_samples, tmp_path / "data.h5")
    (tmp_path / "wild.toml").write_text(to_toml(tiny_recipe(optimizer={"lr": 1e30})), encoding="utf-8")
    line = ["train", "wild.toml", "--data", "data.h5", "--out", "run", "--quiet"]
    done = subprocess.run([sys.executable, "-m", "mien", *line], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 8
    assert "diverged" in done.stderr
    assert "lower optimizer.lr" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_rates_that_are_no_numbers(value: str) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        load("mien-base", [f"optimizer.lr={value}"])


def test_an_early_stop_is_told(tiny_samples: Samples, tmp_path: Path) -> None:
    told: list[str] = []
    # The first epoch's accuracy is not beaten by a network that does not learn.
    still = tiny_recipe(epochs=9, optimizer={"lr": 1e-12}, averaging=0.0, stopping={"patience": 2})
    fit(still, tiny_samples, tmp_path / "run", progress=False, tell=told.append)
    assert any(
        re.search(r"stopped early after epoch \d+: val/loss has not got better for 2 epochs", line) for line in told
    )


class TestFurther:
    def test_a_further_recipe_keeps_its_rate_and_its_rounds(self, tiny_run: Path, tmp_path: Path) -> None:
        rounds = ({"epochs": 1, "lr": 0.001},)
        (tmp_path / "more.toml").write_text(
            to_toml(tiny_recipe(further=True, optimizer={"lr": 0.007}, rounds=rounds)), encoding="utf-8"
        )
        recipe, said = planned(str(tmp_path / "more.toml"), [], start=str(tiny_run))
        assert recipe.optimizer.lr == 0.007
        assert len(recipe.rounds) == 1
        assert said == [f"begins with the weights of {tiny_run}"]

    @pytest.mark.parametrize("name", ["vgg16-imagenet-top", "mien-m-second", "mien-m"])
    def test_shipped_ones(self, name: str, tiny_run: Path) -> None:
        recipe, _ = planned(name, [], start=str(tiny_run))
        assert recipe.optimizer.lr == load_recipe(name).optimizer.lr

    def test_rounds_that_are_left_out_are_told(self, tiny_run: Path) -> None:
        recipe, said = planned("emonet", [], start=str(tiny_run))
        assert not recipe.rounds
        assert any("the 2 after it in the recipe are left out" in line for line in said)

    def test_published_weights_are_not_asked_for_where_a_run_has_them(
        self, tiny_run: Path, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: list[bool] = []
        real = kind("expression").setup

        def setup(*arguments: object) -> object:
            return replace(real(*arguments), begin=lambda: begun.append(True))

        fake = SimpleNamespace(setup=setup)
        monkeypatch.setattr("mien.training.loop.kind", lambda _: fake)
        model = load_recipe(tiny_run / "recipe.toml").model.model_dump()
        fit(tiny_recipe(epochs=1, model=model, start=str(tiny_run)), tiny_samples, tmp_path / "a", progress=False)
        assert not begun
        fit(tiny_recipe(epochs=1, model=model), tiny_samples, tmp_path / "b", progress=False)
        assert begun


class TestFolder:
    def test_what_lightning_refuses_leaves_no_folder(self, tiny_samples: Samples, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="1 device, strategy 'nonsense'"):
            fit(tiny_recipe(), tiny_samples, tmp_path / "run", progress=False, hardware=Hardware(strategy="nonsense"))
        assert not (tmp_path / "run").exists()

    def test_another_recipe_is_refused_by_its_keys(self, tiny_samples: Samples, tmp_path: Path) -> None:
        fit(tiny_recipe(epochs=1), tiny_samples, tmp_path / "run", progress=False)
        other = tiny_recipe(epochs=3, optimizer={"lr": 0.01})
        with pytest.raises(ConfigError) as caught:
            fit(other, tiny_samples, tmp_path / "run", resume=True, progress=False)
        assert "epochs was 1, is 3; optimizer.lr was 0.05, is 0.01" in caught.value.message
        assert "--from" in caught.value.hint
        assert _unlike(other, other) == []

    def test_the_same_pictures_under_another_name_are_the_same_data(
        self, tiny_samples: Samples, tmp_path: Path
    ) -> None:
        fit(tiny_recipe(epochs=1), tiny_samples, tmp_path / "run", progress=False)
        renamed = replace(tiny_samples, about={**tiny_samples.about, "labels": "folder elsewhere"})
        fit(tiny_recipe(epochs=1), renamed, tmp_path / "run", resume=True, progress=False)
        other = replace(tiny_samples, images=255 - tiny_samples.images)
        with pytest.raises(ConfigError, match="other images or targets, as many as before"):
            fit(tiny_recipe(epochs=1), other, tmp_path / "run", resume=True, progress=False)
        fewer = tiny_samples.subset(range(len(tiny_samples) - 20))  # type: ignore[arg-type]
        with pytest.raises(ConfigError) as caught:
            fit(tiny_recipe(epochs=1), fewer, tmp_path / "run", resume=True, progress=False)
        assert len(caught.value.message) < 400


class TestProgress:
    def view(self, width: int) -> tuple[ProgressView, io.StringIO]:
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=width, legacy_windows=False)
        return ProgressView(tiny_recipe(epochs=4), console), screen

    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_epoch_and_time_left_are_never_cut(
        self, width: int, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view, screen = self.view(width)
        monkeypatch.setattr("mien.training.loop.ProgressView", lambda _: view)
        monkeypatch.setattr("mien.training.progress._SLOWEST", 0.0)
        monkeypatch.setattr(view, "_left", lambda *_: "1:02:03 left")
        fit(tiny_recipe(epochs=4), tiny_samples, tmp_path / "run")
        shown = screen.getvalue()
        assert "epoch 3/4" in shown
        assert "1:02:03 left" in shown

    def test_each_epoch_is_told_with_its_own_figures(
        self, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = io.StringIO()
        recipe = tiny_recipe(epochs=3)
        view = ProgressView(recipe, Console(file=screen, width=400))
        monkeypatch.setattr("mien.training.loop.ProgressView", lambda _: view)
        fit(recipe, tiny_samples, tmp_path / "run")
        lines = [line for line in screen.getvalue().splitlines() if line.startswith("epoch ")]
        with (tmp_path / "run" / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(lines) == len(rows) == 3
        for line, row in zip(lines, rows, strict=True):
            for name in ("train/votes/accuracy", "train/loss", "val/loss"):
                shown = float(line.partition(f"{name} ")[2].split()[0])
                assert shown == pytest.approx(float(row[name]), abs=2e-4)

    def test_the_best_epoch_is_remembered_through_a_resume(self) -> None:
        view, _ = self.view(120)
        view.begin_round(0, {0: {"val/loss": 1.0}, 1: {"val/loss": 1.0}, 2: {"val/loss": math.nan}})
        assert "best 1" in view._told()
        view.begin_round(0, {3: {"val/loss": 0.9}})
        assert "best 4" in view._told()


def test_ctrl_c_is_acknowledged_at_once(tiny_samples: Samples, tmp_path: Path) -> None:
    store.save(tiny_samples, tmp_path / "data.h5")
    (tmp_path / "long.toml").write_text(to_toml(tiny_recipe(epochs=500)), encoding="utf-8")
    line = ["train", "long.toml", "--data", "data.h5", "--out", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", *line], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    heard = ""
    for text in process.stderr:
        heard += text
        if "epoch 1/500" in text:
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert "Ctrl-C: stopping in good order" in heard


def test_the_accuracy_on_the_training_pictures_is_logged(tiny_run: Path) -> None:
    columns = (tiny_run / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"train/fer2013/accuracy", "train/votes/accuracy", "train/loss"} <= set(columns)
    assert "state_dict" in read(tiny_run / "best.ckpt")


class TestRecipesThatAreWrong:
    def told(self, text: str, tmp_path: Path, *settings: str) -> list[str]:
        (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "wrong.toml", settings)
        return caught.value.message.splitlines()

    def test_wrong_required_keys_hide_nothing(self, tmp_path: Path) -> None:
        text = """
        name = "!!"
        epochs = "many"
        optmizer = {lr = 1}
        select = "val/x"
        [model]
        name = "plane"
        [heads.a]
        source = "labels"
        [[rounds]]
        epochs = 3
        """
        lines = self.told(text, tmp_path, "lonely", "input.size=48.0")
        assert lines[0].endswith("8 mistakes")
        found = "\n".join(lines)
        for said in (
            "'lonely' is no setting",
            "name: string should match",
            "epochs: input should be a valid integer, got many",
            "optmizer: there is no such key, did you mean optimizer?",
            "select: there is no figure 'val/x', choose one of val/loss, val/a/loss",
            "model.name: there is no network 'plane', did you mean plain?",
            "rounds.0.lr: is missing",
            "input.size: ",
        ):
            assert said in found

    def test_no_mistake_is_made_up(self, tmp_path: Path) -> None:
        text = """
        name = "a"
        select = "val/a/loss"
        [model]
        name = "plain"
        [model.options]
        stm = 3
        [input]
        channels = "bgr"
        mean = [0.5, 0.5, 0.5]
        std = [0.2, 0.2, 0.2]
        [heads.a]
        source = "vote"
        """
        lines = self.told(text, tmp_path)
        assert len(lines) == 4
        assert "model.options.stm: the network 'plain' has no such option, did you mean stem?" in lines[3]
        assert self.told("name = 3", tmp_path)[1:] != []

    def test_a_folder_is_no_recipe(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path)
        assert "is a folder" in caught.value.message
        assert "--resume" in caught.value.hint
