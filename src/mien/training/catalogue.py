"""The shipped recipes beside what their networks are made of: what `mien models` and the documents show."""

from dataclasses import dataclass, replace
from pathlib import Path

from mien import emotions, models
from mien.errors import ConfigError
from mien.models.blocks.counting import Anatomy, anatomy
from mien.training.expression.data import votes_size
from mien.training.recipe import Recipe, load, recipe_names

__all__ = ["Listed", "catalogue", "listed", "score_of"]

_FOLDER = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class Listed:
    """A shipped recipe.

    Attributes:
        recipe: What it decides.
        anatomy: Of its network, with seven classes for a head that learns from labels.
        score: What its opening says of it.
        others: Names of the other recipes of the same network.
    """

    recipe: Recipe
    anatomy: Anatomy
    score: str
    others: tuple[str, ...] = ()


def catalogue() -> list[Listed]:
    """All shipped recipes that teach expressions, by network and name."""
    recipes = [recipe for name in recipe_names() if isinstance(recipe := load(name), Recipe)]
    return [_listed(recipe) for recipe in sorted(recipes, key=lambda recipe: (recipe.model.name, recipe.name))]


def listed(name: str) -> Listed:
    """The recipe of that name, or a network's: the one named like it, else its first.

    Raises:
        ConfigError: There is neither.
    """
    recipes = [recipe for known in recipe_names() if isinstance(recipe := load(known), Recipe)]
    of_network = [recipe for recipe in recipes if recipe.model.name == name]
    named = [recipe for recipe in recipes if recipe.name in (name, name.replace("_", "-"))]
    if not (found := named or of_network):
        known = sorted({*models.names(), *(recipe.name for recipe in recipes)})
        raise ConfigError(f"there is no network or recipe '{name}'", hint=f"known: {', '.join(known)}")
    chosen = found[0]
    others = (each.name for each in recipes if each.model.name == chosen.model.name and each != chosen)
    return replace(_listed(chosen), others=tuple(others))


def score_of(text: str) -> str:
    """What a recipe's opening says behind the word "Score"; empty where it says nothing."""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("# Score"):
            return line.removeprefix("# Score").lstrip(":, ").rstrip(".")
    return ""


def _listed(recipe: Recipe) -> Listed:
    heads = {name: votes_size(head) or len(emotions.vocabulary(7)) for name, head in recipe.heads.items()}
    found = anatomy(recipe.model.name, heads, recipe.input.spec(), **recipe.model.options)
    text = (_FOLDER / f"{recipe.name}.toml").read_text(encoding="utf-8")
    return Listed(recipe, found, score_of(text))
