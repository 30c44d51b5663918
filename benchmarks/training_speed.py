"""How much of training is the network: `python -m benchmarks.training_speed [RECIPE ...]`.

Images a second of the real fit loop (`mien.training.fit`: batches, augmentation, mixing, optimiser, averaging)
against those of the bare step (forward, loss, backward, optimiser on one batch that lies
ready), both with the recipe's network, batch and precision. The two take turns, so that a noisy machine is noisy for
both; checkpoints and validation, once an epoch, are not counted. Images are noise: what they show changes no figure.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.results import Measurement, Results, markdown, save
from mien.datasets import Samples
from mien.emotions import vocabulary
from mien.training import Callback, ExpressionRecipe, FitOptions, fit, task_spec
from mien.training.expression.module import ExpressionModule, cross_entropy
from mien.training.loop import Run
from mien.training.recipe import changed, load

RECIPES: Final = ("fourlayer", "vgg13-majority", "mien-s")
STEPS: Final = 12  # in each turn
TURNS: Final = 5


def noise(batches: int, size: int) -> Samples:
    """Batches of noise to train on and two images to judge."""
    rng = np.random.default_rng(0)
    count = batches * size + 2
    labels = rng.integers(0, 7, count)
    return Samples(
        images=rng.integers(0, 256, (count, 48, 48), np.uint8),
        labels=labels,
        classes=vocabulary(7),
        split=np.array([0] * (count - 2) + [1] * 2, np.uint8),
        targets=np.eye(7, dtype=np.float32)[labels],
        votes=np.tile(np.array([6, 2, 2, 0, 0, 0, 0, 0, 0, 0], np.uint8), (count, 1)),
        names=np.arange(count).astype(str),
    )


class Bare:
    """The step of a recipe and nothing else."""

    def __init__(self, recipe: ExpressionRecipe, samples: Samples) -> None:
        setup = task_spec("expression").setup(recipe, samples)
        module = setup.module
        assert isinstance(module, ExpressionModule)
        self.network = module.network.train()
        batch, self.targets = next(iter(setup.data.train_batches(0)))
        self.images = (batch.float() / 255).contiguous(memory_format=torch.channels_last)
        settings = recipe.optimizer
        if settings.name == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                self.network.parameters(), settings.lr / 100, settings.momentum, nesterov=settings.momentum > 0
            )
        else:
            self.optimizer = torch.optim.Adam(self.network.parameters(), settings.lr / 100)

    def __call__(self) -> None:
        """One step."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(self.images)
            loss = torch.stack([cross_entropy(logits[name], target) for name, target in self.targets.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class Turns(Callback):
    """Times the steps of each epoch after the first, and lets the bare step have its turn at each epoch's end."""

    def __init__(self, bare: Bare, size: int) -> None:
        self.bare, self.size = bare, size
        self.real_speed: list[float] = []
        self.bare_speed: list[float] = []
        self._began = 0.0

    def on_step_start(self, run: Run) -> None:
        """The clock starts."""
        if run.state.epoch and self._began == 0:
            self._began = time.perf_counter()  # after the first batch was fetched: the next ones' fetching counts

    def on_step_end(self, run: Run) -> None:
        """The clock stops after the last step of an epoch."""
        if not (run.step + 1 == run.steps and run.state.epoch):
            return
        self.real_speed.append(STEPS * self.size / (time.perf_counter() - self._began))
        self._began = 0.0
        began = time.perf_counter()
        for _step in range(STEPS):
            self.bare()
        self.bare_speed.append(STEPS * self.size / (time.perf_counter() - began))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--no-save", action="store_true")
    asked = parser.parse_args()
    figures, ratios = {}, {}
    for name in asked.recipes:
        recipe = changed(load(name, form=ExpressionRecipe), {"epochs": TURNS + 1})
        samples = noise(STEPS, recipe.batch_size)
        bare = Bare(recipe, samples)
        bare()
        turns = Turns(bare, recipe.batch_size)
        with tempfile.TemporaryDirectory() as folder:
            fit(recipe, samples, Path(folder) / "run", FitOptions(progress=False, callbacks=[turns]))
        figures[f"{name}, fit loop"] = Measurement.of(turns.real_speed)
        figures[f"{name}, bare step"] = Measurement.of(turns.bare_speed)
        pairs = zip(turns.real_speed, turns.bare_speed, strict=True)
        ratios[f"{name}: fit loop / bare step"] = float(np.median([real / bare for real, bare in pairs]))
    results = Results.here("training_speed", "images a second", figures, ratios=ratios, packages=("torch", "lightning"))
    print(markdown(results))
    if not asked.no_save:
        save(results)


if __name__ == "__main__":
    main()
