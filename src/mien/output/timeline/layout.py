"""Where everything of a timeline is: shapes, texts and images in pixels.

Each person has a lane: on the left the face, the name and what is seen most; on the right the probabilities over time,
stacked in a fixed order, so that a colour keeps its place, and below them a line with the most probable emotion.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.names import printable
from mien.output.console import exact_clock
from mien.output.drawing.palette import RGB, colour_of
from mien.output.drawing.shapes import (
    BACK,
    GRID,
    MARGIN,
    MUTED,
    PANEL,
    TEXT,
    WIDTH,
    Area,
    Box,
    Item,
    Text,
    Thumbnail,
    short,
)
from mien.output.timeline.measures import Summary, summary
from mien.output.timeline.series import Recording, Series

_FACE: Final = 72
_LEFT: Final = 316  # where the charts begin
_RIGHT: Final = WIDTH - MARGIN - 14
_LANE: Final = 118
_CHART: Final = 70  # height of the probabilities
_STRIP: Final = 9  # height of the line below them
_VISIBLE: Final = 0.05  # emotions that never have such a probability are not named; their areas are hairlines
_POINTS: Final = 900  # of a curve; more are averaged
# Lanes of one video; the people who are seen longest have them.
MOST_LANES: Final = 24


def timeline(recordings: Sequence[Recording]) -> tuple[int, list[Item]]:
    """The height of the picture, whose width is `WIDTH`, and what is in it, in the order in which it is drawn."""
    items: list[Item] = []
    y = 0.0
    for recording in recordings:
        y += _recording(recording, y, items)
    return round(y + 8), items


def _recording(recording: Recording, top: float, items: list[Item]) -> float:
    """Draws one video; gives its height."""
    shown = sorted(recording.series, key=lambda series: -series.seconds)[:MOST_LANES]
    left_out = len(recording.series) - len(shown)
    shown.sort(key=lambda series: -1 if series.track is None else series.track)
    y = top + 44
    items.append(Text(MARGIN, y, short(printable(PurePath(recording.source).name), 60), 22, bold=True))
    if not recording.frames:
        items.append(Text(MARGIN, y + 24, short(f"could not be read: {printable(recording.error)}", 150), 14, MUTED))
        return y + 44 - top
    people = f"{len(recording.series)} {'person' if len(recording.series) == 1 else 'people'}"
    parts = [clock(recording.seconds), people]
    if recording.error:
        parts.append("not all of it could be read")
    if recording.empty:
        parts.append(f"no face in {recording.empty / max(recording.frames, 1):.0%} of the frames")
    if left_out:
        parts.append(f"the {len(shown)} who are seen longest are shown")
    items.append(Text(MARGIN, y + 24, " · ".join(parts), 14, MUTED))
    used = _used(shown)
    x = float(_RIGHT + 14)
    for name in reversed(used):
        label = name.replace("_", " ")
        x -= 7.4 * len(label) + 30
        items.append(Box(x, y + 13, 12, 12, colour_of(name), 4))
        items.append(Text(x + 18, y + 24, label, 14, TEXT))
    y += 44
    for series in shown:
        _lane(series, recording, y, items)
        y += _LANE + 10
    if not shown:
        items.append(Text(MARGIN, y + 24, "no face was found", 15, MUTED))
        y += 44
    _axis(recording, y + 6, top + 88, items)
    return y + 30 - top


def _used(shown: Sequence[Series]) -> list[str]:
    """The emotions that can be seen somewhere, in their order."""
    names = dict.fromkeys(name for series in shown for name in series.emotions)
    return [
        name
        for name in names
        if any(
            float(series.probabilities[:, series.emotions.index(name)].max(initial=0)) > _VISIBLE
            for series in shown
            if name in series.emotions
        )
    ]


def _lane(series: Series, recording: Recording, y: float, items: list[Item]) -> None:
    """One person."""
    found = summary(series)
    items.append(Box(MARGIN, y, WIDTH - 2 * MARGIN, _LANE, PANEL, 14))
    if series.thumbnail is not None:
        items.append(Thumbnail(MARGIN + 16, y + (_LANE - _FACE) / 2, _FACE, series.thumbnail))
    x = MARGIN + 16 + (_FACE + 16) * (series.thumbnail is not None)
    for line, (text, size, colour, bold) in enumerate(_words(found, series)):
        items.append(Text(x, y + 34 + 20 * line, text, size, colour, bold=bold))
    top = y + 14
    items.append(Box(_LEFT, top, _RIGHT - _LEFT, _CHART, BACK, 6))
    for part in series.spans:
        items.extend(_stack(series, part, recording, top))
    for episode in found.episodes:
        begin, end = _across(episode.begin, recording), _across(episode.end, recording)
        times = f"{exact_clock(episode.begin)} to {exact_clock(episode.end)}"
        title = f"{episode.emotion}, {times}, mean {episode.confidence:.0%}"
        width = max(end - begin - 1, 1.5)
        items.append(Box(begin, top + _CHART + 9, width, _STRIP, colour_of(episode.emotion), 4, title))


def _words(found: Summary, series: Series) -> Iterator[tuple[str, float, RGB, bool]]:
    """The lines beside a face: text, size, colour, bold."""
    yield series.name, 16, TEXT, True
    emotion = max(found.shares, key=lambda name: found.shares[name])
    yield f"{emotion.replace('_', ' ')} {found.shares[emotion]:.0%}", 14, colour_of(emotion), False
    yield f"seen {clock(found.seconds)} · {found.changes_per_minute:.0f} changes/min", 12, MUTED, False
    more = []
    if found.blinks_per_minute is not None:
        more.append(f"{found.blinks_per_minute:.0f} blinks/min")
    if found.head_movement is not None:
        more.append(f"head {found.head_movement:.0f}°/s")
    if more:
        yield " · ".join(more), 12, MUTED, False


def _stack(series: Series, part: slice, recording: Recording, top: float) -> Iterator[Area]:
    """The probabilities of a part without gaps, one above the other."""
    times, rows = _reduced(series.times[part], series.probabilities[part])
    if len(times) == 1:  # a single frame still has a width
        times, rows = np.array([times[0], times[0] + series.step]), np.concatenate([rows, rows])
    across = [_across(time, recording) for time in times.tolist()]
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    heights = top + _CHART * (1 - np.clip(sums / np.maximum(sums[:, -1:], 1e-9), 0, 1))
    for number, name in enumerate(series.emotions):
        if float(rows[:, number].max()) < 0.01:
            continue
        lower, upper = heights[:, number].tolist(), heights[:, number + 1].tolist()
        edge = [*zip(across, upper, strict=True), *reversed(list(zip(across, lower, strict=True)))]
        points = tuple((round(x, 2), round(y, 2)) for x, y in edge)
        yield Area(points, colour_of(name), 0.94, f"{name}, mean {float(rows[:, number].mean()):.0%}")


def _reduced(times: NDArray[np.float64], rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Neighbouring points averaged, if there are more than a picture can show."""
    together = -(-len(times) // _POINTS)
    if together == 1:
        return times, rows
    starts = np.arange(0, len(times), together)
    counts = np.diff(np.append(starts, len(times)))
    means = np.add.reduceat(rows, starts, axis=0) / counts[:, None]
    return np.add.reduceat(times, starts) / counts, means.astype(np.float32)


def _axis(recording: Recording, y: float, top: float, items: list[Item]) -> None:
    """Times below the lanes."""
    length = max(recording.end - recording.begin, 1e-3)
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((each for each in steps if length / each <= 10), 86400 * max(1, round(length / 864000)))
    first = int(np.ceil(recording.begin / step - 1e-9))
    for number in range(first, int(recording.end / step + 1e-9) + 1):
        x = _across(number * step, recording)
        align = "middle" if x < _RIGHT - 12 else "end"
        items.append(Box(x - 0.5, y - 6, 1, 5, GRID))
        time = number * step
        text = f"0:{time:02.0f}" if step >= 1 and time < 10 else clock(time, tenths=step < 1)
        items.append(Text(x, y + 13, text, 12, MUTED, align))


def _across(time: float, recording: Recording) -> float:
    """Where a time is drawn."""
    share = (time - recording.begin) / max(recording.end - recording.begin, 1e-3)
    return _LEFT + min(max(share, 0.0), 1.0) * (_RIGHT - _LEFT)


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A time as people write it: 4.2 s, 0:42, 1:02:03."""
    if tenths:
        return f"{seconds:.1f} s"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
