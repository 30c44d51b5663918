"""Hyper-parameter search with Optuna: many short runs of one recipe with different values of some keys.

The folder of a search holds `study.db` (Optuna's study in SQLite, which a kill does not damage), `best/`, the run of
the best trial, and `best.toml`, its recipe. The first trial is the unchanged recipe. The next ones are drawn by the
tree-structured Parzen estimator (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011). A
trial that is worse than the median of the others at the same epoch is pruned.
"""

import json
import math
import os
import re
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.errors import ConfigError, MienError, MissingExtraError, OutputError, StoppedError
from mien.files import check_folder, locked_folder, new_file, write_errors
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.fit import FitOptions, fit
from mien.training.loop import Callback, Run, improved
from mien.training.recipe import RunRecipe, changed, mode, plain_value, to_toml
from mien.training.tasks import task_spec

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STARTUP: Final = 4  # complete trials before one is pruned
_ENOUGH: Final = 8  # complete trials before the importance of keys is estimated
_ENDS: Final = {"COMPLETE": "complete", "PRUNED": "ended early", "FAIL": "failed"}
_NAME: Final = "mien"  # of the study
_FORM: Final = "write it as optimizer.lr=0.001..0.1:log, batch_size=32..128 or optimizer.name=sgd,adamw"


@dataclass(frozen=True)
class Dimension:
    """One key that a search sets.

    Attributes:
        key: Of the recipe, dotted.
        low: The lowest value; an int if only whole numbers are drawn.
        high: The highest value.
        log: Whether the logarithm is drawn uniformly.
        choices: Instead of a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Dimension":
        """Reads KEY=LOW..HIGH, KEY=LOW..HIGH:log (whole numbers if both ends are), or KEY=A,B,C.

        Raises:
            ConfigError: The text has another form.
        """
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key or not value:
            raise ConfigError(f"'{text}' is not a valid search dimension", hint=_FORM)
        if ".." not in value:
            choices = tuple(plain_value(choice.strip()) for choice in value.split(","))
            if len(set(map(repr, choices))) < 2:
                raise ConfigError(f"'{text}': a search needs at least two choices", hint=f"{_FORM}; --set fixes a key")
            return cls(key, choices=choices)
        span, _, scale = value.partition(":")
        low, high = (plain_value(end) for end in span.split("..", 1))
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if scale not in ("", "log") or not numbers or not low < high or (scale and not low > 0):
            raise ConfigError(
                f"'{text}': expected two increasing numbers, above 0 for :log, found '{value}'",
                hint=_FORM,
            )
        return cls(key, low, high, log=bool(scale))

    def holds(self, value: Any) -> bool:
        """Whether `value` can be drawn."""
        if self.choices:
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def value_in(self, plain: Mapping[str, Any]) -> Any:
        """The value of the key in a recipe given as plain types; None if it has none."""
        value: Any = plain
        for name in self.key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def distribution(self) -> "BaseDistribution":
        """As Optuna describes it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        """As `parse` reads it."""
        if self.choices:
            return f"{self.key}={','.join(map(str, self.choices))}"
        return f"{self.key}={self.low}..{self.high}{':log' if self.log else ''}"


def space_of(recipe: RunRecipe, texts: Sequence[str]) -> tuple[Dimension, ...]:
    """The dimensions that `texts` describe; without any, `usual_space`.

    Raises:
        ConfigError: Texts are malformed, or name keys or values that the recipe cannot have; all errors are named.
    """
    if not texts:
        return usual_space(recipe)
    wrong: dict[str, None] = {}
    found: dict[str, Dimension] = {}
    for text in texts:
        try:
            dimension = Dimension.parse(text)
        except ConfigError as error:
            wrong[error.message] = None
            continue
        if dimension.key in found:
            wrong[f"'{dimension.key}' is given twice"] = None
        found[dimension.key] = dimension
        for value in dimension.choices or (dimension.low, dimension.high):
            try:
                changed(recipe, {dimension.key: value})
            except ConfigError as error:
                wrong[error.message] = None
    if wrong:
        raise ConfigError("; ".join(wrong), hint=_FORM)
    return tuple(found.values())


def usual_space(recipe: RunRecipe) -> tuple[Dimension, ...]:
    """What is worth a search in most recipes: learning rate, weight decay, dropout, mixup and erasing.

    Learning rate and weight decay lie within a factor of ten of the recipe's own; a recipe without decay may get some.
    """
    rate, decay = recipe.optimizer.lr, recipe.optimizer.weight_decay
    found = [
        Dimension("optimizer.lr", _two(rate / 10), _two(rate * 10), log=True),
        Dimension("optimizer.weight_decay", _two(decay / 10), _two(decay * 10), log=True)
        if decay
        else Dimension("optimizer.weight_decay", choices=(0.0, 1e-5, 1e-4, 1e-3)),
    ]
    if isinstance(recipe.model.options.get("dropout"), float):
        found.append(Dimension("model.options.dropout", 0.0, 0.6))
    if isinstance(recipe, ExpressionRecipe):
        found += [Dimension("augmentation.mixup", 0.0, 0.4), Dimension("augmentation.erase", 0.0, 0.6)]
    return tuple(found)


def _two(value: float) -> float:
    """Rounded to two significant digits."""
    return round(value, 1 - math.floor(math.log10(value)))


