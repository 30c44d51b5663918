"""Cameras and network streams: their frames in real time, of which the newest counts.

`camera:0` is the first camera, `camera:/dev/video2` or `camera:NAME` another one; URLs are streams; `lavfi:GRAPH` is a
source that FFmpeg makes up, for trials without a camera.
"""

import glob
import os
import re
import sys
import threading
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from mien.containers import rising, time_of
from mien.errors import InputError
from mien.media.container import RgbConverter, check_frame, stream_of
from mien.media.decode import MAX_PIXELS, shown
from mien.media.find import IMAGE_SUFFIXES
from mien.media.picking import Picker, VideoOptions
from mien.media.video import Video, why
from mien.results import Frame, FrameResult

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_CAMERA, _MADE_UP = "camera:", "lavfi:"
# Protocols of FFmpeg that carry video; pathlib writes their URLs with one slash.
_LIVE_URL: Final = re.compile(r"(rtsps?|rtmps?|rtp|srt|udp|tcp|mmsh|https?):/{1,2}(?=[^/])", re.IGNORECASE)
_STORED_URL: Final = re.compile(r"https?://", re.IGNORECASE)

# How long opening a stream and waiting for its next data may take, in seconds.
_TIMEOUT: Final = (20.0, 20.0)
# How long closing waits for the reading thread, in seconds: it may be waiting for a frame that does not come.
_CLOSING: Final = 2.0


def is_live(source: str | os.PathLike[str]) -> bool:
    """Whether this names a camera or a stream; the URL of an image is none, and is refused like every other URL."""
    name = os.fsdecode(source)
    if name.startswith((_CAMERA, _MADE_UP)):
        return not os.path.lexists(name)
    return bool(_LIVE_URL.match(name)) and PurePosixPath(name.partition("?")[0]).suffix.lower() not in IMAGE_SUFFIXES


def live_name(source: str | os.PathLike[str]) -> str:
    """The camera or stream as text; a path in place of a URL gets its second slash back."""
    return _LIVE_URL.sub(lambda found: f"{found[1]}://", os.fsdecode(source), count=1)


def read_camera(
    source: str, options: VideoOptions | None = None, *, max_pixels: int = MAX_PIXELS
) -> Generator[Frame | FrameResult]:
    """The frames of a camera or stream as they come, until the caller closes the iterator.

    A thread receives the frames and keeps only the newest, so that a slow caller never falls behind. `Frame.index`
    counts all frames that were received, `Frame.timestamp` the seconds since the first. A file on a web server, whose
    length is known, is read like a video: all its frames.

    Args:
        source: `camera:0`, a URL, or `lavfi:GRAPH`.
        options: Which frames; `start` and `end` count from the first.
        max_pixels: The largest width times height of a frame.

    Yields:
        A `Frame`; or last a `FrameResult` with its `error` if the camera cannot be opened or fails.
    """
    options = options or VideoOptions()
    received, timestamp = 0, 0.0
    try:
        if _STORED_URL.match(source):
            with _opened(source) as container:
                if container.duration is not None:
                    yield from Video(source, options, max_pixels).frames(container)
                    return
        rgb, picker = RgbConverter(), Picker(options)
        with _Newest(source) as newest:
            while (got := newest.get()) is not None:
                index, timestamp, frame = got
                received = index + 1
                if picker.is_after(timestamp):
                    return
                if not picker.is_before(timestamp) and picker.wants(index, timestamp):
                    check_frame(frame.width, frame.height, shown(source), max_pixels)
                    yield Frame(rgb(frame), source, index, timestamp)
    except InputError as error:
        yield FrameResult(source, received, timestamp=timestamp, error=str(error))


class _Newest:
    """Receives the frames of a live source on a thread, and gives the newest; use it in a `with` statement.

    Raises:
        InputError: On entering, the source cannot be opened; from `get`, it failed.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._changed = threading.Condition()
        self._frame: tuple[int, float, VideoFrame] | None = None
        self._ended: InputError | bool = False  # an error, or True at the end
        self._left = False
        self._thread = threading.Thread(target=self._receive, name="mien-camera", daemon=True)

    def __enter__(self) -> "_Newest":
        self._container = _opened(self._source)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left = True
        self._thread.join(_CLOSING)

    def get(self) -> "tuple[int, float, VideoFrame] | None":
        """The newest frame that was not given yet, with its number and time; waits for it. None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended)
            got, self._frame = self._frame, None
        if got is None and isinstance(self._ended, InputError):
            raise self._ended
        return got

    def _receive(self) -> None:
        """Runs on the thread."""
        import av

        name = shown(self._source)
        ended: InputError | bool = True
        try:
            with self._container as container:
                stream = stream_of(container, self._source)
                first: float | None = None
                index = 0
                for packet in rising(container.demux(stream)):
                    if self._left:
                        return
                    try:
                        frames = packet.decode()
                    except av.FFmpegError:  # lost data on the network; the next frames are whole again
                        continue
                    for frame in frames:
                        at = time_of(frame, Fraction(0))
                        first = at if first is None else first
                        timestamp = 0.0 if at is None or first is None else at - first
                        with self._changed:
                            self._frame = index, timestamp, frame
                            self._changed.notify()
                        index += 1
        except InputError as error:
            ended = error
        except Exception as error:
            ended = InputError(f"'{name}' has failed: {why(error)}", hint="check the cable or the network, start again")
        with self._changed:
            self._ended = ended
            self._changed.notify()


def _opened(source: str) -> "InputContainer":
    """The opened camera or stream.

    Raises:
        InputError: It cannot be opened.
    """
    import av

    try:
        if source.startswith(_MADE_UP):
            return av.open(source.removeprefix(_MADE_UP), format="lavfi")
        if source.startswith(_CAMERA):
            file, driver = _device(source.removeprefix(_CAMERA))
            return av.open(file, format=driver, options={"framerate": "30"} if driver == "avfoundation" else {})
        return av.open(source, options=_stream_options(source), timeout=_TIMEOUT)
    except (av.FFmpegError, ValueError) as error:  # ValueError: PyAV was built without this kind of device
        hint = _cameras() if source.startswith(_CAMERA) else "check the address and the network"
        raise InputError(f"'{shown(source)}' cannot be opened: {why(error)}", hint=hint) from error


def _stream_options(source: str) -> dict[str, str]:
    """TCP for RTSP: over UDP, lost packets damage the frames."""
    return {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}


def _device(name: str) -> tuple[str, str]:
    """What FFmpeg opens for a camera by number or name, and by which of its drivers."""
    if sys.platform == "darwin":
        return name, "avfoundation"
    if sys.platform == "win32":
        return f"video={_names('dshow')[int(name)] if name.isdecimal() else name}", "dshow"
    return (f"/dev/video{name}" if name.isdecimal() else name), "v4l2"


def _names(driver: str) -> list[str]:
    """The names of the cameras that a driver lists."""
    from av.device import enumerate_input_devices

    return [device.description or device.name for device in enumerate_input_devices(driver)]


def _cameras() -> str:
    """The hint with the cameras that are there."""
    if sys.platform in ("darwin", "win32"):
        return "camera:0 is the first camera; another program may be using it"
    found = sorted(glob.glob("/dev/video*"))
    numbers = [f"camera:{Path(path).name.removeprefix('video')}" for path in found]
    return f"cameras here: {', '.join(numbers)}" if numbers else "no camera is connected: there is no /dev/video*"
