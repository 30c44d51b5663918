"""Class shares in training: what a head notes, logit adjustment in the loss, weights of rows, mean recall of a run."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.drawn import drawn_samples
from tests.tiny import tiny_recipe

from mien.datasets import Samples, ferplus, store
from mien.errors import ConfigError
from mien.expression import ClassifierOptions, OnnxClassifier, softmax
from mien.training import FitOptions, export_run, fit
from mien.training.expression import TASK
from mien.training.expression.data import ExpressionData, training_shares
from mien.training.expression.module import ExpressionModule, cross_entropy


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Drawn faces, of which a fifth of the classes are rare in training."""
    drawn = drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=8)
    training = np.flatnonzero(drawn.split == 0)
    rare = training[drawn.labels[training] == 1]
    return drawn.subset(np.setdiff1d(np.arange(len(drawn)), rare[2:]))


def heads(**changes: Any) -> dict[str, Any]:
    return {"votes": {"source": "votes"} | changes, "fer2013": {"source": "labels"} | changes}


def test_shares_are_those_of_labels_and_of_majorities(samples: Samples) -> None:
    train = samples.only("train")
    found = training_shares(train, tiny_recipe())
    np.testing.assert_allclose(found["fer2013"], np.bincount(train.labels, minlength=7) / len(train))
    assert train.votes is not None
    targets, kept = ferplus.process(train.votes, "majority")
    known = found["votes"][:8].numpy()
    np.testing.assert_allclose(known / known.sum(), targets[kept].sum(axis=0) / kept.sum(), atol=1e-6)


def test_weights_and_balanced_draws_change_the_shares(samples: Samples) -> None:
    train = samples.only("train")
    for changed in (
        tiny_recipe(heads={"fer2013": {"source": "labels", "class_weights": "balanced"}}),
        tiny_recipe(heads={"fer2013": {"source": "labels"}}, sampler="balanced"),
    ):
        np.testing.assert_allclose(training_shares(train, changed)["fer2013"], np.full(7, 1 / 7), atol=1e-6)


def test_the_loss_sees_the_shares(samples: Samples) -> None:
    recipe = tiny_recipe(heads=heads(logit_adjustment=0.5))
    setup = TASK.setup(recipe, samples)
    module, data = setup.module, setup.data
    assert isinstance(module, ExpressionModule)
    assert isinstance(data, ExpressionData)
    logits = torch.randn(4, 7)
    found = module._with_shares(logits, "fer2013")
    np.testing.assert_allclose(found, logits + 0.5 * data.shares["fer2013"].log(), atol=1e-5)
    target = torch.eye(7)[:4]
    assert cross_entropy(found, target) != cross_entropy(logits, target)
    plain = TASK.setup(tiny_recipe(), samples).module
    assert isinstance(plain, ExpressionModule)
    assert plain._with_shares(logits, "fer2013") is logits


def test_a_run_notes_what_its_loss_removed(samples: Samples, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=1, heads=heads(logit_adjustment=1.0), monitor="val/fer2013/mean_recall")
    fit(recipe, samples, tmp_path / "run", FitOptions(progress=False))
    with (tmp_path / "run" / "metrics.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["val/fer2013/mean_recall"]) <= 1
    assert not [name for name in row if "/recall/" in name]
    store.save(samples, tmp_path / "faces.h5")
    TASK.export(recipe, tmp_path / "run", tmp_path / "faces.h5", tmp_path / "own.onnx")
    faces = samples.only("val").images
    training, uniform = (
        OnnxClassifier(ClassifierOptions(tmp_path / "own.onnx", emotions=7, prior=name))
        for name in ("training", "uniform")
    )
    shares = training.head.classes
    assert shares is not None
    assert shares.removed == 1
    assert set(shares.temperatures) == {"soft", "uniform"}
    (logits,) = uniform.logits(faces)
    own = softmax(logits["fer2013"], shares.temperatures["uniform"])
    np.testing.assert_allclose(uniform.predict_proba(faces), own, atol=1e-5)
    changed = softmax(logits["fer2013"], training.head.temperature) * np.array(shares.shares)
    np.testing.assert_allclose(training.predict_proba(faces), changed / changed.sum(axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(ConfigError, match="logit_adjustment, and the data has no training faces"):
        export_run(tmp_path / "run", samples.only("val"), tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_weights_of_rows(samples: Samples) -> None:
    with pytest.raises(ConfigError, match="row_weights: the data has no weights"):
        TASK.setup(tiny_recipe(row_weights=True), samples)
    weights = np.linspace(0.2, 1, len(samples), dtype=np.float32)
    weighted = replace(samples, weights=weights)
    sums = {}
    for wanted in (False, True):
        data = ExpressionData(weighted, tiny_recipe(row_weights=wanted, heads={"fer2013": {"source": "labels"}}))
        sums[wanted] = torch.cat([batch[1]["fer2013"].sum(dim=1) for batch in data.train_batches(0)])
    assert (sums[False] == 1).all()
    assert 0.2 <= sums[True].min() < sums[True].max() <= 1
    val = torch.cat([batch[1]["fer2013"].sum(dim=1) for batch in data.val_batches()])
    assert (val == 1).all()


def test_multi_label_losses_have_no_adjustment() -> None:
    with pytest.raises(ValueError, match="logit_adjustment: not for the loss of 'multi'"):
        tiny_recipe(heads={"votes": {"source": "votes", "labels": "multi", "logit_adjustment": 1.0}})
