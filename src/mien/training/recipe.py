"""A recipe: everything that decides a training run, in one TOML file.

Unknown keys and wrong types are rejected, all of them at once. The resolved recipe is saved with every run.
"""

import copy
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

import tomli_w
from pydantic import Field, ValidationError, model_validator

from mien import models
from mien.assets.manifest import InputSpec
from mien.assets.signature import Illumination
from mien.errors import ConfigError, InputError
from mien.training.config_errors import Place, follows, meant, mend, mistake
from mien.training.recipe_base import Fraction, RunRecipe, Table
from mien.training.tasks import kind

__all__ = ["Augmentation", "HeadRecipe", "Recipe", "changed", "load", "recipe_names", "to_toml"]

_FOLDER = Path(__file__).parent.parent / "recipes"
R = TypeVar("R", bound=RunRecipe)
HeadName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class InputRecipe(Table):
    """What the network sees; see `InputSpec`."""

    size: Annotated[int, Field(ge=16, le=512)] = 48
    channels: Literal["grey", "rgb"] = "grey"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    illumination: Illumination = "none"
    landmarks: Annotated[
        tuple[tuple[float, float], ...],
        Field(description="where the five landmarks lie in the images, as fractions of the side; empty: unknown"),
    ] = ()

    @model_validator(mode="after")
    def _fits(self) -> "InputRecipe":
        self.spec()
        if len(self.landmarks) not in (0, 5):
            raise ValueError(f"landmarks: expected five points or none, got {len(self.landmarks)}")
        return self

    def spec(self) -> InputSpec:
        """The same as the rest of the house knows it."""
        return InputSpec(self.size, self.channels, self.mean, self.std, self.illumination)


