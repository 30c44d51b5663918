"""The space of a hyper-parameter search: keys of a recipe, each with a range or with choices."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mien.errors import ConfigError
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.recipe import RunRecipe, changed

__all__ = ["Dimension", "space_of", "usual_space"]

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

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
            raise ConfigError(f"'{text}' is not a dimension to search", hint=_FORM)
        if ".." not in value:
            choices = tuple(_plain(choice.strip()) for choice in value.split(","))
            if len(set(map(repr, choices))) < 2:
                raise ConfigError(f"'{text}': a single choice is not a search", hint=f"{_FORM}; --set fixes a key")
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
        """Every choice, or both ends: values that must be valid in a recipe."""
        return self.choices or (self.low, self.high)

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
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        """As `parse` reads it."""
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
        for value in dimension.ends:
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
