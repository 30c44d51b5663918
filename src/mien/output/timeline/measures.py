"""What a series says in numbers: shares of time, changes, episodes, blinks, movement of the head."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.output.timeline.series import Recording, Series

# An emotion must stay so long, in seconds, to be an episode; a change is from one episode to another.
LEAST_EPISODE: Final = 0.4
# A blink: the eyes are open by less than this share of their usual openness, for such a time in seconds.
_CLOSED: Final = 0.65
_BLINK: Final = (0.03, 0.5)
# The usual openness is the median over this time, in seconds.
_USUAL: Final = 4.0
# Below this rate, in frames a second, blinks are missed; below the other, movement means little.
_BLINK_RATE: Final = 12.0
_POSE_RATE: Final = 4.0
# Frames may come so much later than a rate says; they belong together over gaps of so many seconds, and not if their
# times are closer than any camera's.
_LATE: Final = 1.02
_LONG_GAP: Final = 0.3
_SAME_TIME: Final = 1e-3
# Medians that are computed together.
_PART: Final = 2**14
# What is measured for a shorter time, in seconds, says nothing.
_LEAST: Final = 0.3
# The pose is averaged over this time before its speed is measured: noise would add up.
_STEADY: Final = 0.3


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which one emotion is the most probable.

    Attributes:
        emotion: The emotion.
        begin: Seconds.
        end: Seconds.
        confidence: Its mean probability.
    """

    emotion: str
    begin: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One person of one video in numbers.

    Attributes:
        source: The video.
        track: The track; None for faces without one.
        begin: When the person is first seen, in seconds.
        end: When last.
        seconds: How long the person is seen.
        shares: For each emotion the share of that time in which it is the most probable.
        means: For each emotion its mean probability.
        valence: The mean over that time, -1 to 1; None if it is unknown.
        arousal: The same.
        changes_per_minute: Changes from one episode to another.
        episodes: Those of at least 0.4 s.
        blinks_per_minute: None without keypoints, or below 12 frames a second, for half of the time or more.
        head_movement: Mean speed of yaw and pitch together, in degrees a second; None without keypoints, or below 4
            frames a second, for half of the time or more.
        head_range: (yaw, pitch) the range of the middle 90%, in degrees; None without most of the keypoints.
    """

    source: str
    track: int | None
    begin: float
    end: float
    seconds: float
    shares: dict[str, float]
    means: dict[str, float]
    valence: float | None
    arousal: float | None
    changes_per_minute: float
    episodes: tuple[Episode, ...]
    blinks_per_minute: float | None
    head_movement: float | None
    head_range: tuple[float, float] | None

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """One video in numbers.

    Attributes:
        source: The video.
        seconds: Its length.
        frames: The number of its frames.
        without_face: The number of those without a face.
        error: Why it, or the last part of it that could not be read, could not; None if all of it was read.
        probabilities: What the probabilities are, in words.
        people: In order of their tracks.
    """

    source: str
    seconds: float
    frames: int
    without_face: int
    error: str | None
    probabilities: str
    people: tuple[Summary, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return asdict(self)


def recording_summary(recording: Recording) -> RecordingSummary:
    """The numbers of one video and its people."""
    return RecordingSummary(
        recording.source,
        recording.seconds,
        recording.frames,
        recording.empty,
        recording.error or None,
        recording.probabilities,
        tuple(map(summary, recording.series)),
    )


def summaries(recordings: list[Recording]) -> list[Summary]:
    """One summary for each person of each video."""
    return [summary(series) for recording in recordings for series in recording.series]


def summary(series: Series) -> Summary:
    """The numbers of one person."""
    lengths = frame_lengths(series)
    labels = series.probabilities.argmax(axis=1)
    total = max(float(lengths.sum()), 1e-9)
    shares = {name: float(lengths[labels == number].sum()) / total for number, name in enumerate(series.emotions)}
    means = dict(zip(series.emotions, (lengths @ series.probabilities / total).tolist(), strict=True))
    valence, arousal = mean_affect(series.affect, lengths)
    found = episodes(series)
    changes = sum(one.emotion != other.emotion for one, other in pairwise(found))
    return Summary(
        source=series.source,
        track=series.track,
        begin=float(series.times[0]),
        end=float(series.times[-1]),
        seconds=series.seconds,
        shares=shares,
        means=means,
        valence=valence,
        arousal=arousal,
        changes_per_minute=60 * changes / max(series.seconds, 1e-9),
        episodes=tuple(found),
        blinks_per_minute=blinks_per_minute(series),
        head_movement=_head_movement(series),
        head_range=_head_range(series),
    )


def mean_affect(affect: NDArray[np.float32], lengths: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The means of valence and arousal (N, 2) over frames, each as long as `lengths` (N,) says; None if unknown."""
    weights = np.where(np.isnan(affect).any(axis=1), 0.0, lengths)
    if not weights.sum() > 0:
        return None, None
    valence, arousal = (weights @ np.nan_to_num(affect) / weights.sum()).tolist()
    return valence, arousal


