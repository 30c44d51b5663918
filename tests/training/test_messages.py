"""What a person is told of a run: divergence, early stops, what a recipe or a folder has that does not fit."""

import contextlib
import csv
import io
import logging
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.commands import run_command
from tests.tiny import tiny_recipe

from mien.datasets import Samples, store
from mien.errors import ConfigError, DivergedError, MienError, OutputError, StoppedError
from mien.training import ExpressionRecipe, FitOptions, fit, load_recipe
from mien.training.checkpoints import read
from mien.training.expression.module import ExpressionModule
from mien.training.hardware import Hardware
from mien.training.logs import MetricsLog
from mien.training.loop import Callback, Run
from mien.training.progress import ProgressView
from mien.training.recipe import load, to_toml
from mien.training.silence import silenced
from mien.training.weights import load_source, resolve_recipe


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_epoch(tiny_samples: Samples, tmp_path: Path) -> None:
    wild = tiny_recipe(optimizer={"lr": 1e30}, schedule={"name": "constant"}, ema_decay=0.0)
    with pytest.raises(DivergedError, match=r"training diverged: .* is (nan|inf) after epoch 1"):
        fit(wild, tiny_samples, tmp_path / "run", FitOptions(progress=False))
    assert not (tmp_path / "run" / "best.ckpt").exists()
    tame, notes = tiny_recipe(epochs=1), tmp_path / "run" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(OutputError, match="already contains a run"):
        fit(tame, tiny_samples, tmp_path / "run", FitOptions(progress=False))
    notes.unlink()
    fit(tame, tiny_samples, tmp_path / "run", FitOptions(progress=False))  # nothing there is worth keeping
    assert (tmp_path / "run" / "best.ckpt").exists()
    assert load_recipe(tmp_path / "run" / "recipe.toml") == tame


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["input.size=24", "augmentation.sizes=[16]"], "augmentation.sizes: .* cannot read images of 16 x 16 pixels"),
        (["augmentation.covers=0.5", "augmentation.cover_textures=nope.npz"], "nope.npz"),
    ],
)
def test_what_would_fail_in_the_first_step_leaves_no_folder(
    tiny_samples: Samples, tmp_path: Path, settings: list[str], message: str
) -> None:
    """A folder would stand in the way of the corrected command."""
    samples = replace(
        tiny_samples, keypoints=np.full((len(tiny_samples), 68, 2), 24, np.float32), keypoint_scheme="300w-68"
    )
    with pytest.raises(MienError, match=message):
        fit(load_recipe("fourlayer", settings), samples, tmp_path / "run", FitOptions(progress=False))
    assert not (tmp_path / "run").exists()


