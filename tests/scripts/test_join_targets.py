"""Recorded soft targets are joined to a store by the pixels of its faces."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripts.join_targets import digests, joined
from tests.drawn import drawn_samples

from mien.datasets import Samples
from mien.datasets.samples import SPLITS


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=6)


def targets(path: Path, samples: Samples, rows: slice, shares: tuple[int, int]) -> Path:
    """A file with the same targets for every one of these faces: two classes share the probability."""
    names = digests(samples)[rows]
    labels, votes = np.zeros((len(names), 7), np.uint8), np.zeros((len(names), 10), np.uint8)
    labels[:, :2] = votes[:, :2] = shares
    np.savez(path, pictures=names, soft_labels=labels, soft_votes=votes)
    return path


def test_the_mean_of_the_files_that_know_a_face(samples: Samples, tmp_path: Path) -> None:
    one = targets(tmp_path / "one.npz", samples, slice(None), (255, 0))
    two = targets(tmp_path / "two.npz", samples, slice(None, None, 2), (51, 204))
    order = np.random.default_rng(0).permutation(len(samples))
    found = joined(samples.subset(order), [one, two])
    training = found.split == SPLITS.index("train")
    assert found.soft_labels is not None
    assert found.soft_votes is not None
    np.testing.assert_allclose(found.soft_labels[training].sum(axis=1), 1, atol=1e-6)
    assert not found.soft_labels[~training].any()
    expected = np.where(order % 2 == 0, 0.6, 1.0)[training]
    np.testing.assert_allclose(found.soft_labels[training, 0], expected, atol=1e-6)
    np.testing.assert_allclose(found.soft_votes[training, 0], expected, atol=1e-6)
    assert found.about["teachers"] == ["one", "two"]


def test_targets_of_other_faces_are_refused(samples: Samples, tmp_path: Path) -> None:
    file = targets(tmp_path / "one.npz", replace(samples, images=255 - samples.images), slice(None), (255, 0))
    with pytest.raises(ValueError, match="none of the store's training split"):
        joined(samples, [file])
