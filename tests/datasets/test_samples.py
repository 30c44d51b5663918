"""Samples: what may not be put together, and what is taken out of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.datasets import Samples
from mien.datasets.samples import mark_duplicates
from mien.errors import DataError


@pytest.fixture
def samples() -> Samples:
    return Samples(
        images=np.arange(5 * 4, dtype=np.uint8).reshape(5, 2, 2),
        labels=np.array([0, 1, 2, 0, 1]),
        classes=("anger", "fear", "neutral"),
        split=np.array([0, 0, 0, 1, 1], np.uint8),
        targets=np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]],
        names=np.array(list("abcde")),
        votes=np.arange(50, dtype=np.uint8).reshape(5, 10),
    )


@pytest.mark.parametrize("name", ["labels", "split", "targets", "names", "votes", "duplicate", "subjects"])
def test_every_column_has_every_row(samples: Samples, name: str) -> None:
    column: Any = np.zeros(3, bool) if name in ("duplicate", "subjects") else getattr(samples, name)[:3]
    with pytest.raises(ValueError, match=f"{name}: expected 5 rows, got 3"):
        replace(samples, **{name: column})


def test_a_target_for_every_class(samples: Samples) -> None:
    with pytest.raises(ValueError, match="targets: expected 2 columns, got 3"):
        replace(samples, classes=("anger", "fear"))


def test_keypoints_are_points_with_a_scheme(samples: Samples) -> None:
    with pytest.raises(ValueError, match=r"keypoints: expected shape \(N, K, 2\), got \(5, 2\)"):
        replace(samples, keypoints=np.zeros((5, 2), np.float32), keypoint_scheme="5")
    for change in ({"keypoints": np.zeros((5, 4, 2), np.float32)}, {"keypoint_scheme": "5"}):
        with pytest.raises(ValueError, match="together with the name of their scheme"):
            replace(samples, **change)


@pytest.mark.parametrize("rows", [np.array([True, False, True, False, True]), np.array([0, 2, 4])])
def test_a_subset_takes_rows_of_every_column(samples: Samples, rows: NDArray[np.int64]) -> None:
    taken = samples.subset(rows)
    assert taken.names.tolist() == ["a", "c", "e"]
    assert taken.labels.tolist() == [0, 2, 1]
    assert taken.split.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(taken.images, samples.images[[0, 2, 4]])
    np.testing.assert_array_equal(taken.targets, samples.targets[[0, 2, 4]])
    assert taken.votes is not None
    assert taken.votes[:, 0].tolist() == [0, 20, 40]
    assert taken.classes == samples.classes


def test_one_split(samples: Samples) -> None:
    assert samples.only("val").names.tolist() == ["d", "e"]
    with pytest.raises(DataError, match="no 'test' rows") as caught:
        samples.only("test")
    assert caught.value.hint == "build the store again with a share for it: --test 0.1"


def test_counts(samples: Samples) -> None:
    assert samples.counts() == {
        "train": {"anger": 1, "fear": 1, "neutral": 1},
        "val": {"anger": 1, "fear": 1, "neutral": 0},
    }


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30))
def test_duplicates_are_the_images_on_both_sides(rows: list[tuple[int, int]]) -> None:
    images = np.zeros((len(rows), 2, 2), np.uint8)
    images[:, 1, 0] = [kind for kind, _ in rows]
    split = np.array([side for _, side in rows], np.uint8)
    expected = [any(other == kind and (their == 0) != (side == 0) for other, their in rows) for kind, side in rows]
    assert mark_duplicates(images, split).tolist() == expected
