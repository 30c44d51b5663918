"""Hyper-parameter search with Optuna: many short runs of one recipe with other values of some keys.

The folder of a search holds `study.db` (Optuna's study in SQLite, which a kill does not damage), `best/`, the run of
the best trial, and `best.toml`, its recipe. The first trial is the unchanged recipe. The next ones are drawn by the
tree-structured Parzen estimator (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011). A
trial that is worse than the median of the others at the same epoch is pruned.
"""

import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.errors import ConfigError, MienError, MissingExtraError, OutputError, StoppedError
from mien.files import new_file
from mien.training.fit import FitOptions, fit
from mien.training.loop import Callback, Run, improved
from mien.training.recipe import RunRecipe, changed, mode, to_toml
from mien.training.search_space import Dimension
from mien.training.tasks import task_spec

if TYPE_CHECKING:
    import optuna

__all__ = ["Outcome", "Search", "outcomes"]

STARTUP: Final = 4  # complete trials before one is pruned
_ENOUGH: Final = 8  # complete trials before the importance of keys is estimated
_ENDS: Final = {"COMPLETE": "whole", "PRUNED": "ended early", "FAIL": "failed"}


@dataclass(frozen=True)
class Outcome:
    """The result of one trial.

    Attributes:
        number: From 0.
        state: "whole", "ended early" or "failed".
        value: The best value of the monitored metric; None if the trial failed.
        values: The values of the keys.
        error: Why it failed.
        best: Whether it is the best of the whole ones.
    """

    number: int
    state: str
    value: float | None
    values: dict[str, Any]
    error: str = ""
    best: bool = False


class _Pruning(Callback):
    """Reports each epoch to Optuna, and ends a trial that is hopeless."""

    def __init__(self, trial: "optuna.Trial", metric: str) -> None:
        self.trial, self.metric = trial, metric
        self.best: float | None = None

    def on_epoch_end(self, run: Run) -> None:
        """Reports the epoch."""
        import optuna

        value = run.metrics[self.metric]
        if improved(self.metric, value, self.best):
            self.best = value
        self.trial.report(value, run.state.epoch - 1)
        if self.trial.should_prune():
            raise optuna.TrialPruned


