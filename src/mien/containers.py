"""Container files of video and sound: opened by PyAV without the network, with their clocks.

`media` reads videos by it and `output` their sound, so that both mean the same moment by the same number of seconds.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def open_file(path: str) -> "InputContainer":
    """The opened file. A playlist in it may name other files, but nothing on the network.

    Raises:
        av.FFmpegError: FFmpeg cannot read it.
    """
    import av

    return av.open(f"file:{path}", options={"protocol_whitelist": "file,crypto,data"}, metadata_errors="replace")


# FFmpeg's names of the formats that hold their video themselves. The others are playlists (concat, hls, dash, imf),
# which name files, and formats that nobody uploads.
_SELF_CONTAINED: Final = (
    "apng,asf,avi,dirac,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,"
    "webm,wtv,yuv4mpegpipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"
)


# Times that fall by more than this many seconds are those of another file; less is disorder.
_FALL: Final = 1


def is_self_contained(path: str) -> bool:
    """Whether a file may be opened that was sent by somebody else: it is no playlist, which could name any other file.

    The format is found by the content, before anything that the content names is opened. A file that FFmpeg cannot
    read is self-contained, too: `open_file` raises the error.
    """
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": _SELF_CONTAINED}
    try:
        with av.open(f"file:{path}", options=options):
            return True
    except av.ArgumentError:  # FFmpeg's error for a format that is not listed
        return False
    except av.FFmpegError:
        return True


def origin_of(container: "InputContainer", stream: "VideoStream | AudioStream") -> Fraction:
    """The time that counts as 0 s: the start of a file whose clock begins at any number, else 0.

    MPEG streams, Ogg and HLS have such clocks. In other formats, a video that begins at 3 s does so on purpose.

    Args:
        container: The opened file.
        stream: The stream whose times are read. Its clock is more exact than that of the container.

    Returns:
        The time in seconds; `time_of` subtracts it.
    """
    from av.format import Flags

    arbitrary = container.format.flags & int(Flags.ts_discont.value)  # type: ignore[call-overload]
    if not arbitrary or container.start_time is None or not stream.time_base:
        return Fraction(0)
    # PyAV has the start in microseconds.
    return round(Fraction(container.start_time, 1_000_000) / stream.time_base) * stream.time_base


def time_of(item: "VideoFrame | Packet[Any]", origin: Fraction) -> float | None:
    """The presentation time of a frame or packet in seconds, exact but for the last rounding; None if it has none."""
    return None if item.pts is None or not item.time_base else float(item.pts * item.time_base - origin)


def rising(packets: "Iterator[Packet[Any]]") -> "Iterator[Packet[Any]]":
    """The packets of one stream, with times that rise also where files were put one behind another.

    Transport streams may be joined so (`cat a.ts b.ts`), and a camera may start its clock again: where the times fall
    by more than a second, the rest is moved to follow what came before. One wrong time moves no packet but its own.
    """
    last: int | None = None  # the latest time
    before: int | None = None  # the latest time before that
    offset, step = 0, 1
    for packet in packets:
        at = packet.pts if packet.dts is None else packet.dts
        if at is not None and packet.time_base:
            most = _FALL / packet.time_base
            if last is not None:
                if at > last:
                    offset = 0
                if before is not None and before < at + offset < last - most:
                    last = before  # that one was wrong
                elif at + offset < last - most:
                    offset = last + step - at
            if offset:
                packet.pts = None if packet.pts is None else packet.pts + offset
                packet.dts = None if packet.dts is None else packet.dts + offset
            moved = at + offset
            if last is None or moved > last:
                step = packet.duration or (step if last is None else moved - last)
                before, last = last, moved
        yield packet


def duration_of(container: "InputContainer", stream: "VideoStream") -> float:
    """The stated end of the video in seconds; 0 if nothing states it. Sound may be longer."""
    stated = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", "").strip())  # Matroska
    if stream.duration is not None and stream.time_base is not None:
        end = ((stream.start_time or 0) + stream.duration) * stream.time_base
        return float(end - origin_of(container, stream))
    if stated:
        hours, minutes, rest = stated.groups()
        return int(hours) * 3600.0 + int(minutes) * 60 + float(rest)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1e6
    return 0.0
