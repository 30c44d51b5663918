"""What video files and cameras share: the stream of the video, the limit on its size, and frames as upright RGB."""

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError, LimitError
from mien.media.decode import on_white, shown

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Videos of at least this height without a stated colour space are BT.709, as players assume; others BT.601.
_HD_HEIGHT: Final = 720
# AVCOL_SPC_RGB and AVCOL_SPC_UNSPECIFIED of FFmpeg (ISO/IEC 23091-2, MatrixCoefficients).
_UNSTATED: Final = (0, 2)


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
