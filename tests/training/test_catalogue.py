"""The catalogue: every recipe with the size of its network and its scores."""

from dataclasses import replace

import pytest

from mien import models
from mien.errors import ConfigError
from mien.training.catalogue import catalogue, listed
from mien.training.recipe import ScoreRecipe


def test_every_network_is_there_with_figures() -> None:
    found = catalogue()
    assert {each.recipe.model.name for each in found} == set(models.names())
    assert all(each.score for each in found)
    assert all(0 < each.anatomy.trained <= each.anatomy.parameters for each in found)
    by_name = {each.recipe.name: each for each in found}
    assert by_name["fourlayer-strided"].anatomy.parameters == by_name["fourlayer"].anatomy.parameters
    assert by_name["fourlayer-strided"].anatomy.fused_operations < by_name["fourlayer"].anatomy.fused_operations
    assert by_name["vgg13-cel"].anatomy.parameters == 8_757_704  # eight classes
    assert by_name["emonet6"].anatomy.parameters == by_name["emonet"].anatomy.parameters - 257  # one class fewer
    assert by_name["vgg16-imagenet-top"].anatomy.trained > by_name["vgg16-imagenet"].anatomy.trained


@pytest.mark.parametrize(
    ("asked", "recipe"),
    [
        ("vgg13-pld", "vgg13-pld"),
        ("vgg13", "vgg13-cel"),
        ("fourlayer", "fourlayer"),
        ("vgg16_imagenet", "vgg16-imagenet"),
        ("plain", "mien-m"),
        ("mien-s", "mien-s"),
    ],
)
def test_by_recipe_or_by_network(asked: str, recipe: str) -> None:
    assert listed(asked).recipe.name == recipe


def test_neither() -> None:
    with pytest.raises(ConfigError, match="no model, network or recipe 'vgg14'") as caught:
        listed("vgg14")
    assert "vgg13" in caught.value.hint


def test_scores_in_one_line() -> None:
    whole, cut = (
        ScoreRecipe(protocol="FER2013", split="val", accuracy=0.7008),
        ScoreRecipe(protocol="FER+ majority", split="val", accuracy=0.877, epochs=10),
    )
    found = listed("mien-m")

    def told(*scores: ScoreRecipe) -> str:
        return replace(found, recipe=found.recipe.model_copy(update={"score": list(scores)})).score

    assert told(whole, cut) == "FER2013 70.1%, FER+ majority 87.7% after 10 epochs"
    assert told(cut.model_copy(update={"changes": ("epochs=10",)})) == told(cut)
    assert told(cut.model_copy(update={"changes": ("epochs=10", "stages=[]")})) == f"{told(cut)} with changes"
    assert told(cut.model_copy(update={"changes": ("input.size=96",)})) == f"{told(cut)} at 96 pixels"
    smaller = cut.model_copy(update={"changes": ("input.size=96", "stages=[]")})
    assert told(smaller) == f"{told(cut)} at 96 pixels with changes"
    assert told(cut.model_copy(update={"stopped_early": True})) == "FER+ majority 87.7%"
    assert told() == "not measured"
    assert found.score.startswith("FER2013 ")


def test_a_network_names_its_other_recipes() -> None:
    assert set(listed("vgg13").others) | {listed("vgg13").recipe.name} == {
        "vgg13-cel",
        "vgg13-majority",
        "vgg13-multi",
        "vgg13-pld",
    }
    assert listed("emonet").others == ("emonet6",)
    assert listed("emonet-deep").others == ()
