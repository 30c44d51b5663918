"""Soft targets: what teachers say of the training images, and of those alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command

from mien.datasets import Samples, store
from mien.datasets.derive.distil import distil_targets
from mien.datasets.samples import SPLITS
from mien.emotions import ALL
from mien.errors import ConfigError, DataError
from mien.expression import OnnxClassifier


def test_the_training_rows_have_what_the_teacher_says(tiny_model: Path, tiny_samples: Samples) -> None:
    heard: list[tuple[int, int]] = []
    softened = distil_targets(
        tiny_samples, [tiny_model], tta="none", progress=lambda done, total: heard.append((done, total))
    )
    training = tiny_samples.split == SPLITS.index("train")
    for found, classes in ((softened.soft_labels, tiny_samples.classes), (softened.soft_votes, ALL)):
        assert found is not None
        expected = OnnxClassifier(tiny_model).with_classes(classes).predict_proba(tiny_samples.images[training])
        np.testing.assert_allclose(found[training], expected, atol=1e-6)
        assert not found[~training].any()
    assert heard[-1] == (training.sum(), training.sum())
    assert softened.about["teachers"] == ["tiny"]


def test_teachers_and_views_are_averaged(tiny_model: Path, tiny_samples: Samples) -> None:
    part = tiny_samples.only("train").subset(np.arange(12))
    once = distil_targets(part, [tiny_model], tta="flip").soft_labels
    twice = distil_targets(part, [tiny_model, tiny_model], tta="flip").soft_labels
    assert once is not None
    assert twice is not None
    np.testing.assert_allclose(once, twice, atol=1e-6)
    np.testing.assert_allclose(once.sum(axis=1), 1, atol=1e-5)
    mirrored = distil_targets(
        replace(part, images=np.ascontiguousarray(part.images[:, :, ::-1])), [tiny_model], tta="flip"
    )
    assert mirrored.soft_labels is not None
    np.testing.assert_allclose(mirrored.soft_labels, once, atol=1e-5)


def test_teachers_that_know_no_such_classes(tiny_model: Path, tiny_samples: Samples) -> None:
    with pytest.raises(ConfigError, match="teachers must all know"):
        distil_targets(tiny_samples, [])
    own = replace(tiny_samples, classes=tuple("abcdefg"))
    softened = distil_targets(own.subset(np.arange(20)), [tiny_model])
    assert softened.soft_labels is None
    assert softened.soft_votes is not None
    with pytest.raises(DataError, match="no 'train' rows"):
        distil_targets(tiny_samples.only("val"), [tiny_model])


def test_the_command_writes_a_store_that_gives_them_back(
    tiny_model: Path, tiny_samples: Samples, tmp_path: Path
) -> None:
    store.save(tiny_samples, tmp_path / "faces.h5")
    run = run_command("data", "distil", "faces.h5", "--teacher", tiny_model, "--out", "soft.h5", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    count = int((tiny_samples.split == 0).sum())
    assert f"soft labels: {count:,} rows" in run.stdout
    found, expected = store.load(tmp_path / "soft.h5"), distil_targets(tiny_samples, [tiny_model])
    for ours, theirs in ((found.soft_labels, expected.soft_labels), (found.soft_votes, expected.soft_votes)):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.images, tiny_samples.images)
    assert store.load(tmp_path / "faces.h5").soft_votes is None
