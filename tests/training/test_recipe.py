"""Recipes: the shipped ones load, wrong ones are told all their mistakes at once, and what is saved reads back."""

import importlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT

import mien
from mien.errors import ConfigError, InputError
from mien.training import ExpressionRecipe, load_recipe, recipe_names
from mien.training.recipe import changed, to_toml
from mien.training.tasks import TaskSpec, task_spec

SOURCE = Path(mien.__file__).parent
SHIPPED = sorted((SOURCE / "recipes").rglob("*.toml"))
LEAST = 'name = "least"\n[model]\nname = "plain"\n[heads.fer2013]\nsource = "labels"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides)
    assert all(line.startswith("  ") for line in caught.value.message.splitlines()[1:])
    return caught.value.message


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.description
    assert load_recipe(path.stem) == recipe  # by its name as well


@pytest.mark.parametrize("path", sorted((ROOT / "research" / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_past_loads(path: Path) -> None:
    assert load_recipe(path).name == path.stem
    assert path.stem not in recipe_names()


def test_every_task_has_its_parts() -> None:
    folders = [path.parent for path in (SOURCE / "training").glob("*/recipe.py")]
    assert len(folders) >= 2
    for folder in folders:
        assert isinstance(task_spec(folder.name), TaskSpec)
        recipe = importlib.import_module(f"mien.training.{folder.name}.recipe").RECIPE
        assert recipe.model_fields["task"].default == folder.name
        assert {"data.py", "module.py", "export.py"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(ConfigError, match="no task 'poetry'"):
        task_spec("poetry")


def test_the_shipped_recipes_are_listed() -> None:
    assert recipe_names() == sorted(path.stem for path in SHIPPED) != []


def test_a_least_recipe_has_defaults_for_the_rest(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, LEAST), form=ExpressionRecipe)
    assert recipe.model.options == {}
    assert recipe.heads["fer2013"].weight == 1
    assert recipe.stopping is None
    assert recipe.input.landmarks == ()


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    text = """
name = "wrong"
epochs = "many"
batch_size = 1
ema_decay = true
colour = "red"
[model]
name = "plain"
size = 3
[input]
landmarks = [[0.1, 0.2]]
[heads.votes]
source = "annotators"
[heads.fer2013]
source = "labels"
wait = 2.0
[optimizer]
lr = -1
name = "adagrad"
[augmentation]
flip = 2
"""
    message = refusal(written(tmp_path, text))
    for key in (
        "epochs",
        "batch_size",
        "ema_decay",
        "colour",
        "model.size",
        "input",
        "heads.votes.source",
        "heads.fer2013.wait",
        "optimizer.lr",
        "optimizer.name",
        "augmentation.flip",
    ):
        assert f"{key}: " in message, key
    assert "11 errors\n" in message


@pytest.mark.parametrize(
    "line", ['epochs = "5"', "epochs = 5.5", "epochs = true", "seed = -1", "description = 3", 'name = "a b"']
)
def test_wrong_types_are_not_bent_to_right_ones(tmp_path: Path, line: str) -> None:
    key = line.partition(" ")[0]
    others = [old for old in LEAST.splitlines()[:1] if key != "name"] + LEAST.splitlines()[1:]
    assert f"{key}: " in refusal(written(tmp_path, "\n".join([line, *others])))


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, LEAST), ["optimizer.lr=1"]).optimizer.lr == 1.0


@pytest.mark.parametrize("count", [1, 4, 6])
def test_landmarks_are_five_or_none(tmp_path: Path, count: int) -> None:
    path = written(tmp_path, LEAST)
    points = "[" + ",".join(["[0.1,0.2]"] * count) + "]"
    assert f"expected five points or none, got {count}" in refusal(path, f"input.landmarks={points}")
    assert (
        len(
            load_recipe(
                path, ["input.landmarks=" + "[" + "[0.1,0.2]," * 5 + "]"], form=ExpressionRecipe
            ).input.landmarks
        )
        == 5
    )
    assert load_recipe(path, ["input.landmarks=[]"], form=ExpressionRecipe).input.landmarks == ()


@pytest.mark.parametrize(
    "override", ["input.mean=[0.1,0.2]", "input.std=[]", "input.std=[0.0]", "input.channels=bgr", "input.size=8"]
)
def test_an_input_that_no_network_takes(tmp_path: Path, override: str) -> None:
    assert "input" in refusal(written(tmp_path, LEAST), override)


@pytest.mark.parametrize("name", ["val/votes/loss", "val/fer2013/f1", "accuracy", ""])
def test_a_figure_that_nobody_takes(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, LEAST)
    message = refusal(path, f"monitor={name}")
    assert f"there is no metric '{name}'" in message
    assert "val/fer2013/accuracy" in message
    assert "stopping.monitor" in refusal(path, f"stopping.monitor={name}")
    for figure in ("val/loss", "val/fer2013/loss", "val/fer2013/accuracy"):
        assert load_recipe(path, [f"monitor={figure}", f"stopping.monitor={figure}"]).monitor == figure


def test_settings_override_the_file(tmp_path: Path) -> None:
    settings = [
        "epochs=7",
        "optimizer.lr=1e-3",
        "model.options.widths=[8, 16]",
        "stopping.patience=3",
        "description=words with = and 'quotes'",
        "heads.fer2013.weight=0.5",
    ]
    recipe = load_recipe(written(tmp_path, LEAST), settings, form=ExpressionRecipe)
    assert (recipe.epochs, recipe.optimizer.lr, recipe.heads["fer2013"].weight) == (7, 0.001, 0.5)
    assert recipe.model.options == {"widths": [8, 16]}
    assert recipe.stopping is not None
    assert recipe.stopping.patience == 3
    assert recipe.description == "words with = and 'quotes'"


def test_none_is_no_value_where_a_key_may_have_none(tmp_path: Path) -> None:
    path = written(
        tmp_path, LEAST + '[schedule]\nname = "plateau"\nwarmup = 0\n[stopping]\npatience = 3\n[augmentation]\n'
    )
    settings = [
        "stopping=none",
        "schedule.warmup = none",
        "input.illumination=none",
        "heads.fer2013.class_weights=none",
    ]
    recipe = load_recipe(path, settings, form=ExpressionRecipe)
    assert (recipe.stopping, recipe.schedule.warmup) == (None, None)
    assert (recipe.input.illumination, recipe.heads["fer2013"].class_weights) == ("none", "none")  # a value of theirs
    assert load_recipe(written(tmp_path, to_toml(recipe))) == recipe
    assert changed(recipe, {"schedule.warmup": "none"}) == recipe  # as `mien search` sets it
    assert "--set epochs=none: input should be a valid integer, got 'none'" in refusal(path, "epochs=none")
    assert "--set optimizer=none: input should be an object" in refusal(path, "optimizer=none")
    assert "--set heads.fer2013=none: input should be an object" in refusal(path, "heads.fer2013=none")


@pytest.mark.parametrize("setting", ["epochs", "=3", "name.first=3", "epochs.more=3", "optimizer.speed=3", "rate=3"])
def test_settings_that_are_none(tmp_path: Path, setting: str) -> None:
    assert setting.split("=", maxsplit=1)[0].split(".", maxsplit=1)[0] in refusal(written(tmp_path, LEAST), setting)


def test_no_heads(tmp_path: Path) -> None:
    assert "heads: " in refusal(written(tmp_path, LEAST.partition("[heads")[0]))
    assert "heads: " in refusal(written(tmp_path, LEAST.partition("[heads")[0] + "[heads]\n"))


@pytest.mark.parametrize("name", ["a.b", "a b", "", "ä", "1"])
def test_names_that_no_head_can_have(tmp_path: Path, name: str) -> None:
    assert "heads." in refusal(written(tmp_path, LEAST + f'[heads."{name}"]\nsource = "labels"\n'))


def test_the_key_task_chooses_the_kind(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, LEAST)).task == "expression"
    assert isinstance(load_recipe(written(tmp_path, LEAST), ["task=expression"]), ExpressionRecipe)
    for task in ("poetry", "3", "[]"):
        assert f"no task '{task}'" in refusal(written(tmp_path, LEAST), f"task={task}")


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recipe") as caught:
        load_recipe("mien-bass")
    assert "mien-s" in caught.value.hint
    assert "is not a TOML file" in refusal(written(tmp_path, "name = "))
    (tmp_path / "photographs").mkdir()
    assert "is a folder, expected a recipe" in refusal(tmp_path / "photographs")
    path = tmp_path / "binary.toml"
    path.write_bytes(bytes(range(256)))
    assert "is not a TOML file" in refusal(path)
    assert "name: " in refusal(written(tmp_path, ""))


# --- what is saved with a run

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain_values = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def test_a_shipped_recipe_reads_back(tmp_path: Path) -> None:
    for name in recipe_names():
        recipe = load_recipe(name, ["stopping.patience=4"])
        text = to_toml(recipe)
        assert load_recipe(written(tmp_path, text)) == recipe
        assert "\nepochs = " in text
        assert to_toml(load_recipe(written(tmp_path, text))) == text


@given(description=texts, options=st.dictionaries(texts, plain_values, max_size=4), lr=st.floats(1e-12, 1e6))
def test_any_recipe_reads_back(description: str, options: dict[str, Any], lr: float) -> None:
    recipe = ExpressionRecipe.model_validate(
        {
            "name": "v1.0",
            "description": description,
            "model": {"name": "plain", "options": options},
            "heads": {"fer2013": {"source": "labels"}},
            "optimizer": {"lr": lr},
        }
    )
    # Not by `load_recipe`, which knows the networks' options.
    assert ExpressionRecipe.model_validate_json(json.dumps(tomllib.loads(to_toml(recipe))), strict=True) == recipe
