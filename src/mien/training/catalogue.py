"""The shipped recipes with the size of their networks and their scores: what `mien models` and the documents show."""

from dataclasses import dataclass, replace

from mien import emotions, models
from mien.assets.manifest import ENSEMBLES, shipped_models
from mien.errors import ConfigError, meant
from mien.models.blocks.counting import Anatomy, anatomy
from mien.training.expression.affect import DIMENSIONS
from mien.training.expression.data import votes_size
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.recipe import RunRecipe, load, recipe_names


@dataclass(frozen=True)
class Listed:
    """A shipped recipe.

    Attributes:
        recipe: The recipe.
        anatomy: Of its network, with seven classes for a head that learns from any labels.
        others: Names of the other recipes of the same network.
    """

    recipe: ExpressionRecipe
    anatomy: Anatomy
    others: tuple[str, ...] = ()

    @property
    def score(self) -> str:
        """The recipe's scores in one line."""
        return ", ".join(map(str, self.recipe.score)) or "not measured"


def catalogue() -> list[Listed]:
    """All shipped recipes for expressions, by network and name."""
    return [_listed(recipe) for recipe in sorted(_recipes(), key=lambda recipe: (recipe.model.name, recipe.name))]


def other_recipes() -> dict[str, RunRecipe]:
    """The shipped recipes for detectors and landmark networks, by name; their layers are not counted."""
    return {name: recipe for name in recipe_names() if (recipe := other_recipe(name))}


def other_recipe(name: str) -> RunRecipe | None:
    """The shipped recipe of that name, if it is for a detector or a landmark network."""
    recipe = load(name) if name in recipe_names() else None
    return None if isinstance(recipe, ExpressionRecipe) else recipe


def listed(name: str) -> Listed:
    """The recipe of that name, or that of a network: the one with the network's name, or else its first.

    Raises:
        ConfigError: There is neither.
    """
    recipes = _recipes()
    of_network = [recipe for recipe in recipes if recipe.model.name == name]
    named = [recipe for recipe in recipes if recipe.name in (name, name.replace("_", "-"))]
    if not (found := named or of_network):
        known = sorted({*models.names(), *recipe_names(), *shipped_models(), *ENSEMBLES})
        raise ConfigError(
            f"there is no model, network or recipe '{name}'", hint=f"{meant(name, known)}known: {', '.join(known)}"
        )
    chosen = found[0]
    others = (each.name for each in recipes if each.model.name == chosen.model.name and each != chosen)
    return replace(_listed(chosen), others=tuple(others))


def _recipes() -> list[ExpressionRecipe]:
    return [recipe for name in recipe_names() if isinstance(recipe := load(name), ExpressionRecipe)]


def _listed(recipe: ExpressionRecipe) -> Listed:
    seven = len(emotions.vocabulary(7))
    heads = {
        name: len(DIMENSIONS) if head.source == "affect" else votes_size(head) or head.classes or seven
        for name, head in recipe.heads.items()
    }
    return Listed(recipe, anatomy(recipe.model.name, heads, recipe.input.spec(), **recipe.model.options))


def inputs_text(recipe: ExpressionRecipe) -> str:
    """What the network of a recipe reads, in a few words."""
    input, name = recipe.input, recipe.model.name
    parts = [f"{input.size}x{input.size} {input.channels}"] if models.reads_images(name) else []
    parts += ["68 points"] if models.reads_keypoints(name) else []
    return f"{input.frames} x " * (input.frames > 1) + " + ".join(parts)
