"""Emotions over time: one series for each track of each video, collected from results or read from a table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.output.photographs import Photographs
from mien.output.saved_tables import number as as_number
from mien.output.saved_tables import open_rows
from mien.results import AFFECT, POSE, FrameResult

# A series keeps at most so many points, five hours at 30 frames a second: then neighbours are averaged, so that memory
# stays flat for any length.
_MOST_POINTS: Final = 2**19
# New points are packed into an array when there are so many.
_PACKED: Final = 1024
# Columns of measures that a report uses.
_EYES: Final = ("right_eye_openness", "left_eye_openness")
_STEP: Final = 0.04  # seconds between two frames, where there is only one
# What probabilities are.
_OF_FRAMES: Final = "those of single frames"
_SMOOTHED: Final = "smoothed along each track"


@dataclass(slots=True)
class Series:
    """One person of one video.

    Attributes:
        source: The video.
        track: The number of the track; None for faces without one.
        emotions: The names of the C classes.
        times: (N,) seconds, rising.
        probabilities: (N, C), smoothed if the results were.
        openness: (N,) mean openness of the eyes; NaN where it is unknown.
        pose: (N, 3) yaw, pitch and roll in degrees; NaN where it is unknown.
        affect: (N, 2) valence and arousal, -1 to 1, smoothed if the results were; NaN where they are unknown.
        thumbnail: (H, W, 3) uint8 RGB, the best view of the face; None without images.
        frame_step: The usual time between two frames of the video in seconds, for those seen in one frame only.
        together: How many frames each point is the mean of: 1, but for very long videos.
    """

    source: str
    track: int | None
    emotions: tuple[str, ...]
    times: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    openness: NDArray[np.float32]
    pose: NDArray[np.float32]
    affect: NDArray[np.float32]
    thumbnail: NDArray[np.uint8] | None = None
    frame_step: float = _STEP
    together: int = 1

    @property
    def name(self) -> str:
        """For people: "person 0"."""
        return "faces" if self.track is None else f"person {self.track}"

    @property
    def step(self) -> float:
        """The usual time between two frames in seconds."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else self.frame_step

    @property
    def spans(self) -> list[slice]:
        """The parts without a gap: the face is missing for less than half a second, or three frames."""
        gap = max(0.5, 3 * self.step)
        ends = np.flatnonzero(np.diff(self.times) > gap) + 1
        bounds = [0, *ends.tolist(), len(self.times)]
        return [slice(start, end) for start, end in pairwise(bounds)]

    @property
    def seconds(self) -> float:
        """How long the person is seen."""
        return sum(float(self.times[part][-1] - self.times[part][0]) + self.step for part in self.spans)


@dataclass(slots=True)
class Recording:
    """One video: its frames, and its people in order of their tracks.

    Attributes:
        source: The video.
        begin: The time of the first frame in seconds.
        end: The time of the last one.
        frames: Their number.
        empty: Number of frames without a face.
        series: The people.
        probabilities: What their probabilities are, in words.
        steps: Seconds between its first frames.
        emotions: The names of the classes of its people; empty if they are not known.
        error: Why it, or the last part of it that could not be read, could not; empty if all of it was read.
    """

    source: str
    begin: float = math.inf
    end: float = -math.inf
    frames: int = 0
    empty: int = 0
    series: list[Series] = field(default_factory=list)
    probabilities: str = _OF_FRAMES
    steps: list[float] = field(default_factory=list)
    emotions: tuple[str, ...] = ()
    error: str = ""

    @property
    def step(self) -> float:
        """The usual time between two frames in seconds."""
        return float(np.median(self.steps)) if self.steps else _STEP

    @property
    def seconds(self) -> float:
        """The length, to the end of the last frame."""
        return self.end - self.begin + self.step if self.frames else 0.0


