"""The rate at each step is what the recipe says; TensorBoard holds the same as metrics.csv; averages forget."""

import csv
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from tests.tiny import tiny_recipe

from mien.datasets import Samples
from mien.errors import MissingExtraError
from mien.training import Recipe, fit
from mien.training.ema import averaging
from mien.training.recipe_base import ScheduleRecipe


class Rates(lightning.Callback):
    """The rate of the last step of each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.figures: list[float] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: object) -> None:
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        if len(self.seen) == trainer.current_epoch:
            self.seen.append(rate)
        self.seen[-1] = rate

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        self.figures.append(float(trainer.callback_metrics["val/loss"]))


def rates(recipe: Recipe, samples: Samples, folder: Path) -> Rates:
    torch.set_num_threads(1)
    watch = Rates()
    fit(recipe, samples, folder / "run", progress=False, callbacks=[watch])
    return watch


def test_steps_fall_at_their_epochs(tiny_samples: Samples, tmp_path: Path) -> None:
    schedule = {"name": "step", "at": [2, 3], "factor": 0.2}
    found = rates(tiny_recipe(epochs=5, schedule=schedule, optimizer={"lr": 0.05}), tiny_samples, tmp_path)
    assert found.seen == pytest.approx([0.05, 0.05, 0.01, 0.002, 0.002])


def test_a_constant_rate_warms_up_and_stays(tiny_samples: Samples, tmp_path: Path) -> None:
    schedule = {"name": "constant", "warmup": 2.0}
    found = rates(tiny_recipe(epochs=4, schedule=schedule, optimizer={"lr": 0.05}), tiny_samples, tmp_path)
    assert found.seen == pytest.approx([0.025, 0.05, 0.05, 0.05])


def test_a_plateau_lowers_the_rate_when_nothing_gets_better(tiny_samples: Samples, tmp_path: Path) -> None:
    """At a rate of nearly nothing no epoch is better by the ten-thousandth that torch asks for."""
    schedule = {"name": "plateau", "factor": 0.5, "patience": 1}
    recipe = tiny_recipe(epochs=7, schedule=schedule, optimizer={"lr": 1e-6}, averaging=0.0)
    found = rates(recipe, tiny_samples, tmp_path)
    expected, rate, best, waited = [], 1e-6, float("inf"), 0
    for figure in found.figures:
        expected.append(rate)
        better = figure < best * (1 - 1e-4)
        best, waited = (figure, 0) if better else (best, waited + 1)
        if waited > 1:
            rate, waited = rate / 2, 0
    assert found.seen == pytest.approx(expected)
    assert found.seen[-1] < found.seen[0]


@pytest.mark.parametrize(
    "wrong",
    [{"name": "step"}, {"name": "cosine", "at": [1]}, {"name": "step", "at": [3, 2]}, {"name": "plateau", "warmup": 1}],
)
def test_schedules_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at|warmup"):
        ScheduleRecipe.model_validate(wrong)


def test_tensorboard_holds_the_curves(tiny_samples: Samples, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    torch.set_num_threads(1)
    fit(tiny_recipe(epochs=3), tiny_samples, tmp_path / "run", progress=False, tensorboard=True)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    figures = [name for name in rows[0] if name != "epoch"]
    assert {"train/loss", "val/loss", "val/votes/accuracy"} <= set(figures) <= set(events.Tags()["scalars"])
    for name in figures:
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [0, 1, 2]
        assert [event.value for event in scalars] == pytest.approx([float(row[name]) for row in rows], rel=1e-4)


def test_without_tensorboard_it_says_what_to_install(
    tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.training.tensorboard.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="TensorBoard's logs") as caught:
        fit(tiny_recipe(), tiny_samples, tmp_path / "run", progress=False, tensorboard=True)
    assert "mien[tensorboard]" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_an_average_forgets_the_weights_it_began_with() -> None:
    """With the full decay from the start, .97 of the first, random weights would still be in it after thirty steps."""
    kept = [torch.tensor(1000.0)]

    def go_on(average: WeightAveraging, weight: float, first: int, updates: int) -> None:
        for count in range(first, first + updates):  # torch gives the number of updates before
            assert average.should_update(step_idx=count)
            average._kwargs["multi_avg_fn"](kept, [torch.tensor(weight)], torch.tensor(count))

    go_on(averaging(0.999), 1.0, 1, 30)
    assert float(kept[0]) < 2
    go_on(averaging(0.999), 0.0, 100_000, 10)  # and later, as after a resume, it is as slow as was asked for
    assert float(kept[0]) > 0.98
