"""What a search may change: keys of a recipe, each with a range or with choices."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mien.errors import ConfigError
from mien.training.recipe import Recipe, changed
from mien.training.recipe_base import RunRecipe

__all__ = ["Dimension", "space_of", "usual_space"]

_FORM: Final = "write it as optimizer.lr=0.001..0.1:log, batch_size=32..128 or optimizer.name=sgd,adamw"


@dataclass(frozen=True)
class Dimension:
    """One key that a search sets.

    Attributes:
        key: Of the recipe, dotted.
        low: The least value; None where there are choices.
        high: The greatest.
        log: Whether the logarithm is drawn evenly.
        choices: Instead of a range.
    """

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Dimension":
        """Reads KEY=LOW..HIGH, KEY=LOW..HIGH:log (whole numbers where both ends are), or KEY=A,B,C.

        Raises:
            ConfigError: It is none of these.
        """
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key or not value:
            raise ConfigError(f"'{text}' says nothing to search", hint=_FORM)
        if ".." not in value:
            choices = tuple(_plain(choice.strip()) for choice in value.split(","))
            if len(set(map(repr, choices))) < 2:
                raise ConfigError(f"'{text}': one choice is none", hint=f"{_FORM}; --set fixes a key")
            return cls(key, choices=choices)
        span, _, scale = value.partition(":")
        low, high = (_plain(end) for end in span.split("..", 1))
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if scale not in ("", "log") or not numbers or not low < high or (scale and not low > 0):
            raise ConfigError(
                f"'{text}': expected two rising numbers, above 0 for :log, found '{value}'",
                hint=_FORM,
            )
        return cls(key, low, high, log=bool(scale))

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every choice, or both ends: what must be right in a recipe."""
        return self.choices or (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether it can draw `value`."""
        if self.choices:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        """As it is typed."""
        if self.choices:
            return f"{self.key}={','.join(map(str, self.choices))}"
        return f"{self.key}={self.low}..{self.high}{':log' if self.log else ''}"


def _plain(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def space_of(recipe: RunRecipe, texts: Sequence[str]) -> tuple[Dimension, ...]:
    """The dimensions that `texts` describe; without any, `usual_space`.

    Raises:
        ConfigError: Texts are none, or name keys or values that the recipe cannot have; all mistakes are named.
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
        for value in dimension.ends:
            try:
                changed(recipe, {dimension.key: value})
            except ConfigError as error:
                wrong[error.message] = None
    if wrong:
        raise ConfigError("; ".join(wrong), hint=_FORM)
    return tuple(found.values())


def usual_space(recipe: RunRecipe) -> tuple[Dimension, ...]:
    """What is worth a search in most recipes: rate, decay, and what keeps the network from learning by rote.

    The rate lies within a factor of ten either way of the recipe's own, decay likewise; a recipe without decay may
    get some.
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
    if isinstance(recipe, Recipe):
        found += [Dimension("augmentation.mixup", 0.0, 0.4), Dimension("augmentation.erase", 0.0, 0.6)]
    return tuple(found)


def _two(value: float) -> float:
    """To two digits, for people."""
    return round(value, 1 - math.floor(math.log10(value)))
