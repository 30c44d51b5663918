"""What a series says in numbers: shares of time, changes, episodes, blinks, movement of the head."""

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
        changes_per_minute: Changes from one episode to another.
        episodes: Those of at least 0.4 s.
        blinks_per_minute: None without keypoints, or below 12 frames a second.
        head_movement: Mean speed of yaw and pitch together, in degrees a second; None without keypoints, or below 4
            frames a second.
        head_range: (yaw, pitch) the range of the middle 90%, in degrees; None without keypoints.
    """

    source: str
    track: int | None
    begin: float
    end: float
    seconds: float
    shares: dict[str, float]
    means: dict[str, float]
    changes_per_minute: float
    episodes: tuple[Episode, ...]
    blinks_per_minute: float | None
    head_movement: float | None
    head_range: tuple[float, float] | None

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return asdict(self)


def summaries(recordings: list[Recording]) -> list[Summary]:
    """One summary for each person of each video."""
    return [summary(series) for recording in recordings for series in recording.series]


def summary(series: Series) -> Summary:
    """The numbers of one person."""
    lengths = _lengths(series)
    labels = series.probabilities.argmax(axis=1)
    total = max(float(lengths.sum()), 1e-9)
    shares = {name: float(lengths[labels == number].sum()) / total for number, name in enumerate(series.emotions)}
    means = dict(zip(series.emotions, (lengths @ series.probabilities / total).tolist(), strict=True))
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
        changes_per_minute=60 * changes / max(series.seconds, 1e-9),
        episodes=tuple(found),
        blinks_per_minute=blinks_per_minute(series),
        head_movement=_head_movement(series),
        head_range=_head_range(series),
    )


def _lengths(series: Series) -> NDArray[np.float64]:
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
    """How often the eyes close for a moment; None if it is unknown."""
    known = ~np.isnan(series.openness)
    if known.sum() < 10 or 1 / max(series.step, 1e-9) < _BLINK_RATE:
        return None
    count = 0
    for part in series.spans:
        openness = series.openness[part].astype(np.float64)
        if np.isnan(openness).any() or len(openness) < 3:
            continue
        width = min(len(openness), max(3, round(_USUAL / series.step))) | 1
        padded = np.pad(openness, width // 2, mode="reflect" if len(openness) > width // 2 else "edge")
        usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
        closed = openness < _CLOSED * usual
        edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(int)))
        for start, stop in edges.reshape(-1, 2):
            length = (stop - start) * series.step
            count += bool(_BLINK[0] <= length <= _BLINK[1] and start > 0 and stop < len(openness))
    return 60 * count / max(series.seconds, 1e-9)


def _head_movement(series: Series) -> float | None:
    if np.isnan(series.pose).any() or len(series.times) < 3 or 1 / max(series.step, 1e-9) < _POSE_RATE:
        return None
    way = seconds = 0.0
    width = max(1, round(_STEADY / series.step))
    for part in series.spans:
        pose = series.pose[part, :2].astype(np.float64)
        if len(pose) <= width:
            continue
        steady = np.lib.stride_tricks.sliding_window_view(pose, width, axis=0).mean(axis=-1)
        way += float(np.linalg.norm(np.diff(steady, axis=0), axis=1).sum())
        seconds += (len(steady) - 1) * series.step
    return way / seconds if seconds else None


def _head_range(series: Series) -> tuple[float, float] | None:
    if np.isnan(series.pose).any():
        return None
    low, high = np.quantile(series.pose[:, :2], [0.05, 0.95], axis=0)
    yaw, pitch = (high - low).tolist()
    return yaw, pitch
