"""What video files and cameras share: containers of FFmpeg by PyAV, times of frames, and frames as upright RGB."""

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError, LimitError
from mien.media.decode import on_white, shown

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Videos of at least this height without a stated colour space are BT.709, as players assume; others BT.601.
_HD_HEIGHT: Final = 720
# AVCOL_SPC_RGB and AVCOL_SPC_UNSPECIFIED of FFmpeg (ISO/IEC 23091-2, MatrixCoefficients).
_UNSTATED: Final = (0, 2)


def open_file(path: str) -> "InputContainer":
    """The opened file. A playlist in it may name other files, but nothing on the network.

    Raises:
        av.FFmpegError: FFmpeg cannot read it.
    """
    import av

    return av.open(f"file:{path}", options={"protocol_whitelist": "file,crypto,data"}, metadata_errors="replace")


def stream_of(container: "InputContainer", path: str) -> "VideoStream":
    """The video of a container; the cover of an audio file is none.

    Raises:
        InputError: It has none.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if not int(stream.disposition) & Disposition.attached_pic.value:
            if stream.codec_context is None:
                raise InputError(f"'{shown(path)}' has a video in a coding that the installed PyAV cannot decode")
            return stream
    only = ", only audio" if container.streams.audio else ""
    raise InputError(f"'{shown(path)}' has no video{only}")


def check_frame(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raises LimitError for frames of more than `max_pixels`; `name` is for the message."""
    if width * height > max_pixels:
        raise LimitError(
            f"'{name}' has frames of {width} x {height} = {width * height:,} pixels, the limit is {max_pixels:,}",
            hint="scale the video down: ffmpeg -i FILE -vf scale=1280:-2 OUT.mp4",
        )


def origin_of(container: "InputContainer", stream: "VideoStream") -> Fraction:
    """The time that counts as 0 s: the start of a file whose clock begins at any number, else 0."""
    from av.format import Flags

    arbitrary = container.format.flags & int(Flags.ts_discont.value)  # type: ignore[call-overload]
    if not arbitrary or container.start_time is None or not stream.time_base:
        return Fraction(0)
    # PyAV has the start in microseconds; the clock of the stream is more exact.
    return round(Fraction(container.start_time, 1_000_000) / stream.time_base) * stream.time_base


def time_of(item: "VideoFrame | Packet[Any]", origin: Fraction) -> float | None:
    """The presentation time of a frame or packet in seconds, exact but for the last rounding; None if it has none."""
    return None if item.pts is None or not item.time_base else float(item.pts * item.time_base - origin)


def duration_of(container: "InputContainer", stream: "VideoStream") -> float:
    """The stated end of the video in seconds; 0 if nothing states it. Sound may be longer."""
    stated = stream.metadata.get("DURATION", "").split(":")  # Matroska
    if stream.duration is not None and stream.time_base is not None:
        end = ((stream.start_time or 0) + stream.duration) * stream.time_base
        return float(end - origin_of(container, stream))
    if len(stated) == 3:
        return int(stated[0]) * 3600.0 + int(stated[1]) * 60 + float(stated[2])
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1e6
    return 0.0


class RgbConverter:
    """Converts the frames of one video to upright RGB by one converter, which is made once for each size and format."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def __call__(self, frame: "VideoFrame") -> NDArray[np.uint8]:
        """The pixels (H, W, 3) uint8 RGB of a frame."""
        from av.video.reformatter import ColorRange, Colorspace

        alpha = any(component.is_alpha for component in frame.format.components) or frame.format.has_palette
        unstated = frame.colorspace == Colorspace.DEFAULT or int(frame.colorspace) in _UNSTATED
        space = Colorspace.ITU709 if unstated and frame.height >= _HD_HEIGHT else None
        found = self._reformatter.reformat(
            frame,
            format="rgba" if alpha else "rgb24",
            src_colorspace=space,
            src_color_range=ColorRange.JPEG if frame.color_range == ColorRange.JPEG else None,
            threads=1,
        )
        plane, channels = found.planes[0], 4 if alpha else 3
        content = np.frombuffer(memoryview(plane), np.uint8)[: found.height * plane.line_size]
        rows = content.reshape(found.height, plane.line_size)  # which end with unused bytes
        pixels = rows[:, : found.width * channels].reshape(found.height, found.width, channels)
        if alpha:
            pixels = np.array(on_white(Image.fromarray(pixels)))
        return np.ascontiguousarray(_upright(pixels, frame))


def _upright(pixels: NDArray[np.uint8], frame: "VideoFrame") -> NDArray[np.uint8]:
    """The pixels turned and mirrored by the display matrix of the frame (ISO/IEC 14496-12, 8.3.2), in steps of 90°."""
    if not frame.rotation and not len(frame.side_data):
        return pixels
    try:
        matrix = bytes(cast("Mapping[str, Any]", frame.side_data)["DISPLAYMATRIX"])
    except KeyError:
        return pixels
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        rows, columns = d, a
    else:
        pixels, rows, columns = pixels.transpose(1, 0, 2), b, c
    return pixels[:: -1 if rows < 0 else 1, :: -1 if columns < 0 else 1]
