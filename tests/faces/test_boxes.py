"""Overlap of boxes, and one box a face."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.faces.boxes import iou, nms


@st.composite
def boxes(draw: st.DrawFn) -> NDArray[np.float64]:
    count = draw(st.integers(0, 12))
    numbers = st.floats(0, 50, allow_nan=False, width=32)
    corners = np.array(draw(st.lists(st.tuples(numbers, numbers), min_size=count, max_size=count))).reshape(-1, 2)
    size = st.floats(0.5, 40, allow_nan=False, width=32)
    sizes = np.array(draw(st.lists(st.tuples(size, size), min_size=count, max_size=count))).reshape(-1, 2)
    return np.concatenate([corners, corners + sizes], axis=1)


def pairwise(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(wide * high / (sum(areas) - wide * high))


@given(boxes(), boxes())
def test_iou_box_by_box(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    found = iou(one, other)
    assert found.shape == (len(one), len(other))
    assert np.allclose(found, [[pairwise(first, second) for second in other] for first in one] or found)
    assert np.allclose(np.diag(iou(one, one)), 1)


@given(boxes(), st.randoms())
def test_kept_boxes_do_not_overlap_and_cover_the_others(found: NDArray[np.float64], chance: random.Random) -> None:
    scores = np.array([chance.random() for _ in found])
    overlaps = iou(found, found)
    kept = nms(found, scores, 0.4)
    among = overlaps[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among < 0.4).all()
    assert (np.diff(scores[kept]) <= 0).all()
    for index in set(range(len(found))) - set(kept.tolist()):
        rivals = kept[(overlaps[index, kept] >= 0.4) & (scores[kept] >= scores[index])]
        assert len(rivals)


def test_empty_boxes_overlap_nothing() -> None:
    empty = np.zeros((1, 4))
    assert iou(empty, empty).tolist() == [[0]]
