"""Annotated videos: frames with their faces drawn, at the times of the source and with its sound."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from mien.containers import duration_of, open_file, origin_of, rising
from mien.errors import ConfigError
from mien.files import DiscardError, cannot_write, replacing
from mien.output.drawing.annotated import Overlay, annotate, check_overlay
from mien.results import Face, FrameResult

# The formats by suffix: FFmpeg's name of the container, the codec of the pictures, and of sound that it cannot copy.
FORMATS: Final = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
_QUALITY: Final = {
    # Without B-frames: their order would move all times of a fragmented file.
    "libx264": {"crf": "20", "preset": "veryfast", "bf": "0"},
    "libvpx-vp9": {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "6"},
}
# Such a file can be played up to the last fragment, whatever ends the program; at a clean end it becomes a usual one.
_SAFE: Final = {"movflags": "+hybrid_fragmented+frag_keyframe", "min_frag_duration": "1000000"}

_TICKS: Final = 90_000  # of the pictures' clock a second: MPEG's, which shows the usual frame rates exactly
_FRAME: Final = 0.04  # seconds that the last picture is shown
_LAST: Final = 0.2  # a picture so shortly before the stated end, in seconds, is the last of its source

# A blurred face stays covered so long before it was first found, and after it was last found, in seconds.
_BEFORE: Final = 0.24
_AFTER: Final = 1.0
# A cover grows by this share of its size a second on every side, because nobody knows where the face is.
_GROWTH: Final = 0.3
# Pixels of the frames that are held back to cover faces before they are found.
_HELD_PIXELS: Final = 40_000_000


@dataclass(slots=True)
class _Cover:
    """Where a face was last seen, and how fast it moved: boxes (4,) in pixels, and pixels a second."""

    time: float
    box: NDArray[np.float32]
    speed: NDArray[np.float32]


class Covers:
    """Faces that must stay covered although they are not found in a frame, so that a blur does not blink.

    A face that is lost stays covered for a second, where it was and where its motion leads, and a face that is found is
    covered shortly before, where it is found. Results are held back for that long.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, FrameResult, list[Face]]] = deque()
        self._covers: dict[int, _Cover] = {}

    def update(self, result: FrameResult) -> Iterator[FrameResult]:
        """Takes the next result; gives those that are complete, with further faces (without expression) to cover."""
        now = result.seconds
        more = [face for number in list(self._covers) for face in self._lost(number, now, result)]
        for face in result:
            if face.track is None:
                continue
            before = self._covers.get(face.track)
            if before is None:
                for time, _, faces in self._waiting:
                    if time >= now - _BEFORE - 1e-6:
                        faces.append(replace(face, expression=None, smoothed=None))
                speed = np.zeros(4, np.float32)
            else:
                speed = (face.box - before.box) / max(now - before.time, 1e-3)
            self._covers[face.track] = _Cover(now, face.box, speed)
        self._waiting.append((now, result, more))
        while self._waiting and (self._waiting[0][0] < now - _BEFORE - 1e-6 or self._held() > _HELD_PIXELS):
            yield self._next()

    def flush(self) -> Iterator[FrameResult]:
        """The results that are still held back."""
        while self._waiting:
            yield self._next()

    def _next(self) -> FrameResult:
        _, result, more = self._waiting.popleft()
        return replace(result, faces=(*result.faces, *more))

    def _held(self) -> int:
        return sum(result.width * result.height for _, result, _ in self._waiting)

    def _lost(self, track: int, now: float, result: FrameResult) -> Iterator[Face]:
        """The covers of a track that is not in a result: where it was, and where it may be."""
        if any(face.track == track for face in result):
            return
        cover = self._covers[track]
        gap = now - cover.time
        if gap > _AFTER:
            del self._covers[track]
            return
        size = float(max(cover.box[2:] - cover.box[:2]))
        for box in (cover.box, cover.box + cover.speed * min(gap, 0.5)):
            grown = (box + np.array([-1, -1, 1, 1]) * _GROWTH * gap * size).astype(np.float32)
            if grown[2] > grown[0] and grown[3] > grown[1]:
                yield Face(grown, 0.0, track=track)


