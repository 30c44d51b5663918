"""A recipe: everything that decides a training run, in one TOML file.

Unknown keys and wrong types are rejected, all in one report. The resolved recipe is saved with every run. This module
holds the tables that the shared loop reads; each task adds its own in `<task>/recipe.py`.
"""

import difflib
import importlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, overload

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mien.errors import ConfigError, InputError

_RECIPES: Final = Path(__file__).parent.parent / "recipes"
_TASKS: Final = Path(__file__).parent
_LONG: Final = 60  # characters of a value that are shown
_LIST: Final = 12  # known keys that are listed; if there are more, only the nearest is named
# Keys with another name, which spelling alone would not suggest.
_RENAMED: Final = {
    "averaging": "ema_decay",
    "coarse": "downscale",
    "further": "fine_tune",
    "rounds": "stages",
    "select": "monitor",
    "start": "init_from",
}

Fraction = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """One table of a recipe: unknown keys are errors, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecipe(Table):
    """Which network, and its options as its module names them."""

    name: str
    weights: Annotated[
        str, Field(description="published weights to start from: their name, or the path of their file; empty: none")
    ] = ""
    options: dict[str, Any] = {}


class OptimizerRecipe(Table):
    """Stochastic gradient descent, Adam or AdamW; no weight decay on norms and biases."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4


class ScheduleRecipe(Table):
    """How the learning rate changes: linear warm-up, then one of four schedules.

    `cosine` falls by half a cosine to `final` times the rate; `step` multiplies the rate by `factor` at each of the
    epochs `at`; `plateau` does so when `monitor` has not improved for `patience` epochs; `constant` keeps the rate.
    """

    name: Literal["cosine", "step", "plateau", "constant"] = "cosine"
    warmup: Annotated[
        float | None, Field(ge=0, description="epochs; by default 2 for the cosine, none for the others")
    ] = None
    final: Annotated[Fraction, Field(description="of the cosine")] = 0.0
    at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(description="complete epochs before each step")] = ()
    factor: Annotated[float, Field(gt=0, lt=1, description="of step and plateau")] = 0.1
    patience: Annotated[int, Field(ge=1, description="of plateau, in epochs")] = 5

    @property
    def warm(self) -> float:
        """Epochs of warm-up."""
        return (2.0 if self.name == "cosine" else 0.0) if self.warmup is None else self.warmup

    @model_validator(mode="after")
    def _fits(self) -> "ScheduleRecipe":
        if bool(self.at) != (self.name == "step"):
            raise ValueError("at: expected epochs for the schedule 'step', and none for any other")
        if list(self.at) != sorted(set(self.at)):
            raise ValueError(f"at: expected increasing epochs, got {list(self.at)}")
        if self.name == "plateau" and self.warm:
            raise ValueError("warmup: the schedule 'plateau' has no warm-up")
        return self


class StoppingRecipe(Table):
    """Early stopping on a validation metric."""

    monitor: str = "val/loss"
    patience: Annotated[int, Field(ge=1)] = 10


class StageRecipe(Table):
    """A stage that continues from the best weights of the stages before it."""

    epochs: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]


class ScoreRecipe(Table):
    """A published score of the exported file; not part of the recipe of a run."""

    protocol: str
    split: Literal["val", "test"]
    accuracy: Fraction
    low: Annotated[Fraction | None, Field(description="lower end of the 95% interval")] = None
    high: Annotated[Fraction | None, Field(description="upper end")] = None
    tta: Literal["none", "flip", "ten-crop"] = "none"
    epochs: Annotated[int | None, Field(ge=1, description="of the measured run, if fewer than the recipe has")] = None

    def __str__(self) -> str:
        epochs = f" after {self.epochs} epochs" if self.epochs else ""
        return f"{self.protocol} {100 * self.accuracy:.1f}%{epochs}"


