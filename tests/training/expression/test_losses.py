"""Losses and targets against plain sums; what is drawn follows its distribution."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import tiny_recipe

from mien import emotions
from mien.datasets import Samples, ferplus
from mien.errors import ConfigError, DataError
from mien.training import FitOptions, fit, load_recipe
from mien.training.checkpoints import load_module
from mien.training.expression.data import MODES, ExpressionData, head_classes, targets_for
from mien.training.expression.module import ExpressionModule, cross_entropy, drawn, multi_label, smooth
from mien.training.expression.recipe import HeadRecipe

rows = st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=6)


def shares(counts: list[list[int]]) -> torch.Tensor:
    target = torch.tensor(counts, dtype=torch.float32)
    return target / target.sum(dim=1, keepdim=True).clamp(min=1)


@given(counts=rows)
def test_cross_entropy_is_its_definition(counts: list[list[int]]) -> None:
    target, logits = shares(counts), torch.linspace(-2, 2, 4 * len(counts)).reshape(-1, 4)
    expected, known = 0.0, 0
    for row, scores in zip(target.tolist(), logits.tolist(), strict=True):
        total = sum(math.exp(score) for score in scores)
        expected -= sum(part * math.log(math.exp(score) / total) for part, score in zip(row, scores, strict=True))
        known += sum(row) > 0
    assert float(cross_entropy(logits, target)) == pytest.approx(expected / max(known, 1), abs=1e-5)


@given(counts=rows)
def test_multi_label_is_its_definition(counts: list[list[int]]) -> None:
    target, logits = shares(counts), torch.linspace(-2, 2, 4 * len(counts)).reshape(-1, 4)
    losses = []
    for row, scores in zip(target.tolist(), logits.tolist(), strict=True):
        total = sum(math.exp(score) for score in scores)
        hot = [1.0 if part > 0 else 0.001 for part in row]
        if sum(row):
            losses.append(-math.log(max(t * math.exp(s) / total for t, s in zip(hot, scores, strict=True))))
    expected = sum(losses) / max(len(losses), 1)
    assert float(multi_label(logits, target)) == pytest.approx(expected, abs=1e-4)


def test_any_of_several_labels_is_right() -> None:
    target = torch.tensor([[0.5, 0.5, 0, 0]])
    for index, right in enumerate((True, True, False, False)):
        logits = torch.full((1, 4), -20.0)
        logits[0, index] = 20.0
        assert (float(multi_label(logits, target)) < 0.01) == right


def test_what_is_drawn_follows_the_distribution() -> None:
    torch.manual_seed(0)
    target = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).expand(20_000, -1)
    found = drawn(target)
    assert set(found.sum(dim=1).tolist()) == {1.0}
    assert bool(((found == 0) | (found == 1)).all())
    np.testing.assert_allclose(found.mean(dim=0), [0.2, 0, 0.5, 0.3], atol=0.015)


@given(counts=rows, seed=st.integers(0, 9))
def test_a_class_that_nobody_chose_is_never_drawn(counts: list[list[int]], seed: int) -> None:
    torch.manual_seed(seed)
    target = shares(counts)
    found = drawn(target)
    assert not (found * (target == 0)).any()
    np.testing.assert_allclose(found.sum(dim=1), target.sum(dim=1), atol=1e-6)  # rows of zeros stay
    torch.manual_seed(seed)
    assert torch.equal(drawn(target), found)


def test_smoothing_keeps_the_mass() -> None:
    target = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    assert smooth(target, 0) is target
    np.testing.assert_allclose(smooth(target, 0.2), [[0.85, 0.05, 0.05, 0.05], [0.0] * 4], atol=1e-6)


# --- the modes in a recipe


@pytest.mark.parametrize(("name", "mode"), MODES.items())
def test_a_mode_makes_the_targets_that_the_data_set_knows(tiny_samples: Samples, name: str, mode: ferplus.Mode) -> None:
    head = HeadRecipe.model_validate({"source": "votes", "labels": name})
    assert tiny_samples.votes is not None
    targets, kept = ferplus.process(tiny_samples.votes, mode)
    np.testing.assert_array_equal(targets_for(tiny_samples, head), targets)
    assert head_classes(tiny_samples, {"own": head}) == {"own": emotions.vocabulary(8)}
    images = ExpressionData(tiny_samples, tiny_recipe(heads={"own": head.model_dump()}, batch_size=4))
    training = tiny_samples.split == 0
    assert len(images.train_batches(0)) == int((kept & training).sum()) // 4  # dropped rows cost no time


def test_a_row_stays_while_any_head_learns_from_it(tiny_samples: Samples) -> None:
    heads = {"own": {"source": "votes", "labels": "majority"}, "fer2013": {"source": "labels"}}
    images = ExpressionData(tiny_samples, tiny_recipe(heads=heads))
    held = sum(len(batch) for batch, _ in images.val_batches())
    assert held == len(tiny_samples.only("val"))


def test_no_votes_at_all_in_one_split(tiny_samples: Samples) -> None:
    assert tiny_samples.votes is not None
    votes = np.where((tiny_samples.split == 1)[:, None], 0, tiny_samples.votes)
    recipe = tiny_recipe(heads={"own": {"source": "votes", "labels": "cel"}})
    with pytest.raises(DataError, match="no row of the val split has a label"):
        ExpressionData(replace(tiny_samples, votes=votes.astype(np.uint8)), recipe)


def test_modes_are_made_from_votes_alone() -> None:
    with pytest.raises(ConfigError, match="'cel' is made from votes"):
        load_recipe("fourlayer", ["heads.fer2013.labels=cel"])


@pytest.mark.parametrize("setting", ["heads.ferplus.label_smoothing=0.1", "augmentation.mixup=0.2", "row_weights=true"])
def test_what_makes_every_class_right_is_refused(setting: str) -> None:
    """Smoothed or mixed targets have a share of every class, and with several labels each of them is right."""
    with pytest.raises(ConfigError, match=setting.partition("=")[0].rpartition(".")[2]):
        load_recipe("vgg13-multi", [setting])


@pytest.mark.parametrize("name", ["pld", "multi"])
def test_the_same_seed_gives_the_same_run(tiny_samples: Samples, tmp_path: Path, name: str) -> None:
    heads = {"own": {"source": "votes", "labels": name}}
    recipe = tiny_recipe(epochs=1, heads=heads, augmentation={"mixup": 0.0})
    states = []
    for number in range(2):
        folder = tmp_path / str(number)
        fit(recipe, tiny_samples, folder, FitOptions(progress=False))
        states.append(load_module(ExpressionModule, folder / "last.ckpt").state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
