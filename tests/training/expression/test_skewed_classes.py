"""Class weights and the balanced sampler: what they do to the loss, to the draws, and to a network on skewed data."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tests.drawn import draw_face
from tests.tiny import tiny_recipe

from mien.datasets import Samples
from mien.emotions import ALL
from mien.errors import ConfigError
from mien.training import ExpressionRecipe, FitOptions, fit
from mien.training.expression.data import ExpressionData, balanced_draws, class_weights
from mien.training.expression.module import ExpressionModule, cross_entropy
from mien.training.expression.recipe import HeadRecipe
from mien.training.loop import _Totals
from mien.training.recipe import changed, load, to_toml

COUNTS = {"sadness": 90, "neutral": 30, "surprise": 6}


def skewed(counts: Mapping[str, int] = COUNTS, held: int = 20) -> Samples:
    """Drawn faces, many of the first class; the val split has equally many of each."""
    rng = np.random.default_rng(4)
    images, labels, split = [], [], []
    for label, (emotion, count) in enumerate(counts.items()):
        for index in range(count + held):
            images.append(draw_face(emotion, rng))
            labels.append(label)
            split.append(int(index >= count))
    return Samples(
        images=np.stack(images),
        labels=np.asarray(labels, np.int64),
        classes=tuple(counts),
        split=np.asarray(split, np.uint8),
        targets=np.eye(len(counts), dtype=np.float32)[labels],
        names=np.arange(len(labels)).astype(np.str_),
    )


def recipe(weights: Any = "none", **changes: Any) -> ExpressionRecipe:
    return tiny_recipe(heads={"labels": {"source": "labels", "class_weights": weights}}, **changes)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    samples = skewed()
    found = ExpressionData(samples, recipe("balanced")).class_weights["labels"]
    training = samples.only("train").labels
    expected = compute_class_weight("balanced", classes=np.unique(training), y=training)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_sqrt_weights_are_their_square_roots_with_the_same_mean() -> None:
    samples = skewed()
    balanced, root = (
        ExpressionData(samples, recipe(kind)).class_weights["labels"].numpy() for kind in ("balanced", "sqrt")
    )
    np.testing.assert_allclose(root / root[0], np.sqrt(balanced / balanced[0]), rtol=1e-5)
    shares = np.asarray(list(COUNTS.values())) / sum(COUNTS.values())
    assert shares @ root == pytest.approx(1, rel=1e-5)
    assert shares @ balanced == pytest.approx(1, rel=1e-5)


def test_weights_by_class_and_none() -> None:
    samples = skewed()
    given = ExpressionData(samples, recipe({"surprise": 4, "neutral": 0.5})).class_weights["labels"]
    assert given.tolist() == [1.0, 0.5, 4.0]
    assert ExpressionData(samples, recipe()).class_weights == {}
    with pytest.raises(ConfigError, match=r"heads\.labels\.class_weights: the head has no class 'fear'") as caught:
        ExpressionData(samples, recipe({"fear": 2.0}))
    assert "sadness, neutral, surprise" in caught.value.hint


def test_a_head_of_votes_is_weighted_by_the_sums_of_its_shares(tiny_samples: Samples) -> None:
    heads = {"votes": {"source": "votes", "class_weights": "balanced"}, "fer2013": {"source": "labels"}}
    data = ExpressionData(tiny_samples, tiny_recipe(heads=heads))
    assert list(data.class_weights) == ["votes"]
    mass = torch.cat([targets["votes"] for _, targets in data.train_batches(0)])
    assert len(data.class_weights["votes"]) == mass.shape[1] == 10
    assert (data.class_weights["votes"] > 0).sum() == (mass.sum(dim=0) > 0).sum()


def test_the_weighted_loss_is_that_of_pytorch() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(40, 3), torch.randint(0, 3, (40,))
    weights = torch.tensor([0.2, 1.0, 5.0])
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    found = cross_entropy(logits, torch.eye(3)[labels], weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_change_the_training_loss_and_not_the_validation() -> None:
    samples = skewed()
    losses = {}
    for kind in ("none", "balanced"):
        plan = recipe(kind, augmentation={"mixup": 0, "erase": 0})
        data = ExpressionData(samples, plan)
        torch.manual_seed(0)
        module = ExpressionModule(plan.model_dump(mode="json"), {"labels": list(samples.classes)}).eval()
        module.set_class_weights(data.class_weights)
        torch.manual_seed(1)
        batch = next(iter(data.train_batches(0)))
        validation = module.validation_step(next(iter(data.val_batches())))["val/labels/loss"][0].item()
        losses[kind] = (module.training_step(batch)[0].item(), validation)
        assert not any("class_weights" in name for name in module.state_dict())
    assert losses["none"][0] != pytest.approx(losses["balanced"][0], rel=1e-3)
    assert losses["none"][1] == losses["balanced"][1]


def test_the_validation_loss_does_not_depend_on_the_batches() -> None:
    """Also if one of two heads has labels for some faces alone."""
    samples = skewed()
    votes = np.zeros((len(samples), len(ALL)), np.uint8)
    votes[::3, 0] = 10
    samples = replace(samples, votes=votes)
    heads = {"labels": {"source": "labels"}, "votes": {"source": "votes", "weight": 0.5}}
    plan = tiny_recipe(heads=heads)
    data = ExpressionData(samples, plan)
    torch.manual_seed(0)
    module = ExpressionModule(
        plan.model_dump(mode="json"), {"labels": list(samples.classes), "votes": list(ALL)}
    ).eval()
    images, targets = (list(part) for part in zip(*data.val_batches(), strict=True))
    whole = torch.cat(images), {name: torch.cat([each[name] for each in targets]) for name in targets[0]}
    order = torch.argsort(whole[1]["votes"].sum(dim=1), descending=True)  # those with votes first, so together

    def loss(side: int) -> float:
        total = _Totals()
        for rows in torch.split(order, side):
            total.add(module.validation_step((whole[0][rows], {name: each[rows] for name, each in whole[1].items()})))
        return module.joined(total.means())["val/loss"]

    assert loss(7) == pytest.approx(loss(len(order)), rel=1e-5)
    assert loss(20) == pytest.approx(loss(len(order)), rel=1e-5)


def test_the_balanced_sampler_draws_every_class_equally_often() -> None:
    samples = skewed()
    frequent = {}
    for kind in ("shuffle", "balanced"):
        data = ExpressionData(samples, recipe(sampler=kind))
        drawn = torch.cat([targets["labels"] for epoch in range(60) for _, targets in data.train_batches(epoch)])
        frequent[kind] = drawn.mean(dim=0).numpy()
        assert len(drawn) == 60 * (sum(COUNTS.values()) // 32) * 32  # an epoch is as long as before
    np.testing.assert_allclose(frequent["shuffle"], np.asarray([90, 30, 6]) / 126, atol=0.01)
    np.testing.assert_allclose(frequent["balanced"], 1 / 3, atol=0.02)  # 5,760 draws: two standard errors are .0124


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    data = ExpressionData(skewed(), recipe(sampler="balanced"))
    once, again, later = ([t["labels"] for _, t in data.train_batches(epoch)] for epoch in (0, 0, 1))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(once, later, strict=True))


def test_rows_without_a_label_are_drawn_as_before() -> None:
    targets = torch.zeros(100, 3)
    targets[:60, 0], targets[60:75, 1], targets[75:80, 2] = 1, 1, 1  # twenty without
    chances = balanced_draws(targets, ("anger", "fear", "sadness"))
    assert chances.sum() == pytest.approx(1)
    sums = [chances[part].sum() for part in (slice(0, 60), slice(60, 75), slice(75, 80), slice(80, 100))]
    np.testing.assert_allclose(sums, [0.8 / 3, 0.8 / 3, 0.8 / 3, 0.2], rtol=1e-6)


def test_what_is_no_emotion_is_not_made_frequent() -> None:
    """FER+ has 150 training faces whose top class is `not_a_face`: they are not drawn as often as all happy ones."""
    targets = torch.zeros(100, 3)
    targets[:78, 0], targets[78:98, 1], targets[98:, 2] = 1, 1, 1
    classes = ("happiness", "fear", "not_a_face")
    chances = balanced_draws(targets, classes)
    sums = [chances[part].sum() for part in (slice(0, 78), slice(78, 98), slice(98, 100))]
    np.testing.assert_allclose(sums, [0.49, 0.49, 0.02], rtol=1e-6)
    weights = class_weights(targets, classes, "votes", HeadRecipe(source="labels", class_weights="balanced"))
    assert weights is not None
    np.testing.assert_allclose(weights, [98 / 2 / 78, 98 / 2 / 20, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("equal", "expected none, balanced, sqrt or a number above 0 for each class, got equal"),
        (3, "got 3"),
        ({}, "got {}"),
        ({"fear": 0}, "got {'fear': 0}"),
        ({"fear": "much"}, "above 0 for each class"),
        ({"fear": True}, "above 0 for each class"),
    ],
)
def test_wrong_weights_are_one_error_of_the_recipe(weights: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=r"heads\.labels\.class_weights: ") as caught:
        changed(recipe(), {"heads.labels.class_weights": weights})
    assert message in caught.value.message
    assert "errors" not in caught.value.message


def test_recipes_round_trip_and_multi_has_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    for weights in ("sqrt", {"neutral": 0.5}):
        path.write_text(to_toml(recipe(weights, sampler="balanced")), encoding="utf-8")
        found = load(path, form=ExpressionRecipe)
        assert found.heads["labels"].class_weights == weights
        assert found.sampler == "balanced"
    other = load(path, ["heads.labels.class_weights=balanced", "sampler=shuffle"], form=ExpressionRecipe)
    assert (other.heads["labels"].class_weights, other.sampler) == ("balanced", "shuffle")
    with pytest.raises(ValueError, match="the loss of 'multi' has no weights"):
        tiny_recipe(heads={"votes": {"source": "votes", "labels": "multi", "class_weights": "sqrt"}})


@pytest.mark.parametrize("change", [{"weights": "balanced"}, {"sampler": "balanced"}], ids=["weights", "sampler"])
def test_on_skewed_data_both_raise_the_mean_recall(tmp_path: Path, change: dict[str, Any], plain_recall: float) -> None:
    assert mean_recall(tmp_path / "run", **change) > plain_recall + 0.1


@pytest.fixture(scope="module")
def plain_recall(tmp_path_factory: pytest.TempPathFactory) -> float:
    return mean_recall(tmp_path_factory.mktemp("plain") / "run")


def levels(common: int, rare: int, held: int = 100) -> Samples:
    """Two classes of grey squares whose levels overlap, so that it matters which class is preferred.

    Their levels have means of 1.3 standard deviations apart. With ten times as many of one class, the accuracy is best
    if nearly everything is called by its name, and the mean recall if the border lies in the middle.
    """
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1, 0, 1], [common, rare, held, held])
    grey = 118 + 20 * labels + rng.normal(0, 15, len(labels))
    images = grey[:, None, None] + rng.normal(0, 5, (len(labels), 16, 16))
    return Samples(
        images=images.clip(0, 255).astype(np.uint8),
        labels=labels,
        classes=("common", "rare"),
        split=np.repeat(np.asarray([0, 1], np.uint8), [common + rare, 2 * held]),
        targets=np.eye(2, dtype=np.float32)[labels],
        names=np.arange(len(labels)).astype(np.str_),
    )


def mean_recall(folder: Path, weights: str = "none", **changes: Any) -> float:
    """Of a short training on skewed data: its val split has as many faces of each class, so it is the accuracy."""
    torch.set_num_threads(1)
    calm = {"rotation": 0, "scale": 1, "stretch": 1, "shear": 0, "shift": 0, "gain": 1, "offset": 0, "downscale": 0}
    plan = tiny_recipe(
        epochs=5,
        input={"size": 16},
        heads={"labels": {"source": "labels", "class_weights": weights}},
        augmentation=calm | {"erase": 0, "mixup": 0},
        optimizer={"name": "adamw", "lr": 0.02},
        **changes,
    )
    fit(plan, levels(300, 30), folder, FitOptions(progress=False))
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        last = [row for row in csv.DictReader(file) if row["val/labels/accuracy"]][-1]
    return float(last["val/labels/accuracy"])