class HeadRecipe(Table):
    """One way of labelling, learnt by one linear layer."""

    source: Literal["labels", "votes"]
    labels: Annotated[
        Literal["shares", "majority", "pld", "cel", "multi"],
        Field(description="what the votes become: their shares over ten classes, or one of FER+'s modes over eight"),
    ] = "shares"
    weight: Annotated[float, Field(gt=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    soft: Annotated[Fraction, Field(description="share of the teachers' soft targets in what is learnt")] = 0.0

    @model_validator(mode="after")
    def _has_votes(self) -> "HeadRecipe":
        if self.labels != "shares" and self.source != "votes":
            raise ValueError(f"labels: '{self.labels}' is made from votes, expected source = \"votes\"")
        if self.soft and self.labels in ("pld", "multi"):
            raise ValueError(f"soft: '{self.labels}' learns from labels alone, expected shares, majority or cel")
        return self


class Augmentation(Table):
    """Random changes of the training images; lengths are fractions of the side."""

    flip: Fraction = 0.5
    rotation: Annotated[float, Field(ge=0, le=180, description="degrees, either way")] = 15.0
    scale: Annotated[float, Field(ge=1, le=2, description="largest factor, or its inverse")] = 1.2
    stretch: Annotated[float, Field(ge=1, le=2, description="largest ratio of the axes, or its inverse")] = 1.1
    shear: Annotated[float, Field(ge=0, le=1)] = 0.05
    shift: Fraction = 0.1
    gain: Annotated[float, Field(ge=1, le=4, description="largest contrast factor, or its inverse")] = 1.4
    offset: Annotated[float, Field(ge=0, le=1, description="of brightness, either way")] = 0.15
    coarse: Annotated[float, Field(ge=0, le=1, description="chance of a image of less detail, down to .4")] = 0.1
    dark: Annotated[float, Field(ge=0, le=1, description="chance of a image with .15 to .6 of its light")] = 0.0
    noise: Annotated[float, Field(ge=0, le=1, description="chance of a image with noise, sigma up to .08")] = 0.0
    jpeg: Annotated[float, Field(ge=0, le=1, description="chance of a image with JPEG's losses")] = 0.0
    mask: Annotated[float, Field(ge=0, le=1, description="chance of a cloth over nose, mouth and chin")] = 0.0
    erase: Annotated[float, Field(ge=0, le=1, description="chance of a blank rectangle")] = 0.4
    erase_size: tuple[Fraction, Fraction] = (0.1, 0.45)
    mixup: Annotated[float, Field(ge=0, description="alpha of the beta distribution; 0: none")] = 0.2
    sizes: Annotated[
        tuple[Annotated[int, Field(ge=16, le=512)], ...],
        Field(description="sides that the images are learnt at, in equal parts of the epochs; empty: the input's"),
    ] = ()


class Recipe(RunRecipe):
    """The whole of a training run that teaches expressions."""

    task: Literal["expression"] = "expression"
    input: InputRecipe = InputRecipe()
    heads: Annotated[dict[HeadName, HeadRecipe], Field(min_length=1)]
    augmentation: Augmentation = Augmentation()

    def figures(self) -> list[str]:
        """The sum of the losses, and each head's loss and accuracy."""
        return ["val/loss", *(f"val/{name}/{kind}" for name in self.heads for kind in ("loss", "accuracy"))]

    @classmethod
    def unknown_names(cls, plain: Mapping[str, Any]) -> list[str]:
        """A network that does not exist, or options that it does not have."""
        table = plain.get("model")
        name, options = (table.get("name"), table.get("options", {})) if isinstance(table, dict) else (None, {})
        if not isinstance(name, str):
            return []  # which is told already
        if name not in models.names():
            return [f"model.name: there is no network '{name}'{meant(name, models.names())}"]
        known = models.option_names(name)
        return [
            f"model.options.{option}: the network '{name}' has no such option{meant(option, known)}"
            for option in (options if isinstance(options, dict) else {})
            if option not in known
        ]


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
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a folder, and is no TOML file",
            hint=f"a run goes on by --resume {path}; its recipe is its recipe.toml",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML file: {error}") from error
    recipe = _validated(plain, overrides, str(path))
    if not isinstance(recipe, form):
        raise ConfigError(f"{path}: a recipe of task '{recipe.task}' cannot do this", hint=f"give a {form.__name__}")
    return recipe


def changed(recipe: R, overrides: Sequence[str] | Mapping[str, Any]) -> R:
    """The recipe with other values of some keys: settings as `load` takes them, or values by dotted key.

    Raises:
        ConfigError: Keys or values are wrong; all mistakes are named.
    """
    plain = recipe.model_dump(mode="json", exclude_none=True)
    other = _validated(plain, overrides, f"the recipe '{recipe.name}'")
    assert isinstance(other, type(recipe))  # `task` can only be what its class allows
    return other


def _validated(plain: dict[str, Any], overrides: Sequence[str] | Mapping[str, Any], origin: str) -> RunRecipe:
    """The recipe made of plain types with `overrides` set.

    Mistakes hide others: what compares keys is looked at only when each key is right for itself. So wrong keys are
    told, replaced by what is right, and the rest is looked at again, until nothing new comes; what then compares a key
    that was replaced says nothing.
    """
    told: dict[str, None] = {}
    for setting in overrides.items() if isinstance(overrides, Mapping) else overrides:
        try:
            _put(plain, *(_setting(setting) if isinstance(setting, str) else setting))
        except ConfigError as error:
            told[f"{error.message}, {error.hint}"] = None
    form = kind(plain.get("task", "expression")).recipe
    rest = copy.deepcopy(plain)
    replaced: set[Place] = set()
    while True:
        try:
            # As JSON, strictly: "128" is no number and true is no 1, but a list may stand for a tuple.
            recipe = form.model_validate_json(json.dumps(rest, default=str), strict=True)
        except ValidationError as error:
            told |= {mistake(item, form): None for item in error.errors() if not follows(item, replaced)}
            places = {item["loc"] for item in error.errors() if item["loc"]}
            mended = {place for place in places if mend(rest, place)}
            replaced |= mended
            if mended:
                continue
        told |= dict.fromkeys(form.unknown_names(plain))
        if not told:
            return recipe
        lines = list(told)
        listed = lines[0] if len(lines) == 1 else f"{len(lines)} mistakes" + "".join(f"\n  {line}" for line in lines)
        raise ConfigError(f"{origin}: {listed}", hint="see docs/training.md for every key")


def _setting(text: str) -> tuple[str, Any]:
    """Key and value of a setting, as in optimizer.lr=0.01; a bare word is a string.

    Raises:
        ConfigError: It is none.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"'{text}' is no setting", hint="write it as optimizer.lr=0.01")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _put(plain: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    for name in tables:
        plain = plain.setdefault(name, {})
        if not isinstance(plain, dict):
            raise ConfigError(f"'{key}': {name} is no table", hint="write it as optimizer.lr=0.01")
    plain[last] = value


def to_toml(recipe: RunRecipe) -> str:
    """The resolved recipe, every key written out, as it is saved with a run."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
