"""From samples to batches: every row once, in an order that seed and epoch decide, with the right targets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import tiny_recipe

from mien.datasets import Samples
from mien.emotions import ALL
from mien.errors import ConfigError, DataError
from mien.training.expression.data import (
    ExpressionBatches,
    ExpressionData,
    head_classes,
    targets_for,
    with_soft_targets,
)
from mien.training.expression.recipe import ExpressionRecipe, HeadRecipe
from mien.training.recipe import load

LABELS = {"fer2013": {"source": "labels"}}
VOTES = {"votes": {"source": "votes"}}


def numbered(count: int, size: int, seed: tuple[int, int] | None) -> ExpressionBatches:
    images = torch.arange(count).reshape(-1, 1, 1, 1)
    return ExpressionBatches(images, {"own": torch.arange(count).reshape(-1, 1).float()}, size, seed)


def rows_of(batches: ExpressionBatches) -> list[list[int]]:
    return [images.flatten().tolist() for images, _ in batches]


@given(count=st.integers(2, 60), size=st.integers(1, 20))
def test_in_order_every_row_comes_once(count: int, size: int) -> None:
    batches = numbered(count, size, None)
    found = rows_of(batches)
    assert [row for rows in found for row in rows] == list(range(count))
    assert len(found) == len(batches)
    assert all(len(rows) == size for rows in found[:-1])


@given(count=st.integers(2, 60), size=st.integers(2, 20), epoch=st.integers(0, 5))
def test_shuffled_no_row_comes_twice_and_batches_are_equal(count: int, size: int, epoch: int) -> None:
    batches = numbered(count, size, (1, epoch))
    found = rows_of(batches)
    flat = [row for rows in found for row in rows]
    assert len(set(flat)) == len(flat)
    assert len(found) == len(batches) >= 1
    assert {len(rows) for rows in found} == {min(size, count)}
    assert len(flat) > count - size


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    orders = [rows_of(numbered(50, 10, seed)) for seed in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_targets_go_with_their_images() -> None:
    for images, targets in numbered(30, 7, (3, 4)):
        assert targets["own"].flatten().tolist() == images.flatten().tolist()


def test_the_heads_have_the_classes_of_their_source(tiny_samples: Samples) -> None:
    heads = tiny_recipe().heads
    assert head_classes(tiny_samples, heads) == {"votes": ALL, "fer2013": tiny_samples.classes}
    with pytest.raises(ConfigError, match="the head 'votes' learns from votes, and the data has none") as caught:
        head_classes(replace(tiny_samples, votes=None), heads)
    assert "--votes" in caught.value.hint
    assert list(head_classes(replace(tiny_samples, votes=None), tiny_recipe(heads=LABELS).heads)) == ["fer2013"]


def test_a_recipe_for_another_number_of_classes(tiny_samples: Samples) -> None:
    for size in (0, len(tiny_samples.classes)):
        assert head_classes(tiny_samples, {"own": HeadRecipe(source="labels", classes=size)})
    with pytest.raises(ConfigError, match="the head 'own' is for 3 classes, and the data has 7") as caught:
        head_classes(tiny_samples, {"own": HeadRecipe(source="labels", classes=3)})
    assert "--emotions 3; or --set heads.own.classes=0" in caught.value.hint
    with pytest.raises(ValueError, match="classes: is for labels, and the source is 'votes'"):
        HeadRecipe(source="votes", classes=8)
    assert load("emonet6", form=ExpressionRecipe).heads["fer2013"].classes == 6


def test_votes_become_shares_and_no_votes_nothing(tiny_samples: Samples) -> None:
    assert tiny_samples.votes is not None
    votes = tiny_samples.votes.copy()
    votes[0] = 0
    votes[1] = 0
    votes[1, [2, 9]] = 3, 1
    targets = targets_for(replace(tiny_samples, votes=votes), tiny_recipe().heads["votes"])
    assert targets[0].tolist() == [0] * 10
    assert targets[1].tolist() == [0, 0, 0.75, 0, 0, 0, 0, 0, 0, 0.25]
    np.testing.assert_allclose(targets[1:].sum(dim=1), 1, rtol=1e-6)
    labels = targets_for(tiny_samples, tiny_recipe().heads["fer2013"])
    np.testing.assert_array_equal(labels, tiny_samples.targets)


def test_pictures_come_in_the_networks_size_and_channels(tiny_samples: Samples) -> None:
    recipe = tiny_recipe(input={"size": 32, "channels": "rgb", "mean": [0.5] * 3, "std": [0.25] * 3})
    data = ExpressionData(tiny_samples, recipe)
    images, targets = next(iter(data.train_batches(0)))
    assert images.shape == (32, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert {name: tuple(target.shape) for name, target in targets.items()} == {"votes": (32, 10), "fer2013": (32, 7)}
    held = sum(len(batch) for batch, _ in data.val_batches())
    assert held == len(tiny_samples.only("val"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_that_is_missing(tiny_samples: Samples, split: str) -> None:
    other = tiny_samples.subset(tiny_samples.split != ("train", "val").index(split))
    with pytest.raises(DataError, match=f"no '{split}' rows"):
        ExpressionData(other, tiny_recipe())


def test_one_picture_is_too_few(tiny_samples: Samples) -> None:
    few = np.flatnonzero(tiny_samples.split == 0)[:1]
    with pytest.raises(DataError, match="fewer than two images"):
        ExpressionData(
            tiny_samples.subset(np.concatenate([few, np.flatnonzero(tiny_samples.split == 1)])), tiny_recipe()
        )


def test_soft_targets_join_what_is_known_of_the_training_images(tiny_samples: Samples) -> None:
    count, classes = tiny_samples.targets.shape
    soft = np.full((count, classes), 1 / classes, np.float32)
    soft[2] = 0
    targets = tiny_samples.targets.copy()
    targets[1] = 0
    taught = replace(tiny_samples, targets=targets, soft_labels=soft)
    head = tiny_recipe(heads={"fer2013": {"source": "labels", "soft": 0.75}}).heads["fer2013"]
    found = with_soft_targets(targets_for(taught, head), taught, "fer2013", head)
    np.testing.assert_allclose(found[0], 0.25 * targets[0] + 0.75 / classes, atol=1e-6)
    np.testing.assert_allclose(found[1], 1 / classes, atol=1e-6)  # nobody knows but the teachers
    np.testing.assert_allclose(found[2], targets[2], atol=1e-6)  # nobody asked them
    images = ExpressionData(taught, tiny_recipe(heads={"fer2013": {"source": "labels", "soft": 0.75}}))
    for _, held in images.val_batches():
        assert set(held["fer2013"].flatten().tolist()) == {0, 1}


def test_soft_votes_serve_the_eight_of_the_modes(tiny_samples: Samples) -> None:
    soft = np.tile(np.asarray([0.4, 0.1, 0, 0, 0, 0, 0, 0, 0.3, 0.2], np.float32), (len(tiny_samples), 1))
    taught = replace(tiny_samples, soft_votes=soft)
    head = tiny_recipe(heads={"votes": {"source": "votes", "labels": "majority", "soft": 1.0}}).heads["votes"]
    found = with_soft_targets(targets_for(taught, head), taught, "votes", head)
    np.testing.assert_allclose(found, np.tile([0.8, 0.2, 0, 0, 0, 0, 0, 0], (len(tiny_samples), 1)), atol=1e-6)


def test_soft_targets_that_are_missing_or_make_no_sense(tiny_samples: Samples) -> None:
    with pytest.raises(
        ConfigError, match="'fer2013' learns from soft targets of labels, and the data has none"
    ) as caught:
        ExpressionData(tiny_samples, tiny_recipe(heads={"fer2013": {"source": "labels", "soft": 0.5}}))
    assert "mien data distil" in caught.value.hint
    with pytest.raises(ValueError, match="soft: 'pld' learns from labels only"):
        tiny_recipe(heads={"votes": {"source": "votes", "labels": "pld", "soft": 0.5}})