class Search:
    """A study of `recipe` on `data` in `folder`, started or continued.

    Args:
        recipe: Its other keys stay.
        data: As for `fit`.
        space: The keys to search.
        folder: Of the search.

    Raises:
        MissingExtraError: Optuna is not installed.
        ConfigError: The folder's study is damaged, or was started with another recipe, other data or another space.
        OutputError: The folder cannot be written.
    """

    def __init__(self, recipe: RunRecipe, data: Any, space: Sequence[Dimension], folder: Path) -> None:
        self.recipe, self.data, self.space, self.folder = recipe, data, tuple(space), folder
        about = {
            "recipe": to_toml(recipe),
            "data": json.dumps(task_spec(recipe.task).setup(recipe, data).fingerprint, sort_keys=True),
            "space": "\n".join(map(str, self.space)),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}", hint="choose another --out") from error
        self.study = _study(folder, mode(recipe.monitor))
        known = self.study.user_attrs
        differing = [key for key, value in about.items() if known and known.get(key) != value]
        if differing:
            raise ConfigError(
                f"{folder}: its study was started with another {' and another '.join(differing)}",
                hint="continue with the same ones, or choose another --out",
            )
        for key, value in about.items():
            self.study.set_user_attr(key, value)
        self._clean_up()

    def _clean_up(self) -> None:
        """After a kill: trials that were interrupted are repeated, their runs are deleted."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                self._repeat(trial.number)
        for left in self.folder.glob("trial-*"):
            shutil.rmtree(left)
        if not self.study.get_trials(deepcopy=False):
            plain = self.recipe.model_dump(mode="json")
            own = {each.key: each.value_in(plain) for each in self.space if each.holds(each.value_in(plain))}
            if own:
                self.study.enqueue_trial(own)

    def _repeat(self, number: int) -> None:
        """Counts an interrupted trial out and enqueues its values."""
        import optuna

        self.study.tell(number, state=optuna.trial.TrialState.FAIL)
        self.study.set_user_attr(f"cut off {number}", True)
        if params := self.study.get_trials(deepcopy=False)[number].params:
            self.study.enqueue_trial(params)

    @property
    def outcomes(self) -> list[Outcome]:
        """The results of the finished trials, in their order."""
        return _outcomes(self.study)

    def run(
        self,
        trials: int,
        *,
        minutes: float = math.inf,
        progress: bool = True,
        tell: Callable[[Outcome], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Runs trials until the study has `trials` of them; starts none when `minutes` have passed.

        Raises:
            StoppedError: Ctrl-C came.
            MienError: Every trial failed.
        """
        end = clock() + 60 * minutes
        try:
            while len(self.outcomes) < trials and clock() < end:
                self._run_trial(progress)
                tell(self.outcomes[-1])
        except (KeyboardInterrupt, StoppedError):
            raise StoppedError(
                f"stopped by Ctrl-C; {len(self.outcomes)} trials are in {self.folder / 'study.db'}",
                hint="the same command continues it",
            ) from None
        found = self.outcomes
        if found and all(outcome.state == "failed" for outcome in found):
            raise MienError(
                f"all {len(found)} trials failed, the last because: {found[-1].error}",
                hint="narrow --space, and check that `mien train` runs the unchanged recipe",
            )

    def _run_trial(self, progress: bool) -> None:
        import optuna

        # A seed for each trial, so that a search that was stopped continues as it would have.
        seed = self.recipe.seed + len(self.study.get_trials(deepcopy=False))
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        trial = self.study.ask({dimension.key: dimension.distribution() for dimension in self.space})
        place, pruning = self.folder / f"trial-{trial.number}", _Pruning(trial, self.recipe.monitor)
        try:
            recipe = changed(self.recipe, trial.params)
            fit(recipe, self.data, place, FitOptions(progress=progress, callbacks=[pruning]))
        except optuna.TrialPruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except (StoppedError, KeyboardInterrupt, OutputError):  # a full disk would fail the other trials, too
            self._repeat(trial.number)
            raise
        except (MienError, RuntimeError, ValueError, MemoryError) as error:  # torch: out of memory, shapes
            trial.set_user_attr("error", " ".join(str(error).split()))
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, pruning.best)
            if self.study.best_trial.number == trial.number:
                shutil.rmtree(self.folder / "best", ignore_errors=True)
                place.rename(self.folder / "best")
                with new_file(self.folder / "best.toml", "w", encoding="utf-8") as file:
                    file.write(to_toml(recipe))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def importances(self) -> dict[str, float]:
        """The share of the differences between trials that each key explains (PED-ANOVA); empty if there are few."""
        import optuna

        if sum(outcome.state == "whole" for outcome in self.outcomes) < _ENOUGH:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                return optuna.importance.get_param_importances(self.study, evaluator=evaluator)
            except (RuntimeError, ValueError):  # all trials alike
                return {}


def outcomes(folder: Path) -> list[Outcome]:
    """The results of the study in `folder`.

    Raises:
        ConfigError: There is no study.
        MissingExtraError: Optuna is not installed.
    """
    if not (folder / "study.db").is_file():
        raise ConfigError(f"{folder}: holds no study", hint="give the folder of a search, --out of `mien search`")
    return _outcomes(_study(folder, None))


def _outcomes(study: "optuna.Study") -> list[Outcome]:
    whole = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    best = study.best_trial.number if whole else None
    return [
        Outcome(
            trial.number,
            _ENDS[trial.state.name],
            trial.value,
            dict(trial.params),
            trial.user_attrs.get("error", ""),
            trial.number == best,
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in _ENDS and f"cut off {trial.number}" not in study.user_attrs
    ]


def _study(folder: Path, mode: str | None) -> "optuna.Study":
    """The study in a folder; with a `mode`, a missing one is made."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("searching", "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{(folder / 'study.db').resolve()}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mode is None:
                return optuna.load_study(study_name=None, storage=url)
            return optuna.create_study(
                storage=url,
                study_name="mien",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
                direction="minimize" if mode == "min" else "maximize",
                load_if_exists=True,
            )
    except Exception as error:  # SQLAlchemy has many, which Optuna does not wrap
        raise ConfigError(
            f"{folder / 'study.db'}: is not a study, or damaged: {str(error).partition(chr(10))[0]}",
            hint="choose another --out",
        ) from error