class _Growing:
    """The points of one series as they come."""

    def __init__(self, emotions: tuple[str, ...]) -> None:
        self.emotions = emotions
        self._rows: list[NDArray[np.float64]] = []
        self._packed: list[NDArray[np.float64]] = []  # (N, 7 + C) each
        self._together = 1  # points that are averaged into one
        self.thumbnail: NDArray[np.uint8] | None = None
        self.view = 0.0  # how good the thumbnail is

    def add(self, time: float, values: "_Values", probabilities: Iterable[float]) -> None:
        """Adds what is known of the person at a time."""
        self._rows.append(np.array([time, values.openness, *values.pose, *values.affect, *probabilities], np.float64))
        if len(self._rows) >= max(_PACKED, self._together):
            self._pack()

    def _pack(self) -> None:
        rows = np.array(self._rows)
        full = len(rows) // self._together * self._together
        self._packed.append(rows[:full].reshape(-1, self._together, rows.shape[1]).mean(axis=1))
        self._rows = list(rows[full:])
        if sum(map(len, self._packed)) > _MOST_POINTS:
            done = np.concatenate(self._packed)
            half = len(done) // 2 * 2
            self._packed = [done[:half].reshape(-1, 2, done.shape[1]).mean(axis=1)]
            self._together *= 2

    def series(self, source: str, track: int | None) -> Series:
        """The series so far, in the order of time."""
        rows = np.concatenate([*self._packed, np.array(self._rows).reshape(-1, 7 + len(self.emotions))])
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        return Series(
            source,
            track,
            self.emotions,
            times=rows[:, 0],
            probabilities=rows[:, 7:].astype(np.float32),
            openness=rows[:, 1].astype(np.float32),
            pose=rows[:, 2:5].astype(np.float32),
            affect=rows[:, 5:7].astype(np.float32),
            thumbnail=self.thumbnail,
            together=self._together,
        )


@dataclass(frozen=True, slots=True)
class _Values:
    """What is known of a face besides its emotions; NaN where it is unknown."""

    openness: float
    pose: Sequence[float]
    affect: Sequence[float]


class Collector:
    """Collects series from results, in memory that does not grow without bound.

    Args:
        raw: Whether the probabilities of single frames are used where there are smoothed ones, too.
    """

    def __init__(self, *, raw: bool = False) -> None:
        self._raw = raw
        self._recordings: dict[str, Recording] = {}
        self._growing: dict[tuple[str, int | None], _Growing] = {}

    def add(self, result: FrameResult) -> None:
        """Adds one result; one without a time is left out."""
        if result.timestamp is None:
            return
        if result.error is not None:
            self._recording(result.source).error = result.error
            return
        self._frame(result.source, result.timestamp, not len(result))
        for face in result:
            smoothed = None if self._raw else face.smoothed
            expression = smoothed or face.expression
            if expression is None:
                continue
            if smoothed is not None:
                self._recordings[result.source].probabilities = _SMOOTHED
            growing = self._grow(result.source, face.track, expression.emotions)
            seen = face.measures
            eyes = math.nan if seen is None else (seen.right_eye_openness + seen.left_eye_openness) / 2
            pose = [math.nan] * 3 if face.pose is None else face.pose.tolist()
            affect = expression.affect
            place = [math.nan] * 2 if affect is None else [affect.valence, affect.arousal]
            growing.add(result.timestamp, _Values(eyes, pose, place), expression.probabilities)
            if result.image is not None:
                view = face.score * math.sqrt(float(np.prod(face.box[2:] - face.box[:2])))
                if view > 1.2 * growing.view:
                    growing.view, growing.thumbnail = view, thumbnail(result.image, face.box)

    def add_row(self, row: Mapping[str, Any], emotions: tuple[str, ...]) -> None:
        """Adds one row of a table."""
        time, error = as_number(row.get("timestamp")), row.get("error")
        if math.isnan(time):
            return
        if error:
            self._recording(str(row["source"])).error = str(error)
            return
        values = [as_number(row.get(f"smoothed_{name}")) for name in emotions]
        smoothed = not self._raw and not any(map(math.isnan, values))
        if not smoothed:
            values = [as_number(row.get(name)) for name in emotions]
        has_face = row.get("face") not in (None, "")
        self._frame(str(row["source"]), time, not has_face)
        if smoothed:
            self._recordings[str(row["source"])].probabilities = _SMOOTHED
        if not has_face or any(map(math.isnan, values)):
            return
        track = as_number(row.get("track"))
        growing = self._grow(str(row["source"]), None if math.isnan(track) else int(track), emotions)
        eyes = [as_number(row.get(name)) for name in _EYES]
        pose = [as_number(row.get(name)) for name in POSE]
        affect = [as_number(row.get(f"smoothed_{name}" if smoothed else name)) for name in AFFECT[:2]]
        growing.add(time, _Values(sum(eyes) / 2, pose, affect), values)

    def recordings(self) -> list[Recording]:
        """The videos so far, each with its people."""
        for recording in self._recordings.values():
            found = [(key, growing) for key, growing in self._growing.items() if key[0] == recording.source]
            found.sort(key=lambda pair: -1 if pair[0][1] is None else pair[0][1])
            recording.series = [growing.series(*key) for key, growing in found]
            for series in recording.series:
                series.frame_step = recording.step
        return list(self._recordings.values())

    def _recording(self, source: str) -> Recording:
        return self._recordings.setdefault(source, Recording(source))

    def _frame(self, source: str, time: float, empty: bool) -> None:
        recording = self._recording(source)
        if time != recording.end:  # the rows of the faces of one frame have the same time
            if recording.frames and len(recording.steps) < _PACKED:
                recording.steps.append(abs(time - recording.end))
            recording.frames += 1
            recording.empty += empty
        recording.begin, recording.end = min(recording.begin, time), max(recording.end, time)

    def _grow(self, source: str, track: int | None, emotions: tuple[str, ...]) -> _Growing:
        return self._growing.setdefault((source, track), _Growing(emotions))


