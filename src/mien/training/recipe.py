"""A recipe: everything that decides a training run, in one TOML file.

Unknown keys and wrong types are rejected, all of them at once. The resolved recipe is saved with every run.
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

from pydantic import Field, ValidationError, model_validator

from mien.assets.manifest import InputSpec, Levelling, toml_key, toml_value
from mien.errors import ConfigError, InputError
from mien.training.kinds import kind
from mien.training.tables import Fraction, RunRecipe, Table

__all__ = ["Augmentation", "HeadRecipe", "Recipe", "load", "recipe_names", "to_toml"]

_FOLDER = Path(__file__).parent.parent / "recipes"
R = TypeVar("R", bound=RunRecipe)
HeadName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class InputRecipe(Table):
    """What the network sees; see `InputSpec`."""

    size: Annotated[int, Field(ge=16, le=512)] = 48
    channels: Literal["grey", "rgb"] = "grey"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    levelling: Levelling = "none"
    landmarks: Annotated[
        tuple[tuple[float, float], ...],
        Field(description="where the five landmarks lie in the pictures, as fractions of the side; empty: unknown"),
    ] = ()

    @model_validator(mode="after")
    def _fits(self) -> "InputRecipe":
        self.spec()
        if len(self.landmarks) not in (0, 5):
            raise ValueError(f"landmarks: expected five points or none, got {len(self.landmarks)}")
        return self

    def spec(self) -> InputSpec:
        """The same as the rest of the house knows it."""
        return InputSpec(self.size, self.channels, self.mean, self.std, self.levelling)


class HeadRecipe(Table):
    """One way of labelling, learnt by one linear layer."""

    source: Literal["labels", "votes"]
    labels: Annotated[
        Literal["shares", "majority", "pld", "cel", "multi"],
        Field(description="what the votes become: their shares over ten classes, or one of FER+'s modes over eight"),
    ] = "shares"
    weight: Annotated[float, Field(gt=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _has_votes(self) -> "HeadRecipe":
        if self.labels != "shares" and self.source != "votes":
            raise ValueError(f"labels: '{self.labels}' is made from votes, expected source = \"votes\"")
        return self


class Augmentation(Table):
    """Random changes of the training pictures; lengths are fractions of the side."""

    flip: Fraction = 0.5
    rotation: Annotated[float, Field(ge=0, le=180, description="degrees, either way")] = 15.0
    scale: Annotated[float, Field(ge=1, le=2, description="largest factor, or its inverse")] = 1.2
    stretch: Annotated[float, Field(ge=1, le=2, description="largest ratio of the axes, or its inverse")] = 1.1
    shear: Annotated[float, Field(ge=0, le=1)] = 0.05
    shift: Fraction = 0.1
    gain: Annotated[float, Field(ge=1, le=4, description="largest contrast factor, or its inverse")] = 1.4
    offset: Annotated[float, Field(ge=0, le=1, description="of brightness, either way")] = 0.15
    coarse: Annotated[float, Field(ge=0, le=1, description="chance of a picture of half the detail")] = 0.1
    erase: Annotated[float, Field(ge=0, le=1, description="chance of a blank rectangle")] = 0.4
    erase_size: tuple[Fraction, Fraction] = (0.1, 0.45)
    mixup: Annotated[float, Field(ge=0, description="alpha of the beta distribution; 0: none")] = 0.2


class Recipe(RunRecipe):
    """The whole of a training run that teaches expressions."""

    task: Literal["expression"] = "expression"
    input: InputRecipe = InputRecipe()
    heads: Annotated[dict[HeadName, HeadRecipe], Field(min_length=1)]
    augmentation: Augmentation = Augmentation()

    def figures(self) -> list[str]:
        """The sum of the losses, and each head's loss and accuracy."""
        return ["val/loss", *(f"val/{name}/{kind}" for name in self.heads for kind in ("loss", "accuracy"))]


def recipe_names() -> list[str]:
    """The recipes that ship in the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@overload
def load(source: str | Path, overrides: Sequence[str] = ()) -> RunRecipe: ...


@overload
def load(source: str | Path, overrides: Sequence[str] = (), *, form: type[R]) -> R: ...


def load(source: str | Path, overrides: Sequence[str] = (), *, form: type[RunRecipe] = RunRecipe) -> RunRecipe:
    """Reads a recipe from a file, or a shipped one by its name, with `key.sub=value` overrides.

    The top-level key `task` chooses the kind of recipe; without it, it is one that teaches expressions.

    Args:
        source: The file, or the name of a shipped recipe.
        overrides: Settings that take the place of the file's.
        form: The class that is wanted.

    Raises:
        InputError: There is no such file.
        ConfigError: It is not TOML, keys or values are wrong (all mistakes are named), or it is of another kind.
    """
    path = Path(source)
    if not path.is_file() and str(source) in recipe_names():
        path = _FOLDER / f"{source}.toml"
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{source}: no such recipe", hint=f"give a .toml file or one of {', '.join(recipe_names())}"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML file: {error}") from error
    for override in overrides:
        _override(plain, override)
    try:
        # As JSON, strictly: "128" is no number and true is no 1, but a list may stand for a tuple.
        recipe = kind(plain.get("task", "expression")).recipe.model_validate_json(
            json.dumps(plain, default=str), strict=True
        )
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'recipe'}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path}: {mistakes}", hint="see docs/training.md for every key") from error
    if not isinstance(recipe, form):
        raise ConfigError(f"{path}: a recipe of task '{recipe.task}' cannot do this", hint=f"give a {form.__name__}")
    return recipe


def _override(plain: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"'{override}' is no setting", hint="write it as optimizer.lr=0.01")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *tables, last = key.strip().split(".")
    for name in tables:
        plain = plain.setdefault(name, {})
        if not isinstance(plain, dict):
            raise ConfigError(f"'{override}': {name} is no table", hint="write it as optimizer.lr=0.01")
    plain[last] = value


def to_toml(recipe: RunRecipe) -> str:
    """The resolved recipe, every key written out, as it is saved with a run."""
    return "\n".join(_table("", recipe.model_dump(mode="json", exclude_none=True))) + "\n"


def _table(prefix: str, table: dict[str, Any]) -> list[str]:
    plain = [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    lines = [f"\n[{prefix}]", *plain] if prefix and (plain or not table) else plain
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _table(f"{prefix}.{toml_key(key)}" if prefix else toml_key(key), value)
    return lines
