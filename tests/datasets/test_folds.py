"""Divisions by person: nobody is on both sides, and the same data always gives the same folds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import Samples
from mien.datasets.derive import with_crops
from mien.datasets.folds import check_subjects, persons, subject_folds, subject_split
from mien.datasets.samples import NO_LABEL
from mien.errors import ConfigError, DataError


def people(count: int, each: int = 3) -> Samples:
    """Images of some persons, of whom the last has no label."""
    rows = count * each
    labels = np.where(np.arange(rows) < rows - each, np.arange(rows) % 2, NO_LABEL)
    return Samples(
        images=np.arange(rows, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2),
        labels=labels,
        classes=("anger", "fear"),
        split=np.zeros(rows, np.uint8),
        targets=np.where(labels[:, None] == NO_LABEL, 0, np.eye(2)[labels]).astype(np.float32),
        names=np.arange(rows).astype(np.str_),
        subjects=np.array([f"S{row // each:03}" for row in range(rows)]),
    )


@given(st.integers(4, 12), st.integers(2, 3), st.integers(0, 5))
def test_folds_divide_persons_evenly_whatever_the_order(persons: int, count: int, seed: int) -> None:
    samples = people(persons)
    folds = subject_folds(samples, count)
    assert samples.subjects is not None
    for name in np.unique(samples.subjects):
        assert len(set(folds[samples.subjects == name])) == 1
    assert set(folds[samples.labels == NO_LABEL]) == {-1}
    sizes = np.bincount(folds[folds >= 0])
    assert len(sizes) == count
    assert np.ptp(sizes) <= 3
    order = np.random.default_rng(seed).permutation(len(samples))
    np.testing.assert_array_equal(subject_folds(samples.subset(order), count), folds[order])


def test_persons_take_turns_in_ascending_order() -> None:
    assert subject_folds(people(6, each=1), 2).tolist() == [0, 1, 0, 1, 0, -1]


def test_without_persons_clips_stay_together() -> None:
    samples = replace(
        people(4, each=2),
        subjects=None,
        clips=np.array(["a", "a", "b", "b", "c", "c", "", ""]),
        frames=np.array([0, 1] * 4),
        clip_labels=np.array([0, 0, 1, 1, 0, 0, NO_LABEL, NO_LABEL]),
    )
    assert subject_folds(samples, 3).tolist() == [0, 0, 1, 1, 2, 2, -1, -1]
    images = replace(samples, clips=None, frames=None, clip_labels=None)
    assert subject_folds(images, 2).tolist() == [0, 1, 0, 1, 0, 1, -1, -1]


def test_other_crops_of_a_face_stay_with_it() -> None:
    """Trained on one crop and tested on the other, a network would be tested on what it has learned."""
    samples = replace(people(8), subjects=None)
    count = len(samples)
    grown = with_crops(samples, np.array([1, 3, 4]), [samples.images[row] for row in (1, 3, 4)], {})
    parts = persons(grown)
    assert parts[count:].tolist() == parts[[1, 3, 4]].tolist()
    assert parts[:count].tolist() == persons(samples).tolist()
    folds = subject_folds(grown, 3)
    assert folds[count:].tolist() == folds[[1, 3, 4]].tolist()


def test_too_few_persons_or_folds() -> None:
    with pytest.raises(DataError, match="5 folds need at least 5 persons with labels, and the data has 3"):
        subject_folds(people(4), 5)
    with pytest.raises(ConfigError, match="from 2, got 1"):
        subject_folds(people(4), 1)


@given(st.integers(4, 20), st.floats(0, 0.4), st.floats(0.01, 0.4), st.integers(0, 3))
def test_shares_of_persons(count: int, val: float, test: float, seed: int) -> None:
    samples = people(count)
    split = subject_split(samples, {"val": val, "test": test}, seed)
    moved = replace(samples, split=split)
    check_subjects(moved)
    assert (split == 0).any()
    assert (split == 2).any()
    assert bool((split == 1).any()) == (val > 0)
    np.testing.assert_array_equal(split, subject_split(samples, {"val": val, "test": test}, seed))


def test_a_person_in_both_splits_is_refused() -> None:
    samples = people(8)
    split = samples.split.copy()
    split[[1, 2, 5]] = [1, 2, 1]
    with pytest.raises(DataError) as caught:
        check_subjects(replace(samples, split=split))
    assert "S000 (train and val and test), S001 (train and val)" in caught.value.message
    split[::3] = 1
    with pytest.raises(DataError, match="and 3 more"):
        check_subjects(replace(samples, split=split))
    unknown = np.full(len(samples), "")
    check_subjects(replace(samples, split=split, subjects=unknown))
