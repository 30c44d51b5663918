"""The training loop: epochs in stages on lightning.fabric, with validation, checkpoints, early stopping and signals."""

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mien.errors import DataError, DivergedError, StoppedError
from mien.training import checkpoints
from mien.training.logs import MetricsLog
from mien.training.optim import Freezing, WeightAverage, configured
from mien.training.recipe import RunRecipe, StageRecipe, mode
from mien.training.tasks import Sums, TrainingModule, TrainingSetup

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Callback:
    """Called during a run; every method may be left out. `run.step` is the number of the step in its epoch."""

    def on_start(self, run: "Run") -> None:
        """Called before the first step."""

    def on_step_start(self, run: "Run") -> None:
        """Called before each step."""

    def on_step_end(self, run: "Run") -> None:
        """Called after each step."""

    def on_epoch_end(self, run: "Run") -> None:
        """Called after the validation and the checkpoints of each epoch; `run.metrics` are its metrics."""

    def on_end(self, run: "Run") -> None:
        """Called at the end, also after an error."""


@dataclass(frozen=True)
class State:
    """How far a run is; saved in its checkpoints."""

    epoch: int = 0  # complete epochs, of all stages
    stage: int = 0  # number of the stage, from 0
    first: int = 0  # complete epochs before this stage
    done: bool = False  # whether the stage is over
    best: float | None = None  # best value of the monitored metric
    stopping: float | None = None  # best value of early stopping's metric in this stage
    waited: int = 0  # epochs since then


def improved(metric: str, value: float, best: float | None) -> bool:
    """Whether a value of a metric is better than the best one so far."""
    return best is None or (value < best if mode(metric) == "min" else value > best)


class Interrupt:
    """Ctrl-C and SIGTERM: the first signal ends a run after the present step, a later Ctrl-C at once.

    SIGTERM is what clusters send before they kill a job. It may come twice, so a later one changes nothing. A run is
    resumed from its last complete epoch, because only from there its result is the same as that of a run that was not
    stopped.

    Attributes:
        came: The name of the first signal; empty before it.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder, self.came, self._tell = folder, "", tell

    @contextmanager
    def listening(self, *, alone: bool = True) -> Iterator[None]:
        """Handles the signals meanwhile, if this is the main thread; no other thread can.

        Args:
            alone: Whether this is the only process of the run. Of several, SIGTERM must end each at once: Lightning
                sends it when one of them has failed and the others wait for it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM) if alone else (signal.SIGINT,)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        again = number == signal.SIGINT
        if self.came:
            if again:
                raise self.error("at once")
            return
        self.came = "Ctrl-C" if again else "SIGTERM"
        line = f"{self.came}: stopping after this step" + ("; press Ctrl-C again to stop at once" if again else "")
        # In a thread: the signal may have come in the middle of a line, and streams are not written to twice at once.
        threading.Thread(target=self._tell, args=(line,)).start()

    def error(self, when: str) -> StoppedError:
        """The error that ends the run."""
        return StoppedError(f"stopped by {self.came} {when}", hint=f"to resume: mien train --resume {self.folder}")


class _TrainingStep(nn.Module):
    """The training step as a `forward`, which Fabric wraps with precision and gradient synchronisation."""

    def __init__(self, module: TrainingModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any) -> tuple[Tensor, Sums]:
        return self.module.training_step(batch)


