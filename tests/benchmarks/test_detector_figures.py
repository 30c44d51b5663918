"""The comparison of detectors: what is counted, and in which size."""

import itertools

import pytest
from benchmarks.detectors import SIZES, Counts, proportions


def test_recall_and_precision_by_size() -> None:
    counts = Counts(
        faces=[9, 10, 15, 19.9, 20, 50, 70],
        found=[False, True, False, True, True, False, True],
        detections=[15, 45, 55, 300, 8],
        right=[True, True, False, True, False],
    )
    figures = proportions(counts)
    shares = {name: (figure.median, figure.repeats) for name, figure in figures.items()}
    assert shares == {
        "recall, 10-20 px": (pytest.approx(200 / 3), 3),
        "recall, 20-40 px": (100, 1),
        "recall, 40-60 px": (0, 1),
        "recall, 60+ px": (100, 1),
        "recall, 10+ px": (pytest.approx(400 / 6), 6),
        "precision, 10-20 px": (100, 1),
        "precision, 40-60 px": (50, 2),
        "precision, 60+ px": (100, 1),
        "precision, 10+ px": (75, 4),
    }


def test_the_sizes_leave_no_gap() -> None:
    edges = list(SIZES.values())
    assert edges[0][0] == 10
    assert all(one[1] == other[0] for one, other in itertools.pairwise(edges))
