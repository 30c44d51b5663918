"""The rate at each step is what the recipe says; TensorBoard holds the same as metrics.csv; averages forget."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import tiny_recipe

from mien.datasets import Samples
from mien.errors import MissingExtraError
from mien.training import ExpressionRecipe, FitOptions, fit
from mien.training.loop import Callback, Run
from mien.training.optim import WeightAverage
from mien.training.recipe import ScheduleRecipe


class Rates(Callback):
    """The learning rate of the last step of each epoch, and each epoch's validation loss."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.losses: list[float] = []

    def on_step_start(self, run: Run) -> None:
        rate = float(run.optimizer.param_groups[0]["lr"])
        if len(self.seen) == run.state.epoch:
            self.seen.append(rate)
        self.seen[-1] = rate

    def on_epoch_end(self, run: Run) -> None:
        self.losses.append(run.metrics["val/loss"])


def rates(recipe: ExpressionRecipe, samples: Samples, folder: Path) -> Rates:
    torch.set_num_threads(1)
    watch = Rates()
    fit(recipe, samples, folder / "run", FitOptions(progress=False, callbacks=[watch]))
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
    """It falls after as many epochs without a better one as it has patience, as `stopping` counts them."""
    schedule = {"name": "plateau", "factor": 0.5, "patience": 2}
    recipe = tiny_recipe(epochs=7, schedule=schedule, optimizer={"lr": 1e-6}, ema_decay=0.0)
    found = rates(recipe, tiny_samples, tmp_path)
    expected, rate, best, waited = [], 1e-6, float("inf"), 0
    for loss in found.losses:
        expected.append(rate)
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == 2:
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
    fit(tiny_recipe(epochs=3), tiny_samples, tmp_path / "run", FitOptions(progress=False, tensorboard=True))
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    figures = [name for name in rows[0] if name != "epoch"]
    assert {"train/loss", "val/loss", "val/votes/accuracy"} <= set(figures) <= set(events.Tags()["scalars"])
    for name in figures:
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [1, 2, 3]
        assert [event.value for event in scalars] == pytest.approx([float(row[name]) for row in rows], rel=1e-4)


def test_without_tensorboard_it_says_what_to_install(
    tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.training.logs.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="TensorBoard's logs") as caught:
        fit(tiny_recipe(), tiny_samples, tmp_path / "run", FitOptions(progress=False, tensorboard=True))
    assert "mien[tensorboard]" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_an_average_forgets_the_weights_it_started_with() -> None:
    """With the full decay from the start, .97 of the first, random weights would still be in it after thirty steps."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 1000.0)
    average = WeightAverage(module, 0.999)
    average.update()
    assert float(average.module.weight) == 1000.0
    torch.nn.init.constant_(module.weight, 1.0)
    for _ in range(30):
        average.update()
    assert float(average.module.weight.detach()) < 2
    average.updates = 100_000  # and later, as after a resume, it is as slow as the recipe says
    torch.nn.init.constant_(module.weight, 0.0)
    for _ in range(10):
        average.update()
    assert float(average.module.weight.detach()) > 0.98
