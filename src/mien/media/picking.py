"""The options of videos: which frames are analyzed (every Nth, a rate, a range), and how people are followed."""

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Final

from mien.errors import ConfigError
from mien.media.decode import shown

_TIME: Final = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)s?")


def seconds(text: str) -> float:
    """A time as seconds: "90", "1:30" or "0:01:30.5".

    Raises:
        ConfigError: It is none of these.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"expected a time in seconds, or as 1:02:03.5, got '{shown(text)}'")
    hours, minutes, rest = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)


def _check_number(name: str, value: object, *, whole: bool = False) -> None:
    """Refuses what is not a number, or not a whole one; only the command line takes times as text.

    Raises:
        ConfigError: It is not.
    """
    if value is None or (isinstance(value, Integral if whole else Real) and not isinstance(value, bool)):
        return
    hint = ""
    if isinstance(value, str) and _TIME.fullmatch(value.strip()):
        hint = f"write {name}={seconds(value):g}"
    raise ConfigError(f"{name}: expected a {'whole ' * whole}number, got {shown(repr(value))}", hint=hint)


_AS_TIME: Final = {"time": True}


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """Which frames of a video are analyzed; by default all."""

    every: Annotated[int | None, "Analyze every Nth frame of a video."] = None
    fps: Annotated[float | None, "Analyze at most this many frames per second of a video."] = None
    start: Annotated[float | None, "Where to begin in a video: in seconds, or as 1:02:03.5.", _AS_TIME] = None
    end: Annotated[float | None, "Where to end in a video; a frame at exactly this time is left out.", _AS_TIME] = None

    def __post_init__(self) -> None:
        """Refuses numbers without a meaning."""
        for name in ("every", "fps", "start", "end"):
            _check_number(name, getattr(self, name), whole=name == "every")
        if self.every is not None and self.every < 1:
            raise ConfigError(f"every: expected a number of frames from 1, got {self.every}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ConfigError(f"fps: expected a number above 0, got {self.fps:g}")
        if self.every is not None and self.fps is not None:
            raise ConfigError("every: cannot be combined with fps", hint="omit one of the two")
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"{name}: expected a time from 0, got {value:g}")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ConfigError(f"end: expected a time after the start, {self.start:g} s, got {self.end:g} s")


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """How people are followed through videos and cameras; images have no tracks.

    Raises:
        ConfigError: An option has a value out of its range.
    """

    detect_every: Annotated[
        int | None,
        "Videos: detect faces on every Nth frame, by default four times a second, and follow them between; earlier if "
        "one is lost or comes.",
    ] = None
    smooth: Annotated[
        float | None,
        "Videos: seconds over which probabilities are smoothed along a track, by default 0.6; 0 for none. If it is "
        "given, tables also get the smoothed ones.",
    ] = None

    def __post_init__(self) -> None:
        _check_number("detect_every", self.detect_every, whole=True)
        _check_number("smooth", self.smooth)
        if self.detect_every is not None and self.detect_every < 1:
            raise ConfigError(
                f"detect_every: expected a number of frames from 1, got {self.detect_every}", hint="for example 3"
            )
        if self.smooth is not None and not 0 <= self.smooth < math.inf:
            raise ConfigError(f"smooth: expected seconds from 0, got {self.smooth}", hint="for example 0.6")


class Picker:
    """Chooses the frames of one video by `VideoOptions`."""

    def __init__(self, options: VideoOptions) -> None:
        self._options = options
        self._first: tuple[int, float] | None = None
        self._slot = -1

    def is_before(self, timestamp: float) -> bool:
        """Whether a frame comes before the range."""
        return self._options.start is not None and timestamp < self._options.start

    def is_after(self, timestamp: float) -> bool:
        """Whether a frame comes after the range."""
        return self._options.end is not None and timestamp >= self._options.end

    def wants(self, index: int, timestamp: float) -> bool:
        """Whether a frame of the range is analyzed; call it for each, in order."""
        if self._first is None:
            self._first = index, timestamp
        if self._options.every is not None:
            return (index - self._first[0]) % self._options.every == 0
        if self._options.fps is None:
            return True
        # One frame for each interval of 1/fps seconds; a hair more, as times are rounded.
        slot = math.floor((timestamp - self._first[1]) * self._options.fps + 1e-6)
        if slot <= self._slot:
            return False
        self._slot = slot
        return True

    def expected(self, frames: float, duration: float) -> int:
        """About how many of some frames are analyzed; for the time that is left."""
        begin = min(self._options.start or 0.0, duration)
        end = duration if self._options.end is None else min(self._options.end, duration)
        share = max(0.0, end - begin) / duration if duration > 0 else 1.0
        if self._options.fps is not None:
            return round(min(frames * share, (end - begin) * self._options.fps))
        return round(frames * share / (self._options.every or 1))
