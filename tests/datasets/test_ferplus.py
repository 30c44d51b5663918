"""FER+ label processing: against a plain reading of its rules, row by row, and against the published counts."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mien.datasets import Samples, ferplus
from mien.datasets.exclude import RowOptions
from mien.emotions import ALL, vocabulary

UNKNOWN, NOT_A_FACE = ALL.index("unknown"), ALL.index("not_a_face")


def plain(votes: list[int], mode: str) -> list[float] | None:
    """One row's distribution over the eight emotions, or None where it is dropped; `votes` in the order of `ALL`."""
    columns = [ALL.index(name) for name in ferplus.COLUMNS]
    left = {column: votes[column] if votes[column] > 1 else 0 for column in columns}  # in FER+'s column order
    total = sum(left.values())
    taken: dict[int, int] = {}
    if mode == "majority":
        top = max(left, key=lambda column: left[column])
        if left[top] * 2 > total:
            taken[top] = left[top]
    elif mode == "multi_target":
        taken = {column: count for column, count in left.items() if count and count >= 0.3 * total}
        if sum(taken.values()) * 2 <= total:
            return None
    else:
        ended = False
        while sum(taken.values()) < 0.75 * total and len(taken) < 3 and not ended:
            most = max(left.values())
            for column in columns:
                if left[column] != most:
                    continue
                left[column] = 0
                if column in (UNKNOWN, NOT_A_FACE):
                    ended = True
                    if not taken:
                        taken[column] = most
                    break
                taken[column] = most
        if sum(taken.values()) * 2 <= total or len(taken) > 3:
            return None
    if not taken:
        return None
    # Of several that tie at the top, the first column counts, and unknown and not_a_face stand last.
    top = max((column for column in columns if column in taken), key=lambda column: taken[column])
    if top in (UNKNOWN, NOT_A_FACE):
        return None
    kept = {column: count for column, count in taken.items() if column not in (UNKNOWN, NOT_A_FACE)}
    return [kept.get(index, 0) / sum(kept.values()) for index in range(8)]


def compare(votes: NDArray[np.uint8], mode: ferplus.Mode) -> None:
    targets, kept = ferplus.process(votes, mode)
    assert targets.dtype == np.float32
    assert targets.shape == (len(votes), 8)
    for row, target, keeps in zip(votes.tolist(), targets, kept, strict=True):
        expected = plain(row, mode)
        assert bool(keeps) == (expected is not None), (row, mode)
        np.testing.assert_allclose(target, expected or [0] * 8, atol=1e-6, err_msg=f"{row} {mode}")


# Ten annotators, as the data has them, besides votes of any number: few ties occur among the latter.
ballots = st.lists(st.integers(0, 9), min_size=9, max_size=10).map(
    lambda chosen: np.bincount(chosen, minlength=10).astype(np.uint8)
)


@pytest.mark.parametrize("mode", get_args(ferplus.Mode))
@settings(deadline=None)
@given(rows=st.lists(ballots, min_size=1, max_size=40))
@example(rows=[np.array(row, np.uint8) for row in ([0] * 10, [1] * 10, [5, 5, 0, 0, 0, 0, 0, 0, 0, 0])])
@example(rows=[np.array(row, np.uint8) for row in ([5, 0, 0, 0, 0, 0, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0, 0, 0, 5, 5])])
@example(rows=[np.array(row, np.uint8) for row in ([4, 2, 2, 2, 0, 0, 0, 0, 0, 0], [3, 3, 0, 0, 0, 0, 0, 0, 4, 0])])
def test_it_equals_a_plain_reading_of_the_rules(rows: list[NDArray[np.uint8]], mode: ferplus.Mode) -> None:
    compare(np.stack(rows), mode)


@pytest.mark.parametrize("mode", get_args(ferplus.Mode))
@settings(deadline=None)
@given(votes=hnp.arrays(np.uint8, (20, 10), elements=st.integers(0, 5) | st.integers(0, 255)))
def test_any_number_of_votes(votes: NDArray[np.uint8], mode: ferplus.Mode) -> None:
    compare(votes, mode)


def test_rows_of_the_rules() -> None:
    """Worked by hand."""
    votes = np.zeros((5, 10), np.uint8)
    votes[0, [0, 3]] = 6, 4  # anger before happiness
    votes[1, [0, 3, 8]] = 4, 3, 3  # 7 of 10 gathered when unknown's turn comes, in the same tie: it ends the gathering
    votes[2, [0, 3]] = 5, 5  # no majority
    votes[3, [0, 1]] = 9, 1  # the single vote does not count
    votes[4, [8, 0]] = 6, 4  # nobody knew
    majority, kept = ferplus.process(votes, "majority")
    assert kept.tolist() == [True, False, False, True, False]
    assert majority[0, 0] == majority[3, 0] == 1
    shares, kept = ferplus.process(votes, "probability")
    assert kept.tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(shares[1, [0, 3]], [4 / 7, 3 / 7], rtol=1e-6)
    several, kept = ferplus.process(votes, "multi_target")
    assert kept.tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(several[1, [0, 3]], [4 / 7, 3 / 7], rtol=1e-6)


def test_no_rows() -> None:
    for mode in ferplus.MODES:
        targets, kept = ferplus.process(np.zeros((0, 10), np.uint8), mode)
        assert targets.shape == (0, 8)
        assert kept.shape == (0,)


def test_argmax_gives_a_tie_to_the_first_of_the_columns() -> None:
    votes = np.zeros((4, 10), np.uint8)
    votes[0, [ALL.index("anger"), ALL.index("neutral")]] = 5  # neutral is FER+'s first column, anger the fifth
    votes[1, [ALL.index("contempt"), UNKNOWN]] = 5
    votes[2, UNKNOWN] = 3
    labels, kept = ferplus.argmax(votes)
    assert kept.tolist() == [True, True, False, False]
    assert [vocabulary(8)[label] for label in labels[:2]] == ["neutral", "contempt"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        ("majority", (25_060, 3_199)),
        ("probability", (27_956, 3_505)),
        ("crossentropy", (27_956, 3_505)),
        ("multi_target", (27_671, 3_472)),
    ],
)
def test_the_rows_kept_are_those_published(everything: Samples, mode: ferplus.Mode, counts: tuple[int, int]) -> None:
    assert everything.votes is not None
    _, kept = ferplus.process(everything.votes, mode)
    assert tuple(int((kept & (everything.split == split)).sum()) for split in (0, 1)) == counts
    compare(everything.votes[::23], mode)


@pytest.mark.real_data
def test_the_argmax_rows_are_those_published(everything: Samples) -> None:
    assert everything.votes is not None
    _, kept = ferplus.argmax(everything.votes)
    assert int((kept & (everything.split == 1)).sum()) == 3_553


@pytest.mark.real_data
def test_eight_emotions_of_the_real_files(official: tuple[Path, Path]) -> None:
    from mien.datasets.builders.fer2013 import build

    faces, votes = official
    samples = build(csv=faces, votes=votes, emotions=8, choice=RowOptions(keep_duplicates=True))
    assert {name: sum(table.values()) for name, table in samples.counts().items()} == {"train": 25_060, "val": 3_199}
    assert samples.about["dropped_by_label_processing"] == 32_298 - 25_060 - 3_199