class RunRecipe(Table):
    """What every run needs; the recipe of a task adds its own tables and names its metrics.

    A task fixes the key `task` to its own name by a literal type.
    """

    task: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    epochs: Annotated[int, Field(ge=1)] = 50
    batch_size: Annotated[int, Field(ge=2)] = 128
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    ema_decay: Annotated[
        float, Field(ge=0, lt=1, description="decay of the moving average of the weights; 0: no average")
    ] = 0.999
    monitor: Annotated[
        str, Field(description="validation metric of the best checkpoint; lower is better for losses")
    ] = "val/loss"
    init_from: Annotated[
        str, Field(description="weights to start from: a shipped model, a .safetensors file, a run; empty: none")
    ] = ""
    fine_tune: Annotated[
        bool, Field(description="made to start from other weights: `--from` keeps its learning rate and its stages")
    ] = False
    model: ModelRecipe
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    stopping: StoppingRecipe | None = None
    stages: Annotated[
        tuple[StageRecipe, ...], Field(description="after the first stage, which has `epochs` and `optimizer.lr`")
    ] = ()
    score: Annotated[tuple[ScoreRecipe, ...], Field(description="published scores")] = ()

    @property
    def all_stages(self) -> tuple[StageRecipe, ...]:
        """Every stage, including the first one."""
        return (StageRecipe(epochs=self.epochs, lr=self.optimizer.lr), *self.stages)

    @classmethod
    def metrics(cls, plain: Mapping[str, Any]) -> list[str]:
        """The validation metrics of a run of this recipe, given as plain types that may be wrong in other ways."""
        return ["val/loss"]

    @classmethod
    def config_errors(cls, plain: Mapping[str, Any]) -> list[str]:
        """What is wrong between keys that are each right by themselves, and names that do not exist.

        The recipe comes as plain types and may be wrong in other ways, which are reported elsewhere.
        """
        metrics, stopping = cls.metrics(plain), plain.get("stopping")
        named = {"monitor": plain.get("monitor")}
        if isinstance(stopping, Mapping):
            named["stopping.monitor"] = stopping.get("monitor")
        return [
            f"{key}: there is no metric '{metric}', choose one of {', '.join(metrics)}"
            for key, metric in named.items()
            if isinstance(metric, str) and metric not in metrics
        ]


R = TypeVar("R", bound=RunRecipe)


def mode(metric: str) -> Literal["min", "max"]:
    """Whether lower or higher values of a validation metric are better."""
    return "min" if metric.endswith("loss") else "max"


def check_task(name: object) -> str:
    """The name of a task, which has a folder beside this module.

    Raises:
        ConfigError: There is no such task.
    """
    known = sorted(path.parent.name for path in _TASKS.glob("*/recipe.py"))
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"task: there is no task '{name}'", hint=f"known: {', '.join(known)}")
    return name