class Run:
    """A run of a recipe: the loop and all that changes in it.

    Args:
        fabric: The launched devices.
        recipe: What to do.
        setup: Module and data.
        log: Takes the metrics; checkpoints are written into its folder.
        interrupt: Whether the run is to be stopped.
        callbacks: Called during the run.
        tell: Called with each message for the user.
    """

    def __init__(
        self,
        fabric: "Fabric",
        recipe: RunRecipe,
        setup: TrainingSetup,
        *,
        log: MetricsLog,
        interrupt: Interrupt,
        callbacks: Sequence[Callback] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.fabric, self.recipe, self.folder, self.log = fabric, recipe, log.folder, log
        self.module, self.data = setup.module, setup.data
        self.interrupt, self.callbacks, self.tell = interrupt, callbacks, tell
        self.state, self.step, self.loss, self.metrics = State(), 0, torch.tensor(math.nan), dict[str, float]()
        self.average: WeightAverage[TrainingModule] | None = None
        self._started = False
        self._freezing = Freezing(setup.module) if recipe.optimizer.freeze_epochs else None
        self._training_step = fabric.setup_module(_TrainingStep(setup.module))
        self.steps = len(self._train_batches())

    @property
    def stage(self) -> StageRecipe:
        """The present stage."""
        return self.recipe.all_stages[self.state.stage]

    @property
    def epochs(self) -> int:
        """Epochs of the whole run, if no further stage ends early."""
        stages = self.recipe.all_stages[self.state.stage :]
        return self.state.epoch if self.state.done else self.state.first + sum(each.epochs for each in stages)

    def train(self, resumed: Mapping[str, Any] | None = None) -> None:
        """Runs every stage that is left; each one after the first starts from the best weights so far.

        Args:
            resumed: The last checkpoint of a run that was stopped.

        Raises:
            DataError: A metric that the recipe monitors cannot be measured.
            DivergedError: The loss became NaN or infinite; the last good checkpoint stays.
            OutputError: A file cannot be written.
            StoppedError: Ctrl-C or SIGTERM came.
        """
        if resumed is not None:
            self.state = State(**resumed["state"])
        try:
            for number in range(self.state.stage + self.state.done, len(self.recipe.all_stages)):
                if number != self.state.stage:
                    resumed = None
                    self.module.load_state_dict(checkpoints.read(self.folder / "best.ckpt")["state_dict"])
                    self.state = State(self.state.epoch, number, self.state.epoch, best=self.state.best)
                self._begin_stage(resumed)
                while not self.state.done:
                    self._epoch()
        finally:
            self._call("on_end")

    def _call(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    def _begin_stage(self, resumed: Mapping[str, Any] | None) -> None:
        """Makes a new optimizer and a new average, and restores their states if the stage is resumed."""
        optimizer = self.recipe.optimizer.model_copy(update={"lr": self.stage.lr})
        recipe = self.recipe.model_copy(update={"epochs": self.stage.epochs, "optimizer": optimizer})
        plain, self.scheduler = configured(self.module, recipe, self.steps)
        self.average = WeightAverage(self.module, recipe.ema_decay) if recipe.ema_decay else None
        if resumed is not None:
            self.module.load_state_dict(resumed["training"]["weights"])
            plain.load_state_dict(resumed["training"]["optimizer"])
            self.scheduler.load_state_dict(resumed["training"]["scheduler"])
            self.fabric.strategy.precision.load_state_dict(resumed["training"]["precision"])
            if self.average:
                self.average.module.load_state_dict(resumed["state_dict"])
                self.average.updates = resumed["training"]["averaged"]
        self.optimizer: Any = self.fabric.setup_optimizers(plain)  # typed as a tuple, too, which it is only for several
        if not self._started:
            self._started = True
            self._call("on_start")

    def _train_batches(self) -> Any:
        part = (self.fabric.global_rank, self.fabric.world_size)
        return self.data.train_batches(self.state.epoch, part, self.fabric.device)

    def _epoch(self) -> None:
        metrics = self._learn() | self._validate()
        # All processes must decide alike whether to stop, so they all take the first one's metrics.
        self.metrics = metrics = self.fabric.broadcast(metrics)
        if self.fabric.is_global_zero:
            self.log.add(self.state.epoch + 1, metrics)
        self._check_metrics()
        value = metrics[self.recipe.monitor]
        best = improved(self.recipe.monitor, value, self.state.best)
        self.state = replace(self.state, epoch=self.state.epoch + 1, best=value if best else self.state.best)
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(value)
        done = self._waited_enough() or self.state.epoch >= self.state.first + self.stage.epochs
        self.state = replace(self.state, done=done)
        if self.fabric.is_global_zero:
            names = ("best", "last") if best else ("last",)
            checkpoints.save({self.folder / f"{name}.ckpt": self._content(whole=name == "last") for name in names})
        self.fabric.barrier()
        self._call("on_epoch_end")
        if self.interrupt.came:
            raise self.interrupt.error(f"after epoch {self.state.epoch}")

    def _waited_enough(self) -> bool:
        """Counts the epochs without improvement for early stopping, and tells when it is time to stop."""
        rule = self.recipe.stopping
        if rule is None:
            return False
        better = improved(rule.monitor, self.metrics[rule.monitor], self.state.stopping)
        best = self.metrics[rule.monitor] if better else self.state.stopping
        self.state = replace(self.state, stopping=best, waited=0 if better else self.state.waited + 1)
        if self.state.waited < rule.patience:
            return False
        self.tell(
            f"stopped early after epoch {self.state.epoch}: {rule.monitor} has not improved for {rule.patience} epochs"
        )
        return True

    def _check_metrics(self) -> None:
        for name in ("train/loss", "val/loss"):
            if not math.isfinite(self.metrics[name]):
                raise DivergedError(
                    f"training diverged: {name} is {self.metrics[name]} after epoch {self.state.epoch + 1}",
                    hint="lower optimizer.lr, or use a longer schedule.warmup",
                )
        for name in (self.recipe.monitor, *([self.recipe.stopping.monitor] if self.recipe.stopping else [])):
            if name not in self.metrics:
                raise DataError(
                    f"{name} cannot be measured: no row of the val split has a label for it",
                    hint="monitor another metric, or build the data again",
                )

    def _learn(self) -> dict[str, float]:
        """An epoch of training steps; returns the training metrics."""
        # Seeded, so that a resumed run continues exactly as one that was not stopped; each process draws its own.
        torch.manual_seed(self.recipe.seed * 100_003 + self.state.epoch + self.fabric.global_rank * 1_000_003)
        self.module.train()
        if self._freezing:
            self._freezing.set(self.state.epoch < self.recipe.optimizer.freeze_epochs)
        self.module.epoch = self.state.epoch
        total = _Totals()
        for step, batch in enumerate(self._train_batches()):
            self.step = step
            self._call("on_step_start")
            loss, sums = self._training_step(self.fabric.to_device(batch))
            self.optimizer.zero_grad()
            self.fabric.backward(loss)
            self.optimizer.step()
            if not isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step()
            if self.average:
                self.average.update()
            self.loss = loss.detach()
            total.add(sums)
            self._call("on_step_end")
            if self.interrupt.came and self.step + 1 < self.steps:
                raise self.interrupt.error(f"in epoch {self.state.epoch + 1}")
        return total.means(self.fabric)

    @property
    def _averaged(self) -> TrainingModule:
        """The module with the weights that are measured and exported."""
        return self.average.module if self.average else self.module

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The validation metrics of the averaged weights, measured by every process on the whole split."""
        module: TrainingModule = self._averaged.eval()
        total = _Totals()
        for batch in self.data.val_batches(self.fabric.device):
            with self.fabric.autocast():
                total.add(module.validation_step(self.fabric.to_device(batch)))
        return module.joined(total.means())

    def _content(self, *, whole: bool) -> dict[str, Any]:
        """A checkpoint: the weights that are exported and, if `whole`, all that resuming needs."""
        content = {
            "state": asdict(self.state),
            "hyper_parameters": self.module.hyper_parameters,
            "state_dict": self._averaged.state_dict(),
        }
        if whole:
            content["training"] = {
                "weights": self.module.state_dict(),
                "averaged": self.average.updates if self.average else 0,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
            }
        return content


class _Totals:
    """Sums of metrics over an epoch; they stay on their device until its end, so that no step waits for it."""

    def __init__(self) -> None:
        self._pairs: dict[str, Tensor] = {}

    def add(self, sums: Sums) -> None:
        for name, (value, count) in sums.items():
            number = count if isinstance(count, Tensor) else torch.full_like(value, count)
            pair = torch.stack([value.detach().float(), number.float()])
            self._pairs[name] = self._pairs[name] + pair if name in self._pairs else pair

    def means(self, fabric: "Fabric | None" = None) -> dict[str, float]:
        """The means over the steps, and over the processes of `fabric`, of metrics that have values."""
        pairs: Any = torch.stack(list(self._pairs.values()))  # (M, 2)
        if fabric is not None:
            pairs = fabric.all_reduce(pairs, reduce_op="sum")
        return {name: total / count for name, (total, count) in zip(self._pairs, pairs.tolist(), strict=True) if count}