def thumbnail(image: NDArray[np.uint8], box: NDArray[np.floating], side: int = 144) -> NDArray[np.uint8]:
    """The square around a face, (side, side, 3) uint8 RGB."""
    from PIL import Image

    reach = 0.68 * float(max(box[2:] - box[:2]))
    x, y = ((box[:2] + box[2:]) / 2).tolist()
    cut = Image.fromarray(image).transform(
        (side, side),
        Image.Transform.EXTENT,
        (x - reach, y - reach, x + reach, y + reach),
        Image.Resampling.BILINEAR,
        fillcolor=(40, 43, 52),
    )
    return np.array(cut)


def _smooth(series: Series, seconds: float) -> None:
    """Smooths probabilities and coordinates in a triangular window of that length, as `mien.expression.smoothing`."""
    half = seconds / 2
    first = np.searchsorted(series.times, series.times - half)
    stop = np.searchsorted(series.times, series.times + half, side="right")
    values = np.concatenate([series.probabilities, series.affect], axis=1)
    rows = np.empty_like(values)
    for number, (start, end) in enumerate(zip(first.tolist(), stop.tolist(), strict=True)):
        weights = np.clip(1 - np.abs(series.times[start:end] - series.times[number]) / half, 0, None)
        rows[number] = (weights / weights.sum()) @ values[start:end]
    series.probabilities, series.affect = rows[:, :-2], rows[:, -2:]


def read_table(
    path: Path, smooth: float = 0.0, photographs: Photographs | None = None, *, raw: bool = False
) -> list[Recording]:
    """The videos in a table that `mien analyze --table` wrote: CSV, JSON lines or Parquet.

    Args:
        path: The table.
        smooth: Seconds over which the probabilities of single frames are smoothed along a track; 0 for none. The
            smoothed ones of the table stay as they are.
        photographs: Counts the rows that have no time; a table may then be of images alone.

        raw: Whether the probabilities of single frames are used where the table has smoothed ones, too.

    Raises:
        InputError: The file cannot be read.
        DataError: It is not such a table, or has no frames of a video.
        MissingExtraError: Parquet needs packages that are not installed.
    """
    table, collector = open_rows(path), Collector(raw=raw)

    def use(row: Mapping[str, Any]) -> None:
        collector.add_row(row, table.emotions)
        if photographs is not None:
            photographs.add_row(row, table.emotions)

    done = table.each(use)
    found = collector.recordings()
    if not found and not (photographs and photographs.sources):
        raise DataError(
            f"'{path}' has no frames of a video: none of its {done:,} rows has a time",
            hint="a timeline needs time; analyze a video",
        )
    for recording in found:
        recording.emotions = table.emotions
        tracks = [series for series in recording.series if series.track is not None]
        if smooth > 0 and tracks and recording.probabilities == _OF_FRAMES:
            for series in tracks:
                _smooth(series, smooth)
            recording.probabilities = f"{_SMOOTHED} over {smooth:g} s"
    return found
