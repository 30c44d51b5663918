"""Videos for tests: encoded by PyAV from drawn or real pixels, and damaged on purpose."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def numbered(count: int, size: tuple[int, int] = (160, 120)) -> Iterator[Pixels]:
    """Frames whose brightness, and a bar that grows from the left, tell their number: see `number_of`."""
    width, height = size
    for number in range(count):
        image = np.full((height, width, 3), 40, np.uint8)
        image[:, : round(width * (number + 1) / (count + 1))] = 200
        yield image


def number_of(image: Pixels, count: int) -> int:
    """The number of a frame of `numbered`, by the length of its bar."""
    return round(float((image[image.shape[0] // 2, :, 0] > 120).mean()) * (count + 1)) - 1


def portrait(astronaut: Path, count: int, width: int = 512, step: int = 0) -> Iterator[Pixels]:
    """Frames of a photograph in this width, in which the face moves to the right by some pixels per frame."""
    photograph = Image.open(astronaut).convert("RGB")
    height = 2 * round(width * photograph.height / photograph.width / 2)
    image = np.asarray(photograph.resize((width, height)))
    for number in range(count):
        yield np.ascontiguousarray(np.roll(image, number * step, axis=1))


def write_video(
    path: Path,
    frames: Iterable[Pixels],
    *,
    codec: str = "libx264",
    times: Callable[[int], Fraction] | None = None,
    rate: int = 25,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    rotation: int = 0,
    sound: bool = False,
) -> Path:
    """Encodes frames.

    Args:
        path: The file; its suffix tells the container.
        frames: (H, W, 3) uint8 RGB each.
        codec: FFmpeg's name of the encoder.
        times: The presentation time of each frame in seconds; at a constant rate without it.
        rate: Frames per second.
        pixel_format: FFmpeg's name.
        options: Those of the encoder; by default a key frame every 10 frames, and B-frames.
        container: Options of the container.
        rotation: The rotation flag in degrees.
        sound: Add a second of silence.
    """
    base = Fraction(1, 1000) if times else Fraction(1, rate)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=rate, options=options or {"g": "10"}))
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        audio = file.add_stream("libopus" if path.suffix == ".ogv" else "aac", rate=16000) if sound else None
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(times(number) / base) if times else number
            frame.time_base = base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if audio is not None:
            write_silence(file, audio)
    return path


def write_silence(file: av.container.OutputContainer, audio: av.AudioStream, parts: int = 16) -> None:
    """Adds parts of 1,024 silent samples to an open file."""
    for part in range(parts):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, part * 1024
        file.mux(audio.encode(frame))
    file.mux(audio.encode())


def packet_times(path: Path) -> list[float]:
    """The presentation times of a video by its packets, without decoding: a second way to `Frame.timestamp`."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        times = [packet.pts * packet.time_base for packet in file.demux(stream) if packet.pts is not None]
    return [float(time) for time in sorted(times)]


def cut(path: Path, share: float) -> Path:
    """A copy of the file without its end."""
    content = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(content[: int(len(content) * share)])
    return short
