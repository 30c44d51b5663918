"""Search for hyper-parameters with Optuna: many short runs of one recipe, each with other values of some keys.

A search's folder holds `study.db` (Optuna's own, SQLite: a kill leaves it whole), `best/`, the run of the best trial,
and `best.toml`, its recipe. The first trial is the recipe as it is, the next are drawn by the tree-structured Parzen
estimator (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011), and a trial that is worse than
the median of the others at the same epoch is ended early.
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

import lightning

from mien.errors import ConfigError, MienError, MissingExtraError, OutputError, StoppedError
from mien.training.loop import fit
from mien.training.recipe import changed, to_toml
from mien.training.recipe_base import RunRecipe, better
from mien.training.search_space import Dimension
from mien.training.tasks import kind

if TYPE_CHECKING:
    import optuna

__all__ = ["Outcome", "Search", "outcomes"]

STARTUP: Final = 4  # whole trials before one is ended early
_ENOUGH: Final = 8  # whole trials before it can be said which key matters
_ENDS: Final = {"COMPLETE": "whole", "PRUNED": "ended early", "FAIL": "failed"}


@dataclass(frozen=True)
class Outcome:
    """What became of one trial.

    Attributes:
        number: From 0.
        state: "whole", "ended early" or "failed".
        value: Its best `select`; None where it failed.
        values: By key.
        error: Why it failed.
        best: Whether it is the best of the whole ones.
    """

    number: int
    state: str
    value: float | None
    values: dict[str, Any]
    error: str = ""
    best: bool = False


class _Watch(lightning.Callback):
    """Tells Optuna of each epoch, and ends a trial that is hopeless or has no figures left."""

    def __init__(self, trial: "optuna.Trial", figure: str) -> None:
        self.trial, self.figure = trial, figure
        self.best: float | None = None

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """After its validation."""
        import optuna

        value = float(trainer.callback_metrics[self.figure])
        if not math.isfinite(value):
            raise MienError(f"{self.figure} is {value} after epoch {trainer.current_epoch + 1}")
        self.best = value if self.best is None else (min, max)[better(self.figure) == "max"](self.best, value)
        self.trial.report(value, trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


class Search:
    """A study of `recipe` on `data` in `folder`, begun or gone on with.

    Args:
        recipe: Whose other keys stay.
        data: As for `fit`.
        space: What is searched.
        folder: Of the search.

    Raises:
        MissingExtraError: Optuna is not installed.
        ConfigError: The folder's study is of another recipe, other data or another space; or is damaged.
        OutputError: The folder cannot be written.
    """

    def __init__(self, recipe: RunRecipe, data: Any, space: Sequence[Dimension], folder: Path) -> None:
        self.recipe, self.data, self.space, self.folder = recipe, data, tuple(space), folder
        about = {
            "recipe": to_toml(recipe),
            "data": json.dumps(kind(recipe.task).setup(recipe, data).fingerprint, sort_keys=True),
            "space": "\n".join(map(str, self.space)),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}", hint="choose another --out") from error
        self.study = _study(folder, better(recipe.select))
        known = self.study.user_attrs
        differing = [key for key, value in about.items() if known and known.get(key) != value]
        if differing:
            raise ConfigError(
                f"{folder}: its study was begun with another {' and another '.join(differing)}",
                hint="go on with the same ones, or choose another --out",
            )
        for key, value in about.items():
            self.study.set_user_attr(key, value)
        self._tidy()

    def _sampler(self, seed: int) -> None:
        """Each trial is drawn with a seed of its own, so that a search which was cut off goes on as it would have."""
        import optuna

        self.study.sampler = optuna.samplers.TPESampler(seed=seed)

    def _tidy(self) -> None:
        """After a kill: what was cut off is counted out and tried again, its run is gone."""
        import optuna

        for trial in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self._again(trial)
        for left in self.folder.glob("trial-*"):
            shutil.rmtree(left)
        if not self.study.get_trials(deepcopy=False) and (own := self._own()):
            self.study.enqueue_trial(own)

    def _again(self, trial: "optuna.trial.FrozenTrial") -> None:
        self.study.set_user_attr(f"cut off {trial.number}", True)
        if trial.params:
            self.study.enqueue_trial(trial.params)

    def _own(self) -> dict[str, Any]:
        """The recipe's own values, where the space has them."""
        plain = self.recipe.model_dump(mode="json")
        own: dict[str, Any] = {}
        for dimension in self.space:
            value: Any = plain
            for name in dimension.key.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if dimension.holds(value):
                own[dimension.key] = value
        return own

    @property
    def outcomes(self) -> list[Outcome]:
        """Of the trials that have come to an end, in their order."""
        return _outcomes(self.study)

    def run(
        self,
        trials: int,
        *,
        minutes: float = math.inf,
        progress: bool = True,
        tell: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        """Goes on until the study has `trials` of them, or until `minutes` are over after a trial.

        Raises:
            StoppedError: Ctrl-C came.
            MienError: Every trial failed.
        """
        began = time.monotonic()
        try:
            while len(self.outcomes) < trials and time.monotonic() - began < 60 * minutes:
                self._one(progress)
                tell(self.outcomes[-1])
        except KeyboardInterrupt:
            raise self._stopped() from None
        found = self.outcomes
        if found and all(outcome.state == "failed" for outcome in found):
            raise MienError(
                f"all {len(found)} trials failed, the last because: {found[-1].error}",
                hint="narrow --space, and see whether `mien train` runs the recipe as it is",
            )

    def _stopped(self) -> StoppedError:
        return StoppedError(
            f"stopped by Ctrl-C; {len(self.outcomes)} trials are in {self.folder / 'study.db'}",
            hint="the same command goes on",
        )

    def _one(self, progress: bool) -> None:
        import optuna

        self._sampler(self.recipe.seed + len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask()
        place = self.folder / f"trial-{trial.number}"
        watch = _Watch(trial, self.recipe.select)
        try:
            recipe = changed(self.recipe, {dimension.key: _drawn(trial, dimension) for dimension in self.space})
            fit(recipe, self.data, place, progress=progress, callbacks=[watch])
        except optuna.TrialPruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except (StoppedError, KeyboardInterrupt):
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            self._again(self.study.get_trials(deepcopy=False)[trial.number])
            raise self._stopped() from None
        except OutputError:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            self._again(self.study.get_trials(deepcopy=False)[trial.number])
            raise  # a full disk would fail the others too
        except (MienError, RuntimeError, ValueError, MemoryError) as error:  # torch: out of memory, shapes
            trial.set_user_attr("error", " ".join(str(error).split()))
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, watch.best)
            if self.study.best_trial.number == trial.number:
                self._keep(recipe, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _keep(self, recipe: RunRecipe, place: Path) -> None:
        """The run and the recipe of the best trial so far, in the place of the best before."""
        best, partial = self.folder / "best", self.folder / "best.toml.partial"
        shutil.rmtree(best, ignore_errors=True)
        place.rename(best)
        partial.write_text(to_toml(recipe), encoding="utf-8")
        partial.replace(self.folder / "best.toml")

    def importances(self) -> dict[str, float]:
        """How much of the differences between trials each key explains (PED-ANOVA); empty while there are few."""
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
    """The trials of the study in `folder`, to look at.

    Raises:
        ConfigError: There is none.
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


def _drawn(trial: "optuna.Trial", dimension: Dimension) -> Any:
    if dimension.choices:
        return trial.suggest_categorical(dimension.key, dimension.choices)
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.whole:
        return trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log)


def _study(folder: Path, mode: str | None) -> "optuna.Study":
    """The study in a folder, made where there is none and `mode` says what is better."""
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
    except Exception as error:  # of SQLAlchemy, which is Optuna's affair
        raise ConfigError(
            f"{folder / 'study.db'}: is no study, or a damaged one: {str(error).partition(chr(10))[0]}",
            hint="choose another --out",
        ) from error