class AnnotatedVideo:
    """Writes the frames of one video with its faces drawn, at the same times and size and with the same sound.

    The sound is copied where the format can hold it, and else encoded again. With the overlay "blur", `Covers` keeps
    lost faces covered. Labels show the smoothed expression if there is one, and else that of the frame.

    After an error, what was written stays, playable, in `<name>.partial`. Without a frame there is no file.

    Args:
        target: The file; its suffix chooses the format, one of `FORMATS`.
        overlay: What is drawn for each face, as in `mien.output.annotate`.
        sound: The file whose sound is taken; None for the source of the first frame.

    Attributes:
        has_frames: Whether there was a frame; if not, no file is written, and an older one stays.

    Raises:
        ConfigError: There is no such overlay or format.
        OutputError: On entering, the file cannot be created; on writing, the disk is full or the encoder fails.
    """

    def __init__(self, target: str | Path, overlay: Overlay = "bars", *, sound: str | Path | None = None) -> None:
        check_overlay(overlay)
        self.target, self.overlay, self.sound = Path(target), overlay, sound
        if self.target.suffix.lower() not in FORMATS:
            known = ", ".join(FORMATS)
            raise ConfigError(
                f"no format of videos for '{target}': expected the suffix {known}", hint=f"{self.target.stem}.mp4"
            )
        self._covers = Covers() if overlay == "blur" else None
        self._stack: ExitStack | None = None
        self._partial = Path()
        self._writer: _Writer | None = None
        self._source: str | None = None

    @property
    def has_frames(self) -> bool:
        """See the class."""
        return self._writer is not None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._partial = stack.enter_context(replacing(self.target))
            try:
                self._partial.open("wb").close()
            except OSError as error:
                raise cannot_write(self.target, error) from error
            self._stack = stack.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Adds a frame; a result without an image is skipped.

        Raises:
            OutputError: It cannot be written.
            ConfigError: The result is of another source than the first, or not of a video.
            ValueError: This output is not open.
        """
        if self._stack is None:
            raise ValueError("the output is not open: use it in a with statement")
        if result.image is None:
            return
        if self._source not in (None, result.source):
            raise ConfigError(
                f"'{self.target}' holds one video, '{self._source}', and not also '{result.source}'",
                hint="analyze one video at a time, or give --annotate a folder",
            )
        self._source = result.source
        for each in [result] if self._covers is None else self._covers.update(result):
            self._draw(each)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is None:
            return
        try:
            try:
                for each in () if self._covers is None else self._covers.flush():
                    self._draw(each)
            finally:
                if self._writer is not None:
                    with _encoding(self.target):
                        self._writer.close()
        except BaseException as failed:
            stack.__exit__(type(failed), failed, failed.__traceback__)
            if error is None:
                raise
        else:
            if self._writer is None:  # not an error here, which would keep the other outputs from their names
                stack.__exit__(DiscardError, DiscardError(), None)
            else:
                stack.__exit__(kind, error, trace)

    def _draw(self, result: FrameResult) -> None:
        if result.image is None:
            return
        with _encoding(self.target):
            if self._writer is None:
                sound = self.sound or result.source
                self._writer = _Writer(self._partial, self.target.suffix.lower(), result, sound)
            self._writer.add(annotate(result.image, result.faces, self.overlay, smoothed=True), result.seconds)


@contextmanager
def _encoding(target: Path) -> Iterator[None]:
    """Turns the errors of FFmpeg into an OutputError."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise cannot_write(
            target, OSError(getattr(error, "errno", 0), getattr(error, "strerror", str(error)))
        ) from error


