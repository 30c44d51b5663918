"""The stages that follow people through a source, a tracker and a smoother, and their places in a stream."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from mien.results import Face, Frame, FrameResult


class Tracker(Protocol):
    """Follows persons through the frames of one source. Each source gets a new tracker, which is dropped at its end.

    For each frame, in order, `needs_detection` is called once and then `update` once.
    """

    def needs_detection(self, frame: Frame) -> bool:
        """Whether the detector has to run on the next frame; if not, the tracker itself says where the faces are."""

    def update(self, frame: Frame, faces: tuple[Face, ...] | None) -> Sequence[Face]:
        """The faces of the next frame with their `track`; a tracker may also leave out faces or add some.

        Args:
            frame: The frame; `frame.timestamp` has its time in seconds.
            faces: What the detector found, largest first, with landmarks if the detector gives any; None if the
                detector did not run on this frame.

        Returns:
            The faces, largest first. Their landmarks align the crops: a face that the tracker moved needs moved ones.
        """


class Smoother(Protocol):
    """Smooths the expressions of one source over time. Each source gets a new smoother, which is dropped at its end.

    It gives each result that it is given exactly once and in order, with `Face.smoothed` set where it is known; results
    with an `error` as well.
    """

    def update(self, result: FrameResult) -> Iterable[FrameResult]:
        """Takes the next result; gives those that are complete: none while it still needs to see later ones."""

    def flush(self) -> Iterable[FrameResult]:
        """The remaining results, at the end of the source."""


Stage = TypeVar("Stage")


# Source, index and timestamp of a frame.
_Place = tuple[str, int, float | None]


def _follows(place: _Place, before: _Place) -> bool:
    """Whether a frame comes after another one in the same source."""
    (source, index, time), (last_source, last, last_time) = place, before
    later = time is not None and last_time is not None and time > last_time
    return source == last_source and (index > last or (index == last and later))


class PerSource(Generic[Stage]):
    """The trackers or smoothers of a stream, of which only that of the present source is kept."""

    def __init__(self, make: Callable[[], Stage]) -> None:
        self._make = make
        self._place: _Place = ("", -1, None)
        self.present: Stage | None = None

    def at(self, source: str, index: int, timestamp: float | None) -> tuple[Stage, Stage | None]:
        """The one for a frame; and the one of the source before, if that has just ended.

        Another source begins with another name, or if neither the index nor, at the same index, the time rises: several
        images in memory have the same index and no time, and the frames of a camera in one's own program may have a
        time alone.
        """
        before, self._place = self._place, (source, index, timestamp)
        if self.present is not None and _follows(self._place, before):
            return self.present, None
        ended, self.present = self.present, self._make()
        return self.present, ended


def smoothed(results: Iterator[FrameResult], smoothing: PerSource[Smoother], *, images: bool) -> Generator[FrameResult]:
    """The results after a smoother, which may hold some back; all of them at the end of each source.

    With `images`, those of images pass through a smoother, too.
    """

    def rest() -> Iterable[FrameResult]:
        present, smoothing.present = smoothing.present, None
        return () if present is None else present.flush()

    try:
        for result in results:
            if result.timestamp is None and not images:
                yield from rest()
                yield result
                continue
            smoother, ended = smoothing.at(result.source, result.frame, result.timestamp)
            if ended is not None:
                yield from ended.flush()
            yield from smoother.update(result)
    except Exception:
        yield from rest()  # what came before is complete
        raise
    yield from rest()
