"""Frames of videos, with the presentation time of each: any container and codec that FFmpeg reads, by PyAV.

Animated GIF and WebP files are read by Pillow, which knows their transparency. Sound is ignored.
"""

import math
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from mien.containers import duration_of, open_file, origin_of, rising, time_of
from mien.errors import InputError
from mien.media import kinds
from mien.media.animation import Animation, count_images, expected_images
from mien.media.container import RgbConverter, check_frame, stream_of
from mien.media.decode import MAX_PIXELS, shown
from mien.media.faults import reason
from mien.media.feed import Feed
from mien.media.formats import PREFIX, is_image
from mien.media.images import opened
from mien.media.picking import Picker, VideoOptions
from mien.results import Frame, FrameResult

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Frames that the reading thread decodes ahead: at most this many, and of this many bytes in all.
_AHEAD, _AHEAD_BYTES = 16, 64_000_000

# Compressed packets that are kept while the beginning of a range is searched, in bytes.
_HELD_BYTES: Final = 64_000_000

# The header of an AVI file also counts frames that repeat the one before and are not stored.
_LEAST_OF_STATED: Final = 0.98

# Frames in disorder that may wait for those before them.
_MOST_DAMAGED: Final = 100

# How far the end of a video may be from the stated duration, in seconds, and at least 2.5 frames, before
# it counts as incomplete.
_END_TOLERANCE: Final = 0.1

