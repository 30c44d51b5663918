"""Clips: what belongs together, in which order, and the windows that networks read."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import Samples
from mien.datasets.clips import clips_of, pad, windows
from mien.datasets.derive import with_crops
from mien.datasets.derive.unlabelled import joined
from mien.datasets.samples import NO_LABEL
from mien.errors import ConfigError, DataError


def sequences() -> Samples:
    """Two clips whose rows are mixed and not in the order of time, and an image in no clip."""
    labels = np.array([NO_LABEL, 1, 0, NO_LABEL, 2, NO_LABEL])
    return Samples(
        images=np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2),
        labels=labels,
        classes=("anger", "fear", "neutral"),
        split=np.array([0, 1, 0, 1, 0, 0], np.uint8),
        targets=np.where(labels[:, None] == NO_LABEL, 0, np.eye(3)[labels]).astype(np.float32),
        names=np.array(list("abcdef")),
        subjects=np.array(["S2", "S1", "S2", "S1", "", "S2"]),
        clips=np.array(["two", "one", "two", "one", "", "two"]),
        frames=np.array([11, 30, 12, 7, 0, 3]),
        clip_labels=np.array([0, 1, 0, 1, NO_LABEL, 0]),
    )


def test_frames_are_in_the_order_of_time() -> None:
    first, second = clips_of(sequences())
    assert (first.name, first.rows.tolist(), first.label, first.subject, first.split) == (
        "two", [5, 0, 2], 0, "S2", "train",
    )  # fmt: skip
    assert (second.name, second.rows.tolist(), second.label, second.subject, second.split) == (
        "one", [3, 1], 1, "S1", "val",
    )  # fmt: skip


def test_windows_are_the_last_frames_and_repeat_the_first_one() -> None:
    samples = sequences()
    found = windows(samples, 2)
    assert found.rows.tolist() == [[0, 2], [3, 1]]
    assert found.labels.tolist() == [0, 1]
    assert found.names.tolist() == ["two", "one"]
    assert found.subjects.tolist() == ["S2", "S1"]
    assert samples.images[found.rows].shape == (2, 2, 2, 2)
    assert windows(samples, 4).rows.tolist() == [[5, 5, 0, 2], [3, 3, 3, 1]]
    assert len(windows(samples.only("val"), 3)) == 1


@given(st.integers(1, 80), st.integers(1, 30))
def test_a_window_ends_with_the_peak(count: int, length: int) -> None:
    window = pad(np.arange(count), length).tolist()
    assert window == [0] * (length - count) + list(range(max(0, count - length), count))


def test_no_frames_and_no_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="from 1, got 0"):
        pad([1], 0)
    with pytest.raises(ValueError, match="at least one frame"):
        pad([], 3)
    samples = sequences()
    with pytest.raises(DataError, match="no clip of the data is labelled"):
        windows(replace(samples, clip_labels=np.full(6, NO_LABEL)), 3)
    with pytest.raises(DataError, match="no labelled clips, only images") as caught:
        windows(replace(samples, clips=None, frames=None, clip_labels=None), 3)
    assert "--frames sequence" in caught.value.hint


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("split", 0, 2, "expected one split for the clip 'two'"),
        ("clip_labels", 0, 1, "expected one clip label for the clip 'two'"),
        ("subjects", 1, "S9", "expected one subject for the clip 'one'"),
        ("frames", 1, 7, "the clip 'one' has the frame 7 twice"),
        ("clip_labels", 4, 1, "expected no label for rows without a clip"),
    ],
)
def test_frames_that_do_not_belong_together(column: str, row: int, value: Any, message: str) -> None:
    samples = sequences()
    changed = getattr(samples, column).copy()
    changed[row] = value
    with pytest.raises(ValueError, match=message):
        replace(samples, **{column: changed})


def test_columns_of_clips_come_together() -> None:
    with pytest.raises(ValueError, match="together, or none of them"):
        replace(sequences(), frames=None)


def test_a_second_copy_of_a_frame_is_in_no_clip() -> None:
    samples = sequences()
    grown = with_crops(samples, np.array([0, 2]), [samples.images[0], samples.images[2]], {})
    assert [(clip.name, len(clip)) for clip in clips_of(grown)] == [("two", 3), ("one", 2)]
    assert len(grown) == 8
    assert grown.subjects is not None
    assert grown.subjects[6:].tolist() == ["S2", "S2"]


def test_clips_join_images_without_clips() -> None:
    samples = sequences()
    images = replace(samples, clips=None, frames=None, clip_labels=None, subjects=None)
    both = joined(images, [samples])
    assert [(clip.name, clip.rows.tolist()) for clip in clips_of(both)] == [("two", [11, 6, 8]), ("one", [9, 7])]