class _Writer:
    """An open video file: pictures at their times, and the sound of the source, both from the first picture on."""

    def __init__(self, path: Path, suffix: str, first: FrameResult, sound: str | Path) -> None:
        import av

        container, codec, self._sound_codec = FORMATS[suffix]
        options = _SAFE if container in ("mp4", "mov") else {}
        self._file: Any = av.open(str(path), "w", format=container, options=options)
        # A whole video keeps its times; a part begins at 0.
        self._begin = min(0.0, first.seconds) if first.frame == 0 else first.seconds
        self._last = -1
        file: Any = self._file  # PyAV's types know a stream of video only by the literal name of its codec
        self._video: Any = file.add_stream(codec, rate=25, options=dict(_QUALITY[codec]))
        self._size = first.width, first.height
        self._video.width, self._video.height = self._size
        # Pictures of odd sizes keep their size only with colours at full resolution.
        self._video.pix_fmt = "yuv420p" if first.width % 2 == first.height % 2 == 0 else "yuv444p"
        self._video.codec_context.time_base = Fraction(1, _TICKS)
        self._sound = _Sound(self._file, str(sound), self._begin, self._sound_codec)
        ratio = self._sound.pixel_ratio
        if ratio is not None:
            turned = self._sound.size == self._size[::-1] != self._size
            self._video.sample_aspect_ratio = 1 / ratio if turned else ratio

    def add(self, image: NDArray[np.uint8], time: float) -> None:
        """Adds a picture (H, W, 3) uint8 RGB; one that is not later than the one before is moved by a tick."""
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if (frame.width, frame.height) != self._size:
            frame = frame.reformat(*self._size)
        self._last = max(self._last + 1, round((time - self._begin) * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._file.mux(self._video.encode(frame))
        self._sound.up_to(time)

    def close(self) -> None:
        """Writes what is left, and the end of the file."""
        try:
            self._file.mux(self._video.encode(None))
            self._sound.finish()
        finally:
            self._sound.close()
            self._file.close()


class _Sound:
    """The sound of a source, copied or encoded again; nothing if there is none.

    Attributes:
        pixel_ratio: Width by height of the source's pixels; None if they are square or it does not say.
        size: Width and height of its pictures as they are stored.
    """

    def __init__(self, file: Any, source: str, begin: float, codec: str) -> None:
        import av

        self._file, self._begin = file, begin
        self._in: Any = None
        self.pixel_ratio: Fraction | None = None
        self.size = 0, 0
        if not Path(source).is_file():  # a camera or a stream, whose sound is gone
            return
        try:
            self._in = open_file(source)
        except (av.FFmpegError, OSError, ValueError):
            return
        self._end = math.inf  # of the pictures in the source; unknown
        for video in self._in.streams.video[:1]:
            ratio = video.sample_aspect_ratio
            self.pixel_ratio = Fraction(ratio) if ratio and ratio != 1 else None
            self.size = video.width, video.height
            self._end = duration_of(self._in, video) or math.inf
        streams = self._in.streams.audio
        if not streams:
            self.close()
            return
        self._stream: Any = streams[0]
        self._zero = float(origin_of(self._in, self._stream))
        self._copies = self._stream.codec_context.name in file.supported_codecs
        if self._copies:
            try:
                self._out: Any = file.add_stream_from_template(self._stream)
            except (av.FFmpegError, ValueError):
                self._copies = False
        if not self._copies:
            self._out = file.add_stream(codec, rate=48_000 if codec == "libopus" else self._stream.rate)
        if begin > 0.05:
            self._in.seek(int((begin + self._zero) * 1_000_000), backward=True)
        self._packets = rising(self._in.demux(self._stream))
        self._next: Any = None
        self._until, self._gap = begin, 0.0  # time of the last picture, and since the one before

    def up_to(self, time: float) -> None:
        """Writes the sound up to a time of the source, in seconds."""
        if self._in is None:
            return
        self._gap, self._until = time - self._until, time
        while True:
            packet = self._next or next(self._packets, None)
            self._next = None
            if packet is None:
                return
            if packet.pts is None:  # the end of the file
                continue
            at = float(packet.pts * packet.time_base) - self._zero
            if at > time:
                self._next = packet
                return
            if at >= self._begin - 1e-3:
                self._write(packet)

    def _write(self, packet: Any) -> None:
        shift = round((self._begin + self._zero) / packet.time_base)
        if self._copies:
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._out
            self._file.mux(packet)
            return
        for frame in packet.decode():
            frame.pts = None if frame.pts is None else frame.pts - round((self._begin + self._zero) / frame.time_base)
            self._file.mux(self._out.encode(frame))

    def finish(self) -> None:
        """The sound of the last picture and, if that was the source's last, all that follows; what an encoder holds."""
        if self._in is None:
            return
        is_last = self._until >= self._end - max(_LAST, 2.5 * self._gap)
        self.up_to(math.inf if is_last else self._until + _FRAME)
        if not self._copies:
            self._file.mux(self._out.encode(None))

    def close(self) -> None:
        """Closes the source."""
        if self._in is not None:
            self._in.close()
            self._in = None