def test_a_run_that_may_still_be_in_its_first_epoch_is_kept(tiny_samples: Samples, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class Stopping(Callback):
        def on_step_end(self, run: Run) -> None:
            with pytest.raises(OutputError, match="already contains a run"):
                fit(tiny_recipe(), tiny_samples, tmp_path / "run", FitOptions(progress=False))
            raise Stop

    with pytest.raises(Stop):
        fit(tiny_recipe(), tiny_samples, tmp_path / "run", FitOptions(progress=False, callbacks=[Stopping()]))


def test_the_command_ends_with_the_code_of_divergence(tiny_samples: Samples, tmp_path: Path) -> None:
    store.save(tiny_samples, tmp_path / "data.h5")
    (tmp_path / "wild.toml").write_text(to_toml(tiny_recipe(optimizer={"lr": 1e30})), encoding="utf-8")
    done = run_command("train", "wild.toml", "--data", "data.h5", "--out", "run", "--quiet", cwd=tmp_path)
    assert done.returncode == 8
    assert "diverged" in done.stderr
    assert "lower optimizer.lr" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_rates_that_are_no_numbers(value: str) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        load("mien-s", [f"optimizer.lr={value}"])


def test_an_early_stop_is_told(tiny_samples: Samples, tmp_path: Path) -> None:
    told: list[str] = []
    # The first epoch's accuracy is not beaten by a network that does not learn.
    still = tiny_recipe(epochs=9, optimizer={"lr": 1e-12}, ema_decay=0.0, stopping={"patience": 2})
    fit(still, tiny_samples, tmp_path / "run", FitOptions(progress=False, tell=told.append))
    assert any(
        re.search(r"stopped early after epoch \d+: val/loss has not improved for 2 epochs", line) for line in told
    )


class TestFurther:
    def test_a_further_recipe_keeps_its_rate_and_its_rounds(self, tiny_run: Path, tmp_path: Path) -> None:
        rounds = ({"epochs": 1, "lr": 0.001},)
        (tmp_path / "more.toml").write_text(
            to_toml(tiny_recipe(fine_tune=True, optimizer={"lr": 0.007}, stages=rounds)), encoding="utf-8"
        )
        recipe, said = resolve_recipe(str(tmp_path / "more.toml"), [], init_from=str(tiny_run))
        assert recipe.optimizer.lr == 0.007
        assert len(recipe.stages) == 1
        assert said == [f"starts from the weights of {tiny_run}"]

    def test_a_file_of_your_own_keeps_its_rate_and_its_stages(self, tiny_run: Path, tmp_path: Path) -> None:
        own = tiny_recipe(optimizer={"name": "adam", "lr": 0.007}, stages=({"epochs": 1, "lr": 0.001},))
        (tmp_path / "own.toml").write_text(to_toml(own), encoding="utf-8")
        recipe, said = resolve_recipe(str(tmp_path / "own.toml"), [], init_from=str(tiny_run))
        assert (recipe.optimizer.lr, len(recipe.stages)) == (0.007, 1)
        assert said == [f"starts from the weights of {tiny_run}"]

    def test_the_rate_of_another_optimizer_is_not_taken_over(self, tiny_run: Path) -> None:
        recipe, _ = resolve_recipe("emonet", [], init_from=str(tiny_run))  # adam, the run has sgd
        assert recipe.optimizer.lr == pytest.approx(load_recipe("emonet").optimizer.lr / 10)

    @pytest.mark.parametrize("name", ["vgg16-imagenet-top", "mien-s", "mien-m"])
    def test_shipped_ones(self, name: str, tiny_run: Path) -> None:
        recipe, _ = resolve_recipe(name, [], init_from=str(tiny_run))
        assert recipe.optimizer.lr == load_recipe(name).optimizer.lr

    def test_rounds_that_are_left_out_are_told(self, tiny_run: Path) -> None:
        recipe, said = resolve_recipe("emonet", [], init_from=str(tiny_run))
        assert not recipe.stages
        assert any("the other stages of the recipe are left out (2)" in line for line in said)

    def test_epochs_are_those_of_the_first_stage(self) -> None:
        recipe, said = resolve_recipe("emonet", ["epochs=1"])
        assert recipe.total_epochs > 1
        assert any("for this one alone: --set stages=[]" in line for line in said)
        assert not resolve_recipe("emonet", ["epochs=1", "stages=[]"])[1]

    def test_a_run_of_own_data_has_its_own_name(self) -> None:
        recipe, _ = resolve_recipe(None, ["epochs=1"], init_from="mien-s", name="shop")
        assert (recipe.name, recipe.description) == ("shop", "fine-tuned from mien-s")
        recipe, _ = resolve_recipe(None, ["name=till"], init_from="mien-m-int8", name="shop")
        assert recipe.name == "till"

    def test_a_head_that_is_not_there(self) -> None:
        with pytest.raises(ConfigError, match="the recipe has no head 'labels'; its heads are fer2013"):
            load_recipe("mini-xception", ["heads.labels.class_weights=balanced"])
        more = ["heads.labels.source=labels", "heads.labels.weight=0.5"]
        recipe = load_recipe("mini-xception", more)
        assert isinstance(recipe, ExpressionRecipe)
        assert list(recipe.heads) == ["fer2013", "labels"]

    def test_what_can_be_started_from(self) -> None:
        with pytest.raises(ConfigError) as caught:
            resolve_recipe(None, [], init_from="mini-xception")
        assert "is for reading alone" in caught.value.message
        with pytest.raises(ConfigError) as caught:
            load_source("mien-l")
        assert (caught.value.hint or "").endswith("one of mien-m, mien-s")

    def test_published_weights_are_not_asked_for_where_a_run_has_them(
        self, tiny_run: Path, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded: list[bool] = []
        monkeypatch.setattr(ExpressionModule, "load_pretrained", lambda _: loaded.append(True))
        recipe = tiny_recipe(epochs=1, model=load_recipe(tiny_run / "recipe.toml").model.model_dump())
        start = recipe.model_copy(update={"init_from": str(tiny_run)})
        fit(start, tiny_samples, tmp_path / "a", FitOptions(progress=False))
        assert not loaded
        fit(recipe, tiny_samples, tmp_path / "b", FitOptions(progress=False))
        assert loaded


class TestFolder:
    def test_what_lightning_refuses_leaves_no_folder(self, tiny_samples: Samples, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="1 device, strategy 'nonsense'"):
            fit(
                tiny_recipe(),
                tiny_samples,
                tmp_path / "run",
                FitOptions(progress=False, hardware=Hardware(strategy="nonsense")),
            )
        assert not (tmp_path / "run").exists()

    def test_another_recipe_is_refused_by_its_keys(self, tiny_samples: Samples, tmp_path: Path) -> None:
        fit(tiny_recipe(epochs=1), tiny_samples, tmp_path / "run", FitOptions(progress=False))
        other = tiny_recipe(epochs=3, optimizer={"lr": 0.01})
        with pytest.raises(ConfigError) as caught:
            fit(other, tiny_samples, tmp_path / "run", FitOptions(resume=True, progress=False))
        assert "epochs was 1, is 3; optimizer.lr was 0.05, is 0.01" in caught.value.message
        assert "--from" in caught.value.hint

    def test_the_same_pictures_under_another_name_are_the_same_data(
        self, tiny_samples: Samples, tmp_path: Path
    ) -> None:
        fit(tiny_recipe(epochs=1), tiny_samples, tmp_path / "run", FitOptions(progress=False))
        renamed = replace(tiny_samples, about={**tiny_samples.about, "labels": "folder elsewhere"})
        fit(tiny_recipe(epochs=1), renamed, tmp_path / "run", FitOptions(resume=True, progress=False))
        other = replace(tiny_samples, images=255 - tiny_samples.images)
        with pytest.raises(ConfigError, match="other images or targets, the same number as before"):
            fit(tiny_recipe(epochs=1), other, tmp_path / "run", FitOptions(resume=True, progress=False))
        fewer = tiny_samples.subset(range(len(tiny_samples) - 20))  # type: ignore[arg-type]
        with pytest.raises(ConfigError) as caught:
            fit(tiny_recipe(epochs=1), fewer, tmp_path / "run", FitOptions(resume=True, progress=False))
        assert len(caught.value.message) < 400


class Clock:
    """A clock on which a second passes each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class TestProgress:
    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_epoch_and_time_left_are_never_cut(self, width: int, tiny_samples: Samples, tmp_path: Path) -> None:
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=width, legacy_windows=False, highlight=False)
        view = ProgressView(console, Clock(), interval=0)
        fit(tiny_recipe(epochs=4), tiny_samples, tmp_path / "run", FitOptions(progress=view))
        assert "epoch 3/4" in screen.getvalue()
        lines = re.split(r"[\r\n]", screen.getvalue())
        for epoch in range(1, 5):  # the history above the bar
            assert any(
                re.search(
                    rf"epoch {epoch}/4  best \d  val/loss \S+  val/fer2013/accuracy \S+  val/votes/accuracy", line
                )
                for line in lines
            )
        assert re.search(r"0:00:\d\d left", screen.getvalue())

    def test_each_epoch_is_shown_with_its_own_metrics(self, tiny_samples: Samples, tmp_path: Path) -> None:
        screen = io.StringIO()
        view = ProgressView(Console(file=screen, width=400))
        fit(tiny_recipe(epochs=3), tiny_samples, tmp_path / "run", FitOptions(progress=view))
        lines = [line for line in screen.getvalue().splitlines() if line.startswith("epoch ")]
        with (tmp_path / "run" / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(lines) == len(rows) == 3
        for line, row in zip(lines, rows, strict=True):
            for name in ("train/votes/accuracy", "train/loss", "val/loss"):
                shown = float(line.partition(f"{name} ")[2].split()[0])
                assert shown == pytest.approx(float(row[name]), abs=2e-4)

    def test_the_best_epoch_is_remembered_when_a_run_is_resumed(self, tiny_samples: Samples, tmp_path: Path) -> None:
        recipe = tiny_recipe(epochs=3)

        class Stop(Exception):
            pass

        class Stopping(Callback):
            def on_epoch_end(self, run: Run) -> None:
                if run.state.epoch == 2:
                    raise Stop

        with pytest.raises(Stop):
            fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False, callbacks=[Stopping()]))
        log = MetricsLog(tmp_path / "run", resume=True)
        log.add(1, log.rows[1] | {"val/loss": 0.001})
        screen = io.StringIO()
        view = ProgressView(Console(file=screen, width=400))
        fit(recipe, tiny_samples, tmp_path / "run", FitOptions(resume=True, progress=view))
        assert "epoch 3/3  best 1" in screen.getvalue()


def test_precision_is_not_announced() -> None:
    told: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("fabric", "pytorch")]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        for silent in (True, False):
            told.clear()
            with silenced("lightning") if silent else contextlib.nullcontext():
                Hardware(accelerator="cpu").fabric(tiny_recipe(precision="bf16-mixed"))
            assert any("Mixed Precision" in line for line in told) != silent  # the levels are restored
    finally:
        for logger in loggers:
            logger.removeHandler(listener)


@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGTERM", "SIGTERM"], ["SIGTERM", "SIGINT"], ["SIGINT", "SIGINT"]])
def test_signals_end_a_run_with_a_message(signals: list[str], tiny_samples: Samples, tmp_path: Path) -> None:
    class Sending(Callback):
        def on_step_start(self, run: Run) -> None:
            if (run.state.epoch, run.step) == (1, 0):
                for name in signals:
                    signal.raise_signal(getattr(signal, name))

    told: list[str] = []
    options = FitOptions(progress=False, callbacks=[Sending()], tell=told.append)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(StoppedError) as caught:
        fit(tiny_recipe(epochs=3), tiny_samples, tmp_path / "run", options)
    name = "Ctrl-C" if signals[0] == "SIGINT" else "SIGTERM"
    when = "at once" if signals[1:] == ["SIGINT"] else "in epoch 2"
    assert caught.value.message == f"stopped by {name} {when}"
    assert told[0].startswith(f"{name}: stopping after this step")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert read(tmp_path / "run" / "last.ckpt")["state"]["epoch"] == 1
    assert not (tmp_path / "run" / "interrupted.ckpt").exists()


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
    assert "Ctrl-C: stopping after this step" in heard


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
        monitor = "val/x"
        [model]
        name = "plane"
        [heads.a]
        source = "labels"
        [[stages]]
        epochs = 3
        """
        lines = self.told(text, tmp_path, "lonely", "input.size=48.0")
        assert lines[0].endswith("8 errors")
        found = "\n".join(lines)
        for said in (
            "--set lonely: has no value",
            "name: string should match",
            "epochs: input should be a valid integer, got 'many'",
            "optmizer: unknown key, did you mean optimizer?",
            "monitor: there is no metric 'val/x', choose one of val/loss, val/a/loss",
            "model.name: there is no network 'plane', did you mean plain?",
            "stages.0.lr: is missing",
            "--set input.size=48.0: ",
        ):
            assert said in found

    def test_no_mistake_is_made_up(self, tmp_path: Path) -> None:
        text = """
        name = "a"
        monitor = "val/a/loss"
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

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("averaging = 0.9", "ema_decay"),
            ("further = true", "fine_tune"),
            ("select = 'val/loss'", "monitor"),
            ("start = 'mien-s'", "init_from"),
        ],
    )
    def test_a_key_with_a_new_name_is_suggested(self, old: str, new: str, tmp_path: Path) -> None:
        text = f'name = "a"\n{old}\n[model]\nname = "plain"\n[heads.a]\nsource = "labels"\n'
        (line,) = self.told(text, tmp_path)
        assert line.endswith(f"{old.split(maxsplit=1)[0]}: unknown key, did you mean {new}?")

    def test_a_folder_is_no_recipe(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path)
        assert "is a folder" in caught.value.message
        assert "--resume" in caught.value.hint