def frame_lengths(series: Series) -> NDArray[np.float64]:
    """How long each frame lasts (N,), in seconds: to the next one, and in a gap the usual time."""
    lengths = np.full(len(series.times), series.step)
    for part in series.spans:
        lengths[part][:-1] = np.diff(series.times[part])
    return lengths


def episodes(series: Series, least: float = LEAST_EPISODE) -> list[Episode]:
    """The times of at least `least` seconds in which the same emotion is the most probable; gaps end them.

    Shorter ones are left out, and what is the same before and after them is one episode.
    """
    labels = series.probabilities.argmax(axis=1)
    found: list[Episode] = []
    for part in series.spans:
        kept: list[tuple[int, int, int]] = []  # label, first and last frame
        ends = np.flatnonzero(np.diff(labels[part])) + 1 + part.start
        bounds = [part.start, *ends.tolist(), part.stop]
        for start, stop in pairwise(bounds):
            last = stop if stop < part.stop else stop - 1
            length = series.times[last] - series.times[start] + (series.step if last < stop else 0)
            if length < least - 1e-6:
                continue
            if kept and kept[-1][0] == labels[start]:
                kept[-1] = (kept[-1][0], kept[-1][1], stop)
            else:
                kept.append((int(labels[start]), start, stop))
        for label, start, stop in kept:
            confidence = float(series.probabilities[start:stop, label].mean())
            end = float(series.times[stop - 1]) + series.step
            found.append(Episode(series.emotions[label], float(series.times[start]), end, confidence))
    return found


def blinks_per_minute(series: Series) -> float | None:
    """How often the eyes close for a moment; None if it cannot be seen for half of the time or more."""
    count, seconds = 0, 0.0
    for rows in _runs(series, ~np.isnan(series.openness), _BLINK_RATE):
        times, openness = series.times[rows], series.openness[rows].astype(np.float64)
        steps = np.diff(times)
        seen = _rolling_median(np.append(steps, steps[-1]), 9) <= _LATE / _BLINK_RATE
        seconds += float(np.append(steps, np.median(steps))[seen].sum())
        width = min(len(openness), max(3, round(_USUAL / float(np.median(steps))))) | 1
        closed = openness < _CLOSED * _rolling_median(openness, width)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(int)))
        for start, stop in edges.reshape(-1, 2):
            if start > 0 and stop < len(openness) and seen[start]:
                count += bool(_BLINK[0] <= times[stop] - times[start] <= _BLINK[1])
    return 60 * count / seconds if _is_most(seconds, series) else None


def _head_movement(series: Series) -> float | None:
    way = seconds = 0.0
    for rows in _runs(series, ~np.isnan(series.pose.sum(axis=1)), _POSE_RATE):
        times = series.times[rows]
        step = float(np.median(np.diff(times)))
        if step > _LATE / _POSE_RATE:
            continue
        # At even times: a frame rate that changes would change what the mean takes away.
        even = np.arange(times[0], times[-1] + step / 2, step)
        pose = np.stack([np.interp(even, times, each) for each in series.pose[rows, :2].T.astype(np.float64)], axis=1)
        width = max(1, int(_STEADY / step + 0.5 + 1e-6))  # 25 frames a second are just between two
        if len(pose) <= width:
            continue
        steady = np.lib.stride_tricks.sliding_window_view(pose, width, axis=0).mean(axis=-1)
        way += float(np.linalg.norm(np.diff(steady, axis=0), axis=1).sum())
        seconds += (len(steady) - 1) * step
    return way / seconds if _is_most(seconds, series) else None


def _head_range(series: Series) -> tuple[float, float] | None:
    known = ~np.isnan(series.pose[:, :2]).any(axis=1)
    if known.mean() <= 0.5:
        return None
    low, high = np.quantile(series.pose[known, :2], [0.05, 0.95], axis=0)
    yaw, pitch = (high - low).tolist()
    return yaw, pitch


def _runs(series: Series, known: NDArray[np.bool_], rate: float) -> Iterator[NDArray[np.int64]]:
    """The frames (N,) of each time without a longer gap in which something is known; single unknown ones are left out.

    A gap is longer if it holds two frames or more at that rate, and .3 s or more. Runs of fewer than three frames, and
    those whose frames have the same time, are left out.
    """
    gap = max(_LONG_GAP, 2.5 / rate)
    for part in series.spans:
        rows = part.start + np.flatnonzero(known[part])
        for run in np.split(rows, np.flatnonzero(np.diff(series.times[rows]) > gap) + 1):
            if len(run) >= 3 and np.median(np.diff(series.times[run])) > _SAME_TIME:
                yield run


def _rolling_median(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The median (N,) of so many values, an odd number, around each of the values (N,)."""
    padded = np.pad(values, width // 2, mode="reflect" if len(values) > width // 2 else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    # Part by part: the median copies all windows, which are many values for each frame of hours.
    parts = [np.median(windows[start : start + _PART], axis=1) for start in range(0, len(windows), _PART)]
    return np.concatenate(parts)


def _is_most(seconds: float, series: Series) -> bool:
    """Whether that is most of the time in which a person is seen, and no mere moment."""
    return seconds > max(series.seconds / 2, _LEAST)