# --- what is a video


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file is read as a video: by its content, or by its suffix if the content says nothing.

    An animated GIF or WebP image is one. A file that cannot be opened is none: reading it as an image gives the error.
    """
    name = os.fsdecode(path)
    try:
        if not os.path.isfile(name):
            return False
        with open(name, "rb") as file:
            prefix = file.read(PREFIX)
    except (OSError, ValueError):
        return False
    if is_image(prefix, name):
        return count_images(name, prefix) > 1
    by_content, by_suffix = kinds.by_content(prefix), kinds.by_suffix(name)
    if by_content is not None and by_content is not kinds.AUDIO:  # an Ogg file may hold either
        return by_content is kinds.VIDEO
    if by_suffix is not None or not prefix:
        return by_suffix is kinds.VIDEO and bool(prefix)
    return _ffmpeg_knows(name)


def _ffmpeg_knows(path: str) -> bool:
    """Whether FFmpeg finds a video in a file with an unknown beginning and an unknown suffix."""
    import av

    try:
        with open_file(path) as container:
            return stream_of(container, path) is not None
    except (av.FFmpegError, InputError):
        return False


def expected_frames(path: str | os.PathLike[str], options: VideoOptions) -> int | None:
    """About how many frames of a video are analyzed, by its header; None if that does not say."""
    import av

    name = os.fsdecode(path)
    try:
        with opened(name) as file:
            prefix = file.read(PREFIX)
        if is_image(prefix, name):
            return expected_images(name, prefix, options)
        with open_file(name) as container:
            stream = stream_of(container, name)
            duration = duration_of(container, stream)
            rate = float(stream.average_rate or 0)
            frames = stream.frames or duration * rate
            return Picker(options).expected(frames, duration or frames / rate) if frames and rate else None
    except (av.FFmpegError, InputError):
        return None


# --- frames


def read_video(
    path: str | os.PathLike[str], options: VideoOptions | None = None, *, max_pixels: int = MAX_PIXELS
) -> Generator[Frame | FrameResult]:
    """The frames of a video, in constant memory; a thread decodes ahead while the caller works.

    Frames are upright (the rotation in the file is applied), RGB, with transparent pixels on white. `Frame.index` is
    the position among all frames of the file. `Frame.timestamp` is the presentation time that the container gives, in
    seconds; for MPEG transport and program streams, whose clocks begin at any number, it counts from the start of the
    file.

    A damaged part, and a file that ends too early, give a `FrameResult` with an `error` in their place, after the
    frames before it. So does a file that cannot be read as a video.

    Args:
        path: The file.
        options: Which frames.
        max_pixels: The largest width times height that is decoded.
    """
    name = os.fsdecode(path)
    reading = _errors_as_results(name, options or VideoOptions(), max_pixels)
    first = next(reading, None)
    if first is None:
        return
    size = first.image.nbytes if isinstance(first, Frame) else 1
    yield first
    with Feed(reading, threaded=True, ahead=max(2, min(_AHEAD, _AHEAD_BYTES // size)), joined=True) as feed:
        while True:
            try:
                got = feed.get()
            except StopIteration:
                return
            if got is not None:
                yield got[0]


def _errors_as_results(name: str, options: VideoOptions, max_pixels: int) -> Iterator[Frame | FrameResult]:
    """The frames; what ends them is a result with its error."""
    index, time = 0, 0.0
    try:
        with opened(name) as file:
            prefix = file.read(PREFIX)
        if is_image(prefix, name):
            reading: Generator[Frame | FrameResult] = Animation(name, options, max_pixels).frames()
        else:
            reading = _file(name, options, max_pixels)
        with closing(reading):
            for frame in reading:
                index = (frame.index if isinstance(frame, Frame) else frame.frame) + 1
                time = time if frame.timestamp is None else frame.timestamp
                yield frame
    except InputError as error:
        yield FrameResult(name, index, timestamp=time, error=str(error))


def _file(name: str, options: VideoOptions, max_pixels: int) -> Generator[Frame | FrameResult]:
    import av

    try:
        container = open_file(name)
    except av.FFmpegError as error:
        raise InputError(
            f"'{shown(name)}' is a video that cannot be read: {why(error)}",
            hint="the file may be incomplete: copy it again, or convert it with ffmpeg",
        ) from error
    with container:
        yield from Video(name, options, max_pixels).frames(container)


class Video:
    """Reads one video by PyAV, once.

    Args:
        path: The file or URL: the source of the frames.
        options: Which frames.
        max_pixels: The largest width times height that is decoded.
    """

    def __init__(self, path: str, options: VideoOptions, max_pixels: int) -> None:
        self.path, self.name, self.options, self.max_pixels = path, shown(path), options, max_pixels
        self.picker = Picker(options)
        self.rgb = RgbConverter()
        self.index = 0  # of the next frame
        self.packets = 0  # that were read
        self.chosen = 0  # frames that were given out
        self.last = 0.0  # the time of the last frame
        self.damage: list[tuple[float, str]] = []  # times of frames that cannot be used, and why; not yet reported

    def frames(self, container: "InputContainer") -> Generator[Frame | FrameResult]:
        """The frames of the opened file, and results for damaged parts.

        Raises:
            InputError: The file has no video, no frame in the range, or ends too early.
        """
        import av

        try:
            stream = stream_of(container, self.path)
            check_frame(stream.codec_context.width, stream.codec_context.height, self.name, self.max_pixels)
            origin, step = origin_of(container, stream), 1 / float(stream.average_rate or 25)
            for frame in self._decoded(container, stream, origin):
                at = time_of(frame, origin)
                timestamp = at if at is not None else self.last + step * (self.index > 0)
                if frame.is_corrupt:
                    self.damage.append((timestamp, "damaged data"))
                    continue
                yield from self._reported(timestamp)
                index, self.index, self.last = self.index, self.index + 1, timestamp
                if self.picker.is_after(timestamp):
                    return
                if not self.picker.is_before(timestamp) and self.picker.wants(index, timestamp):
                    check_frame(frame.width, frame.height, self.name, self.max_pixels)
                    self.chosen += 1
                    yield Frame(self.rgb(frame), self.path, index, timestamp)
            self._check_end(container, stream)
            yield from self._reported(math.inf)
        except av.FFmpegError as error:
            raise InputError(f"'{self.name}' ends after {self.index:,} frames: {why(error)}") from error

    def _decoded(self, container: "InputContainer", stream: "VideoStream", origin: Fraction) -> Iterator["VideoFrame"]:
        """The decoded frames from the last key frame before the range; sets the index of the first."""
        import av

        waiting: list[float] | None = []  # the times of the packets that were sent, until the first frame comes
        for packet in self._packets(container, stream, origin):
            if waiting is not None and (at := time_of(packet, origin)) is not None:
                waiting.append(at)
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                at = time_of(packet, origin)
                self.damage.append((self.last if at is None else at, why(error)))
                continue
            for frame in frames:
                if waiting and self.index and (at := time_of(frame, origin)) is not None:
                    # Frames before the first in time can come after it in the file, and cannot be decoded.
                    self.index += sum(time < at for time in waiting)
                waiting = None
                yield frame

    def _packets(self, container: "InputContainer", stream: "VideoStream", origin: Fraction) -> Iterator["Packet[Any]"]:
        """The packets of the video from the last key frame before the range.

        Those before it are counted, not decoded. Seeking would be quicker, and the numbers of the frames unknown.
        """
        held: list[Packet[Any]] | None = [] if self.options.start else None
        size = 0
        for packet in rising(container.demux(stream)):
            self.packets += packet.size > 0
            if held is None:
                yield packet
                continue
            begin, at = self.options.start or 0, time_of(packet, origin)
            if packet.is_keyframe and at is not None and at <= begin:
                self.index += len(held)
                held, size = [], 0
            held.append(packet)
            size += packet.size
            if at is None or _stored_at(packet, origin) > begin or size > _HELD_BYTES:
                yield from held
                held = None
        yield from held or ()

    def _reported(self, before: float) -> Iterator[FrameResult]:
        """A result for the damaged frames before a time, if there are any in the range."""
        run = [each for each in self.damage if each[0] < before or len(self.damage) > _MOST_DAMAGED]
        if not run:
            return
        self.damage = [each for each in self.damage if each not in run]
        index, self.index = self.index, self.index + len(run)
        begin, why = run[0]
        if not self.picker.is_before(begin) and not self.picker.is_after(begin):
            many = "1 frame" if len(run) == 1 else f"{len(run)} frames"
            text = f"'{self.name}': {many} at {begin:.2f} s cannot be decoded: {why}"
            yield FrameResult(self.path, index, timestamp=begin, error=text)

    def _check_end(self, container: "InputContainer", stream: "VideoStream") -> None:
        """Raises InputError if the file has no frame, or fewer than its header says."""
        good = self.index
        expected, duration = stream.frames, duration_of(container, stream)
        rate = float(stream.average_rate or 25)
        least = expected if "mp4" in container.format.name else expected * _LEAST_OF_STATED
        is_short = self.last + 1 / rate < duration - max(_END_TOLERANCE, 2.5 / rate)
        if good and (self.packets < least or (not expected and is_short)):
            self.damage = []
            whole = f"{expected:,}" if expected else f"about {round(duration * rate):,}"
            what = "ends too early" if is_short else "is damaged"
            raise InputError(f"'{self.name}' {what}: {good:,} of {whole} frames could be read, up to {self.last:.2f} s")
        if not good:
            why = f": {self.damage[0][1]}" if self.damage else ""
            raise InputError(f"'{self.name}' has no frame that can be decoded{why}")
        if not self.chosen:
            raise InputError(
                f"'{self.name}' has no frame in the range from {self.options.start or 0:g} s: "
                f"its last frame is at {self.last:.2f} s"
            )


def _stored_at(packet: "Packet[Any]", origin: Fraction) -> float:
    """The time by which the packets of a file are sorted: no later packet is presented before it, in seconds."""
    at = packet.pts if packet.dts is None else packet.dts
    return math.inf if at is None or not packet.time_base else float(at * packet.time_base - origin)


def why(error: Exception) -> str:
    """What FFmpeg says about a failure, in lower case."""
    return str(getattr(error, "strerror", None) or reason(error)).lower()