def recipe_names() -> list[str]:
    """The recipes that ship in the package."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml"))


@overload
def load(source: str | Path, overrides: Sequence[str] = ()) -> RunRecipe: ...
@overload
def load(source: str | Path, overrides: Sequence[str] = (), *, form: type[R]) -> R: ...
def load(source: str | Path, overrides: Sequence[str] = (), *, form: type[RunRecipe] = RunRecipe) -> RunRecipe:
    """Reads a recipe from a file, or a shipped one by its name, with `key.sub=value` overrides.

    The top-level key `task` chooses the task; the default is "expression".

    Args:
        source: The file, or the name of a shipped recipe.
        overrides: Settings that replace those of the file.
        form: The class that the recipe must have.

    Raises:
        InputError: There is no such file.
        ConfigError: It is not TOML, keys or values are wrong (all errors are named), or it is for another task.
    """
    path = Path(source)
    if not path.is_file() and str(source) in recipe_names():
        path = _RECIPES / f"{source}.toml"
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{source}: no such recipe", hint=f"give a .toml file or one of {', '.join(recipe_names())}"
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a folder, not a TOML file", hint=f"to resume a run: --resume {path}; its recipe is recipe.toml"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not a TOML file: {error}") from error
    recipe = _validated(plain, overrides, str(path))
    if not isinstance(recipe, form):
        raise ConfigError(f"{path}: is a recipe for the task '{recipe.task}'", hint=f"give a {form.__name__}")
    return recipe


def changed(recipe: R, overrides: Sequence[str] | Mapping[str, Any]) -> R:
    """The recipe with other values of some keys: settings as for `load`, or values by dotted key.

    Raises:
        ConfigError: Keys or values are wrong; all errors are named.
    """
    plain = recipe.model_dump(mode="json", exclude_none=True)
    other = _validated(plain, overrides, f"the recipe '{recipe.name}'")
    if not isinstance(other, type(recipe)):
        raise ConfigError(f"the recipe '{recipe.name}' is for the task '{recipe.task}'", hint="leave `task` out")
    return other


def check(recipe: RunRecipe) -> None:
    """Makes sure that a recipe made in a program names metrics, networks and options that exist.

    Raises:
        ConfigError: Some do not; all errors are named.
    """
    _report(recipe.config_errors(recipe.model_dump(mode="json")), f"the recipe '{recipe.name}'")


def to_toml(recipe: RunRecipe) -> str:
    """The resolved recipe, every key written out, as it is saved with a run."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _validated(plain: dict[str, Any], overrides: Sequence[str] | Mapping[str, Any], origin: str) -> RunRecipe:
    """The recipe made of plain types with `overrides` set."""
    errors = []
    for setting in overrides.items() if isinstance(overrides, Mapping) else overrides:
        try:
            _put(plain, *(_setting(setting) if isinstance(setting, str) else setting))
        except ConfigError as error:
            errors.append(f"{error.message}, {error.hint}")
    task = check_task(plain.get("task", "expression"))
    form: type[RunRecipe] = importlib.import_module(f"mien.training.{task}.recipe").RECIPE
    try:
        # As JSON, strictly: "128" is not a number and true is not 1, but a list may stand for a tuple.
        recipe = form.model_validate_json(json.dumps(plain, default=str), strict=True)
    except ValidationError as error:
        errors += [_error_text(item, form) for item in error.errors()]
    _report([*errors, *form.config_errors(plain)], origin)
    return recipe


def _report(errors: Sequence[str], origin: str) -> None:
    if errors:
        listed = errors[0] if len(errors) == 1 else f"{len(errors)} errors" + "".join(f"\n  {line}" for line in errors)
        raise ConfigError(f"{origin}: {listed}", hint="see docs/training.md for every key")


def _setting(text: str) -> tuple[str, Any]:
    """Key and value of a setting, as in optimizer.lr=0.01.

    Raises:
        ConfigError: It has no key or no value.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"'{text}' is not a setting", hint="write it as optimizer.lr=0.01")
    return key.strip(), plain_value(value)


def plain_value(text: str) -> Any:
    """A value in TOML's notation; other text is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(plain: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    for name in tables:
        plain = plain.setdefault(name, {})
        if not isinstance(plain, dict):
            raise ConfigError(f"'{key}': {name} is not a table", hint="write it as optimizer.lr=0.01")
    plain[last] = value


def _error_text(item: ErrorDetails, form: type[BaseModel]) -> str:
    """One of pydantic's errors: the dotted key, and what is wrong with it."""
    place = item["loc"]
    key = ".".join(str(part) for part in place if part != "[key]")
    kind, text = item["type"], item["msg"]
    if kind == "extra_forbidden":
        text = f"unknown key{meant(str(place[-1]), _keys(form, place[:-1]))}"
    elif kind == "missing":
        text = "is missing"
    elif kind == "value_error":
        text = text.removeprefix("Value error, ")
    else:
        text = f"{text[:1].lower()}{text[1:]}, got {shorten(str(item['input']))}"
    return f"{key}: {text}" if key else text


def shorten(text: str) -> str:
    """A value as messages show it."""
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that suggests what a wrong word may have meant."""
    names = sorted(known)
    near = [_RENAMED[word]] if _RENAMED.get(word) in names else difflib.get_close_matches(word, names, n=1)
    if near:
        return f", did you mean {near[0]}?"
    return f", known: {', '.join(names)}" if names and len(names) <= _LIST else ""


def _keys(form: type[BaseModel], place: Sequence[int | str]) -> Sequence[str]:
    """The keys of the table at `place`."""
    for name in place:
        if name in form.model_fields:  # otherwise it is the name of a head, or the number of a stage
            found = _table_in(form.model_fields[str(name)].annotation)
            if found is None:
                return ()
            form = found
    return tuple(form.model_fields)


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _table_in(part))), None)