@dataclass(frozen=True)
class Outcome:
    """The result of one trial.

    Attributes:
        number: From 0.
        state: "complete", "ended early" or "failed".
        value: The best value of the monitored metric; None if the trial failed.
        values: The values of the keys.
        error: Why it failed.
        best: Whether it is the best of the complete ones.
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
        OutputError: The folder cannot be written, or has files that are not of a search.
    """

    def __init__(self, recipe: RunRecipe, data: Any, space: Sequence[Dimension], folder: Path) -> None:
        self.recipe, self.data, self.space, self.folder = recipe, data, tuple(space), folder
        _check_folder(folder)
        about = {
            "recipe": to_toml(recipe),
            "data": json.dumps(task_spec(recipe.task).setup(recipe, data).fingerprint, sort_keys=True),
            "space": "\n".join(map(str, self.space)),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}", hint="choose another --out") from error
        with self._alone():
            self._open(about)

    def _alone(self) -> AbstractContextManager[None]:
        """Keeps a second process out: it would take the trial that is running for one that was interrupted."""
        return locked_folder(self.folder, "a search")

    def _open(self, about: Mapping[str, str]) -> None:
        """Opens the study, or begins it; see the errors of the class."""
        folder = self.folder
        self.study = _study(folder, mode(self.recipe.monitor))
        known, trials = self.study.user_attrs, self.study.get_trials(deepcopy=False)
        if trials and not about.keys() <= known.keys():
            raise ConfigError(f"{folder}: its study was not started by `mien search`", hint="choose another --out")
        differing = [key for key, value in about.items() if known and known.get(key) != value]
        if differing:
            raise ConfigError(
                f"{folder}: its study was started with another {' and another '.join(differing)}",
                hint="continue with the same ones, or choose another --out",
            )
        self._check_files(trials)
        for key, value in about.items():
            self.study.set_user_attr(key, value)
        self._clean_up()

    def _check_files(self, trials: "Sequence[optuna.trial.FrozenTrial]") -> None:
        """Refuses a folder with files that the search would replace or delete, and that none of its trials wrote.

        Raises:
            OutputError: There is such a file or folder.
        """
        names = [name for name in os.listdir(self.folder) if re.fullmatch("trial-[0-9]+", name)]
        foreign = sorted(set(names) - {f"trial-{trial.number}" for trial in trials})
        if not any(trial.state.name == "COMPLETE" for trial in trials):
            foreign += [name for name in ("best", "best.toml") if os.path.lexists(self.folder / name)]
        if foreign:
            raise OutputError(
                f"{self.folder / foreign[0]}: was not written by this search, which needs the name",
                hint="rename it, or choose another --out",
            )

    def _clean_up(self) -> None:
        """After a kill: trials that were interrupted are repeated, their runs are deleted."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                self._repeat(trial.number)
            left = self.folder / f"trial-{trial.number}"
            if left.is_dir() and not left.is_symlink():
                with write_errors(left):
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
            OutputError: Another process is searching in the folder.
            MienError: Every trial failed.
        """
        end = clock() + 60 * minutes
        try:
            with self._alone():
                while len(self.outcomes) < trials and clock() < end:
                    self._run_trial(progress)
                    tell(self.outcomes[-1])
        except (KeyboardInterrupt, StoppedError):
            raise StoppedError(
                f"stopped by Ctrl-C; {len(self.outcomes)} trials are in {self.folder / 'study.db'}",
                hint="repeat the command to continue",
            ) from None
        found = self.outcomes
        if found and all(outcome.state == "failed" for outcome in found):
            raise MienError(
                f"all {len(found)} trials failed; the last error: {found[-1].error}",
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

        if sum(outcome.state == "complete" for outcome in self.outcomes) < _ENOUGH:
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
        raise ConfigError(
            f"{folder}: does not contain a study", hint="give the folder of a search, --out of `mien search`"
        )
    return _outcomes(_study(folder, None))


def _outcomes(study: "optuna.Study") -> list[Outcome]:
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    best = study.best_trial.number if complete else None
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


def _check_folder(folder: Path) -> None:
    """Refuses a folder with files but without a study: the search deletes and replaces files of certain names.

    Raises:
        OutputError: It is such a folder, or cannot be written.
    """
    check_folder(folder)
    with write_errors(folder):
        if folder.is_dir() and not (folder / "study.db").is_file() and any(folder.iterdir()):
            raise OutputError(
                f"{folder}: contains files, but no study of `mien search`", hint="choose a new or empty folder as --out"
            )


def _check_file(path: Path) -> None:
    """Refuses a database of another program, before Optuna adds its tables to it; a new or empty file is accepted.

    Raises:
        ConfigError: The file has tables that are not Optuna's, or studies of another name.
        sqlite3.Error: It is not a database.
    """
    if not path.is_file():
        return
    with closing(sqlite3.connect(path)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        names = [name for (name,) in database.execute("SELECT study_name FROM studies")] if "studies" in tables else []
    if (tables and "studies" not in tables) or (names and names != [_NAME]):
        raise ConfigError(f"{path}: is not a study of `mien search`", hint="choose another --out")


def _study(folder: Path, mode: str | None) -> "optuna.Study":
    """The study in a folder; with a `mode`, a missing one is made."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("searching", "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{(folder / 'study.db').resolve()}"
    try:
        _check_file(folder / "study.db")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mode is None:
                return optuna.load_study(study_name=None, storage=url)
            return optuna.create_study(
                storage=url,
                study_name=_NAME,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
                direction="minimize" if mode == "min" else "maximize",
                load_if_exists=True,
            )
    except ConfigError:
        raise
    except Exception as error:  # SQLAlchemy has many, which Optuna does not wrap
        raise ConfigError(
            f"{folder / 'study.db'}: is not a study, or damaged: {str(error).partition(chr(10))[0]}",
            hint="choose another --out",
        ) from error
