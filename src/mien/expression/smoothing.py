"""Smoothing of expressions along a track: the noise of single frames averages out, and labels flicker less.

The model classifies each frame on its own. `TrackSmoother` adds to each face the mean of its track's probabilities over
a short window of time, with weights that fall linearly to both ends (a triangular, or Bartlett, window). A window that
reaches into the future needs those frames: results are delayed by that part, `delay`, and by nothing else.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.results import AFFECT, Affect, Expression, Face, FrameResult

# The length of the window, in seconds.
SECONDS: Final = 0.6


@dataclass(slots=True)
class _History:
    """The recent probabilities of one track, (C,) each, their times in seconds, and the values of `AFFECT`."""

    times: deque[float] = field(default_factory=deque)
    rows: deque[NDArray[np.float32]] = field(default_factory=deque)
    affects: deque[tuple[float, ...] | None] = field(default_factory=deque)


class TrackSmoother:
    """Smooths the expressions of one video or camera; a `mien.analyzer.Smoother`.

    Faces without a track or an expression, and results with an error, pass unchanged.

    Args:
        seconds: The length of the window.
        delay: The part of the window after the present frame, and so the delay of the results, in seconds. None for
            half of the window: it is then symmetric, and a change of expression appears at its true time. 0 for a
            camera: nothing is delayed, but a change appears late, by about a third of the window.
        threshold: A smoothed expression whose highest probability is lower is marked as uncertain.

    Raises:
        ConfigError: `seconds` is not above 0, or `delay` not between 0 and `seconds`.
    """

    def __init__(self, seconds: float = SECONDS, delay: float | None = None, *, threshold: float = 0.0) -> None:
        if not 0 < seconds < float("inf"):
            raise ConfigError(f"smooth: expected seconds above 0, got {seconds}", hint=f"for example {SECONDS}")
        self.delay = seconds / 2 if delay is None else delay
        if not 0 <= self.delay <= seconds:
            raise ConfigError(f"delay: expected seconds from 0 to {seconds:g}, the window's length, got {delay}")
        self._back = seconds - self.delay
        self._threshold = threshold
        self._waiting: deque[tuple[float, FrameResult]] = deque()
        self._histories: dict[int, _History] = {}

    def update(self, result: FrameResult) -> Iterator[FrameResult]:
        """Takes the next result; gives those whose window has passed, oldest first.

        Where the times fall, another recording begins: what waits is given out, and smoothing starts again.
        """
        now = result.seconds
        if self._waiting and now < self._waiting[-1][0]:
            yield from self.flush()
            self._histories.clear()
        self._waiting.append((now, result))
        for face in result:
            if face.track is not None and face.expression is not None:
                history = self._histories.setdefault(face.track, _History())
                history.times.append(now)
                history.rows.append(face.expression.probabilities)
                affect = face.expression.affect
                values = None if affect is None else tuple(getattr(affect, name) for name in AFFECT)
                history.affects.append(values)
        while self._waiting and self._waiting[0][0] + self.delay <= now:
            yield self._next()

    def flush(self) -> Iterator[FrameResult]:
        """The remaining results, at the end of the source; their windows end there."""
        while self._waiting:
            yield self._next()

    def _next(self) -> FrameResult:
        """The oldest waiting result, smoothed."""
        now, result = self._waiting.popleft()
        faces = tuple(self._smoothed(face, now) for face in result)
        for track, history in list(self._histories.items()):
            while history.times and history.times[0] < now - self._back:
                history.times.popleft()
                history.rows.popleft()
                history.affects.popleft()
            if not history.times:
                del self._histories[track]
        return replace(result, faces=faces)

    def _smoothed(self, face: Face, now: float) -> Face:
        if face.track is None or face.expression is None:
            return face
        history = self._histories[face.track]
        # The present frame has the weight 1, and one at either end 0. Few numbers: plain Python is quicker than arrays.
        after, before = max(self.delay, 1e-9), max(self._back, 1e-9)
        apart = (time - now for time in history.times)
        shares = [max(0.0, 1 - gap / after if gap > 0 else 1 + gap / before) for gap in apart]
        weights = np.array(shares) / math.fsum(shares)
        mean = (weights @ np.array(history.rows)).astype(np.float32)
        uncertain = bool(mean.max() < self._threshold)
        affect = _mean_affect(history.affects, weights)
        return replace(face, smoothed=Expression(mean, face.expression.emotions, uncertain, affect))


def _mean_affect(affects: Sequence[tuple[float, ...] | None], weights: NDArray[np.float64]) -> Affect | None:
    """The weighted mean of valence and arousal; of expectations, it is that of the smoothed distribution."""
    if None in affects:
        weights = weights * [affect is not None for affect in affects]
        affects = [affect or (0.0,) * len(AFFECT) for affect in affects]
    mass = float(weights.sum())
    return Affect(*((weights @ np.array(affects)) / mass).tolist()) if mass > 0 else None
