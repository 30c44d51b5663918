"""The analysis of one live connection: its frames in, their results out, with tracks and smoothing as in a video."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mien.analyzer import Analyzer, AnalyzerOptions, Smoother, Tracker
from mien.errors import InputError
from mien.media.decode import MAX_PIXELS
from mien.media.images import read_frame
from mien.results import Frame, FrameResult
from mien.server.options import LONGEST_NAME


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What a page can choose at any time.

    Attributes:
        source: The name of what is shown: "camera" or that of a file; it is repeated in every result.
        largest_only: Keep only the largest face of each frame. The others are still followed.
        keypoints: Also find dense keypoints, the head pose and measures of each face.
    """

    source: str = "camera"
    largest_only: bool = False
    keypoints: bool = False

    def changed(self, wanted: dict[str, object]) -> "LiveSettings":
        """These settings with those of a message; what does not belong there is ignored.

        Raises:
            InputError: A value has the wrong type, or the name is too long.
        """
        known = {name: value for name, value in wanted.items() if name in self.__slots__}
        for name, value in known.items():
            if type(value) is not type(getattr(self, name)):
                raise InputError(f"{name}: expected {type(getattr(self, name)).__name__}, got {type(value).__name__}")
        changed = replace(self, **known)  # type: ignore[arg-type]
        if len(changed.source) > LONGEST_NAME:
            raise InputError(f"source: expected at most {LONGEST_NAME} characters, got {len(changed.source)}")
        return changed


class _NoSmoother:
    """Passes results on unchanged: smoothing is switched off."""

    def update(self, result: FrameResult) -> Iterator[FrameResult]:
        yield result

    def flush(self) -> Iterator[FrameResult]:
        yield from ()


class LiveSession:
    """Analyzes the frames of one connection, one at a time; the tracker and the smoother live as long as their source.

    A new source, or a video that begins again, gets new ones. A still image has neither. The settings may change
    between two frames: the tracks stay.

    Args:
        analyzer: An analyzer that nobody else uses for as long as this session does. Its detector and classifiers are
            used: for frames of a camera or a video that of videos, as by `mien analyze`.
        settings: The settings at the start.
        max_pixels: The largest width times height of a frame that is decoded.
    """

    def __init__(
        self, analyzer: Analyzer, settings: LiveSettings | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._base = analyzer
        self._max_pixels = max_pixels
        self._next: list[Frame] = []
        self._index = 0
        self._time = 0.0
        self.settings = settings or LiveSettings()
        self._streamed: LiveSettings | None = None  # those of the present stream
        self._begin(self.settings.source)

    def analyze(self, file: bytes, seconds: float, *, still: bool = False) -> FrameResult:
        """The result of the next frame.

        Args:
            file: The content of an image file.
            seconds: The time of the frame in its source.
            still: It is an image and not a frame of a video: without tracks, smoothing and a timestamp.

        Raises:
            InputError: The image cannot be read.
        """
        settings = self.settings
        frame = read_frame(file, max_pixels=self._max_pixels)
        if still:
            frame = replace(frame, source=settings.source)
            return next(self._analyzer(settings, still=True).stream([frame], 0))
        if settings.source != self._source or seconds < self._time:
            self._begin(settings.source)
        if settings != self._streamed:
            self._stream = self._analyzer(settings).stream(self._frames(), 0)
            self._streamed = settings
        self._time = seconds
        self._next.append(replace(frame, source=settings.source, index=self._index, timestamp=seconds))
        self._index += 1
        try:
            return next(self._stream)
        except Exception:
            self._streamed = None  # a stream that has failed is at its end: the next frame begins another
            self._next.clear()
            raise

    def _begin(self, source: str) -> None:
        """New tracks, for a new source."""
        self._tracker: Tracker = self._base.new_tracker()
        self._smoother: Smoother = self._base.new_smoother(0.0) if self._base.smooths else _NoSmoother()
        self._source, self._index = source, 0
        self._streamed = None

    def _frames(self) -> Iterator[Frame]:
        """The source of a stream: each frame is put there before its result is asked for."""
        while self._next:
            yield self._next.pop()

    def _analyzer(self, settings: LiveSettings, *, still: bool = False) -> Analyzer:
        """An analyzer of the same parts, with these settings and this session's tracker and smoother."""
        options: AnalyzerOptions = replace(
            self._base.options, keypoints=settings.keypoints, largest_only=settings.largest_only, keep_images=False
        )
        following: dict[str, Callable[[], object]] = (
            {} if still else {"tracker": lambda: self._tracker, "smoother": lambda: self._smoother}
        )
        classifier = self._base.classifier if still else self._base.video_classifier
        return Analyzer(options, detector=self._base.detector, classifier=classifier, **following)  # type: ignore[arg-type]
