"""A recipe: everything that decides a training run, in one TOML file.

Unknown keys and wrong types are rejected, all in one report. The resolved recipe is saved with every run. This module
holds the tables that the shared loop reads; each task adds its own in `<task>/recipe.py`.
"""

import difflib
import importlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args, get_origin, overload

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mien.assets.recognise import wrong_recipe
from mien.errors import ConfigError, InputError, nearest

_RECIPES: Final = Path(__file__).parent.parent / "recipes"
_TASKS: Final = Path(__file__).parent
_LONG: Final = 60  # characters of a value that are shown
_LIST: Final = 12  # known keys that are listed; if there are more, only the nearest is named
_EMPTY: Final = "none"  # how a setting writes no value, for which TOML has no notation
# Keys with another name, which spelling alone would not suggest.
_RENAMED: Final = {
    "averaging": "ema_decay",
    "coarse": "downscale",
    "further": "fine_tune",
    "rounds": "stages",
    "select": "monitor",
    "start": "init_from",
}

# Names of keys in other programs.
_SYNONYMS: Final = {"learning_rate": "lr", "wd": "weight_decay", "bs": "batch_size", "optim": "optimizer"}
# How to write a value of a type, by pydantic's name of the error.
_FORMS: Final = {
    "bool_type": "; write true or false",
    "model_type": "; it is a table: set its keys one by one, as in optimizer.lr=0.01",
    "model_attributes_type": "; it is a table: set its keys one by one, as in optimizer.lr=0.01",
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
    weights_sha256: Annotated[
        str,
        Field(pattern="^([0-9a-fA-F]{64})?$", description="hash that the file must have; empty: any file that fits"),
    ] = ""
    options: dict[str, Any] = {}


class OptimizerRecipe(Table):
    """Stochastic gradient descent, Adam or AdamW; no weight decay on norms and biases.

    Pretrained networks may learn at two rates: `lr` times `trunk_lr_scale` and `lr` times `head_lr_scale`.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    trunk_lr_scale: Annotated[float, Field(gt=0, description="factor of the trunk's learning rate")] = 1.0
    head_lr_scale: Annotated[float, Field(gt=0, description="factor of the heads' learning rate")] = 1.0
    freeze_epochs: Annotated[
        int,
        Field(ge=0, description="first epochs in which only the heads learn; the trunk's norms stay fixed too"),
    ] = 0
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
    epochs: Annotated[int | None, Field(ge=1, description="of the measured run, if not those of the recipe")] = None
    stopped_early: Annotated[bool, Field(description="early stopping ended the measured run")] = False
    changes: Annotated[
        tuple[str, ...], Field(description="settings of the measured run that the recipe does not have, as for --set")
    ] = ()

    @property
    def other_changes(self) -> tuple[str, ...]:
        """The changes, without a number of epochs that `epochs` gives."""
        return tuple(change for change in self.changes if change != f"epochs={self.epochs}")

    def __str__(self) -> str:
        epochs = f" after {self.epochs} epochs" if self.epochs and not self.stopped_early else ""
        size = next((change for change in self.changes if change.startswith("input.size=")), "")
        changes = f" at {size.partition('=')[2]} pixels" if size else ""
        changes += " with changes" if {*self.other_changes} - {size} else ""
        return f"{self.protocol} {100 * self.accuracy:.1f}%{epochs}{changes}"


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

    @property
    def total_epochs(self) -> int:
        """Epochs of all stages, if none stops early."""
        return sum(stage.epochs for stage in self.all_stages)

    def for_other_data(self) -> Self:
        """The recipe for data that may lack some of what it learns from: that of weights to start from."""
        return self

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
    return "min" if metric.endswith(("loss", "rmse")) else "max"


def check_task(name: object) -> str:
    """The name of a task, which has a folder beside this module.

    Raises:
        ConfigError: There is no such task.
    """
    known = sorted(path.parent.name for path in _TASKS.glob("*/recipe.py"))
    if not isinstance(name, str) or name not in known:
        hint = f"{f'did you mean {near}? ' if (near := nearest(str(name), known)) else ''}known: {', '.join(known)}"
        raise ConfigError(f"task: there is no task '{name}'", hint=hint)
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
    path, origin = Path(source), str(source)
    if not path.is_file() and str(source) in recipe_names():
        path, origin = _RECIPES / f"{source}.toml", f"the recipe '{source}'"
    if wrong := wrong_recipe(path):
        raise wrong
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = nearest(path.stem if path.suffix == ".toml" else str(source), recipe_names())
        raise InputError(
            f"{source}: no such recipe",
            hint=f"{f'did you mean {near}? ' if near else ''}give a .toml file or one of {', '.join(recipe_names())}",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not a TOML file: {error}", hint="give a recipe (.toml)") from error
    recipe = _validated(plain, overrides, origin)
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
    errors, settings = [], dict[str, str]()  # the settings by key, as they were written
    empty = []  # keys set to `none`, which is also the text of some values: the form tells
    for setting in overrides.items() if isinstance(overrides, Mapping) else overrides:
        try:
            key, value = _setting(setting) if isinstance(setting, str) else setting
            if key in settings:
                raise ConfigError(f"{key}: is set twice: {settings[key]} and {setting}", hint="leave one out")
            _check_head(key, plain.get("heads"), overrides)
            if isinstance(setting, str):
                settings[key] = setting
            _put(plain, key, value)
            empty += [key] * (value == _EMPTY)
        except ConfigError as error:
            errors.append(f"--set {error.message}; {error.hint}")
    try:
        task = check_task(plain.get("task", "expression"))
    except ConfigError as error:
        raise ConfigError(_blamed(error.message, settings), hint=error.hint) from None
    form: type[RunRecipe] = importlib.import_module(f"mien.training.{task}.recipe").RECIPE
    for key in empty:
        if _may_be_empty(form, key):
            _put(plain, key, None)
    try:
        # As JSON, strictly: "128" is not a number and true is not 1, but a list may stand for a tuple.
        recipe = form.model_validate_json(json.dumps(plain, default=str), strict=True)
    except ValidationError as error:
        errors += [_blamed(_error_text(item, form, settings), settings) for item in error.errors()]
    _report([*errors, *(_blamed(line, settings) for line in form.config_errors(plain))], origin)
    return recipe


def _check_head(key: str, heads: object, overrides: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuses a setting of a head that is not there, unless another setting makes the head.

    Raises:
        ConfigError: The message names the heads.
    """
    table, _, rest = key.partition(".")
    name, dot, _ = rest.partition(".")
    if table != "heads" or not dot or not isinstance(heads, Mapping) or not heads or name in heads:
        return
    if not any(str(other).startswith(f"heads.{name}.source") for other in overrides):
        near = f"did you mean {found}? " if (found := nearest(name, heads)) else ""
        raise ConfigError(
            f"{key}: the recipe has no head '{name}'; its heads are {', '.join(heads)}",
            hint=f"{near}a new head needs heads.{name}.source",
        )


def _blamed(line: str, settings: Mapping[str, str]) -> str:
    """An error that begins with a key: with the setting that caused it, if there is one, in the place of the key."""
    key, colon, rest = line.partition(":")
    for name, written in settings.items():
        if f"{name}.".startswith(f"{key}.") or key.startswith(f"{name}."):
            return f"--set {shorten(written)}{colon}{rest}"
    return line


def _report(errors: Sequence[str], origin: str) -> None:
    """Raises one error for all of them; those of settings do not name the file, in which they are not."""
    if not errors:
        return
    if len(errors) == 1:
        line = errors[0] if errors[0].startswith("--set ") else f"{origin}: {errors[0]}"
    else:
        of_settings = sum(line.startswith("--set ") for line in errors)
        place = "the settings" if of_settings == len(errors) else origin if not of_settings else f"{origin} and --set"
        line = f"{place}: {len(errors)} errors" + "".join(f"\n  {line}" for line in errors)
    raise ConfigError(line, hint="see docs/training.md for every key")


def _setting(text: str) -> tuple[str, Any]:
    """Key and value of a setting, as in optimizer.lr=0.01.

    Raises:
        ConfigError: It has no key or no value.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        lacks = "key" if sign else "value"
        raise ConfigError(f"{text or repr(text)}: has no {lacks}", hint="write it as optimizer.lr=0.01")
    return key.strip(), plain_value(value.strip())


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
            raise ConfigError(f"{key}: {name} is not a table", hint="write it as optimizer.lr=0.01")
    plain[last] = value


def _may_be_empty(form: type[BaseModel], key: str) -> bool:
    """Whether a dotted key may have no value."""
    *tables, last = key.split(".")
    for name in tables:
        if name in form.model_fields:  # otherwise it is the name of a head
            found = _table_in(form.model_fields[name].annotation)
            if found is None:
                return False
            form = found
    return last in form.model_fields and NoneType in get_args(form.model_fields[last].annotation)


def _error_text(item: ErrorDetails, form: type[BaseModel], settings: Mapping[str, str]) -> str:
    """One of pydantic's errors: the dotted key, and what is wrong with it."""
    place = item["loc"]
    key = ".".join(str(part) for part in place if part != "[key]")
    kind, text = item["type"], item["msg"]
    if kind == "extra_forbidden":
        whole = next((name for name in settings if f"{name}.".startswith(f"{key}.")), key)
        text = f"unknown key{_key_meant(whole, place, form)}"
    elif kind == "missing":
        text = "is missing"
    elif kind == "value_error":
        text = text.removeprefix("Value error, ")
    else:
        given = repr(item["input"]) if isinstance(item["input"], str) else str(item["input"])
        text = f"{text[:1].lower()}{text[1:]}, got {shorten(given)}"
        text += _FORMS.get(kind, "")
        if kind == "float_type" and re.fullmatch(r"\d+,\d+", str(item["input"])):
            text += f"; write {str(item['input']).replace(',', '.')}"
    return f"{key}: {text}" if key else text


def _key_meant(key: str, place: Sequence[int | str], form: type[BaseModel]) -> str:
    """The end of a sentence that suggests what a wrong key may have meant, with its table.

    Args:
        key: The dotted key as it was written.
        place: The part of it that is wrong: its last name is not in its table.
        form: The class of the recipe.
    """
    *tables, last = (str(part) for part in place)
    rest = key.split(".")[len(place) :]
    by_table = _tables(form)
    if rest:  # optimiser.lr
        table = nearest(last, (path[0] for path in by_table if path)) if not tables else ""
        if table and (leaf := _leaf(rest[0], by_table[table,])):
            return f", did you mean {table}.{leaf}?"
    elif near := meant(last, _keys(form, place[:-1])).partition(", did you mean ")[2]:
        return f", did you mean {'.'.join([*tables, near])}"
    leaves = [
        (*table, leaf) for table, names in by_table.items() if (leaf := _leaf((rest or [last])[-1], names, exact=True))
    ]
    if leaves:  # lr
        return f", did you mean {' or '.join('.'.join(path) for path in leaves)}?"
    return meant(last, _keys(form, place[:-1]))


def _leaf(word: str, names: Sequence[str], *, exact: bool = False) -> str:
    """The key of a table that a word means: itself, a synonym or, unless `exact`, the nearest; empty if none does."""
    word = word.lower().replace("-", "_")
    word = _SYNONYMS.get(word, word)
    return word if word in names else "" if exact else nearest(word, names)


def _tables(form: type[BaseModel]) -> dict[tuple[str, ...], Sequence[str]]:
    """The keys of the recipe and of its tables, by the name of the table; not of lists of tables."""
    found: dict[tuple[str, ...], Sequence[str]] = {(): tuple(form.model_fields)}
    for name, field in form.model_fields.items():
        if get_origin(field.annotation) not in (tuple, dict) and (table := _table_in(field.annotation)):
            found[name,] = tuple(table.model_fields)
    return found


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
