"""Recipes and data that cannot teach valence and arousal, and people on both sides of a split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command
from tests.tiny import tiny_recipe

from mien.datasets import Samples, store
from mien.datasets.samples import SPLITS
from mien.errors import ConfigError
from mien.training import ExpressionRecipe
from mien.training.recipe import check, to_toml

AFFECT = {"source": "affect", "loss": "ccc"}
LABELS = {"source": "labels"}


def rated(samples: Samples) -> Samples:
    """The samples with made-up ratings."""
    values = np.random.default_rng(0).uniform(-1, 1, (len(samples), 2)).astype(np.float32)
    return replace(samples, affect=values)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"affect": AFFECT}, "expected one that learns classes"),
        ({"fer2013": LABELS, "a": AFFECT, "b": AFFECT}, "at most one with source"),
    ],
)
def test_heads_that_do_not_go_together(heads: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(tiny_recipe(heads=heads))


@pytest.mark.parametrize(
    "head",
    [
        {"source": "affect"},
        {"source": "labels", "loss": "ccc"},
        AFFECT | {"label_smoothing": 0.1},
        AFFECT | {"soft": 0.5},
        AFFECT | {"class_weights": "balanced"},
        AFFECT | {"logit_adjustment": 1.0},
        AFFECT | {"labels": "pld"},
    ],
)
def test_keys_of_classes_do_not_fit_a_head_for_affect(head: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"loss: expected 'ccc'|are for classes|expected source"):
        tiny_recipe(heads={"fer2013": LABELS, "affect": head})


def test_capsules_are_classes() -> None:
    recipe = tiny_recipe(heads={"fer2013": LABELS, "affect": AFFECT}, model={"name": "capsnet"})
    with pytest.raises(ConfigError, match="capsules of 'capsnet' are classes"):
        check(recipe)


def test_a_metric_of_classes_is_none_of_affect(tmp_path: Path, tiny_samples: Samples) -> None:
    recipe: ExpressionRecipe = tiny_recipe(heads={"fer2013": LABELS, "affect": AFFECT})
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    store.save(rated(tiny_samples), tmp_path / "faces.h5")
    words = ["train", tmp_path / "r.toml", "--data", tmp_path / "faces.h5", "--out", tmp_path / "run", "--quiet"]
    done = run_command(*words, "--set", "monitor=val/affect/accuracy")
    assert done.returncode == 2
    assert "val/affect/ccc" in done.stderr


def test_ratings_outside_their_range_are_no_samples(tiny_samples: Samples) -> None:
    for wrong in (np.full((len(tiny_samples), 2), 1.5, np.float32), np.zeros((len(tiny_samples), 3), np.float32)):
        with pytest.raises(ValueError, match="affect: expected shape"):
            replace(tiny_samples, affect=wrong)


def test_a_validation_split_without_ratings_cannot_be_monitored(tmp_path: Path, tiny_samples: Samples) -> None:
    samples = rated(tiny_samples)
    assert samples.affect is not None
    samples.affect[samples.split == SPLITS.index("val")] = np.nan
    store.save(samples, tmp_path / "faces.h5")
    recipe = tiny_recipe(epochs=1, heads={"fer2013": LABELS, "affect": AFFECT}, monitor="val/affect/ccc")
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    words = ["train", tmp_path / "r.toml", "--data", tmp_path / "faces.h5", "--out", tmp_path / "run", "--quiet"]
    done = run_command(*words)
    assert done.returncode != 0
    assert "val/affect/ccc cannot be measured" in done.stderr


@pytest.mark.parametrize("others", ["val", "test"])
def test_a_person_in_two_splits_is_refused_before_a_run_begins(
    others: str, tmp_path: Path, tiny_samples: Samples
) -> None:
    names = np.array([f"S{row:03}" for row in range(len(tiny_samples))])
    held = np.flatnonzero(tiny_samples.split == SPLITS.index(others))
    names[held[:2]] = names[tiny_samples.split == SPLITS.index("train")][:2]
    store.save(replace(tiny_samples, subjects=names), tmp_path / "faces.h5")
    (tmp_path / "r.toml").write_text(to_toml(tiny_recipe(epochs=1)))
    words = ["train", tmp_path / "r.toml", "--data", tmp_path / "faces.h5", "--out", tmp_path / "run", "--quiet"]
    done = run_command(*words)
    assert done.returncode == 4
    assert f"the same person is in several splits: {names[held[0]]} (train and {others})" in done.stderr
    assert "try:" in done.stderr
    assert not (tmp_path / "run").exists()
