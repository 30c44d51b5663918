"""Reading videos: numbers, times, pixels and choices of frames, in the containers that people have."""

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.videos import number_of, numbered, packet_times, write_video

from mien.containers import rising
from mien.errors import ConfigError
from mien.media import VideoOptions, is_video, open_frames, read_image, read_video
from mien.media.picking import seconds
from mien.media.video import expected_frames
from mien.results import Frame, FrameResult

COUNT = 24


def read(path: Path, **options: float) -> list[Frame]:
    frames = list(read_video(path, VideoOptions(**options)))  # type: ignore[arg-type]
    assert not [frame.error for frame in frames if isinstance(frame, FrameResult)]
    return [frame for frame in frames if isinstance(frame, Frame)]


def uneven(number: int) -> Fraction:
    """Times that no constant rate has, as phones and screen recorders write."""
    return Fraction(number * 40 + number * number * 3 + 7 * (number % 3), 1000)


# --- containers


CONTAINERS = [
    ("a.mp4", "libx264", {"g": "10", "bf": "2"}),
    ("a.mov", "libx264", {"g": "10"}),
    ("a.mkv", "libx264", {"g": "10", "bf": "3"}),
    ("a.ts", "libx264", {"g": "10", "bf": "2"}),
    ("a.avi", "mpeg4", {"g": "10"}),
    ("a.webm", "libvpx-vp9", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
    ("a.mpg", "mpeg2video", {"g": "10"}),
    ("a.flv", "flv", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS, ids=[name for name, _, _ in CONTAINERS])
def test_every_frame_comes_once_in_order_with_its_number(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, numbered(COUNT), codec=codec, options=options)
    frames = read(path)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [number_of(frame.image, COUNT) for frame in frames] == list(range(COUNT))
    assert {frame.source for frame in frames} == {str(path)}
    assert is_video(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, numbered(COUNT), times=uneven, options={"g": "10", "bf": "2"})
    times = [frame.timestamp for frame in read(path)]
    assert times == packet_times(path)
    assert times == [float(uneven(number)) for number in range(COUNT)]


@pytest.mark.parametrize("rate", [1, 120])
def test_slow_and_fast_videos(tmp_path: Path, rate: int) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(COUNT), rate=rate)
    times = [frame.timestamp for frame in read(path)]
    assert times == packet_times(path) == [float(Fraction(number, rate)) for number in range(COUNT)]


def test_a_transport_stream_counts_from_its_start(tmp_path: Path) -> None:
    """Its clock begins at any number, as a broadcast does; the times of its packets differ by this number."""
    path = write_video(tmp_path / "a.ts", numbered(COUNT), container={"output_ts_offset": "5000"})
    packets = packet_times(path)
    assert packets[0] >= 5000
    assert [frame.timestamp for frame in read(path)] == pytest.approx([time - packets[0] for time in packets], abs=1e-9)


# --- pixels


def test_colours_are_those_that_were_encoded(tmp_path: Path) -> None:
    colours = [(200, 40, 40), (40, 180, 60), (50, 60, 200), (128, 128, 128)]
    image = np.zeros((96, 128, 3), np.uint8)
    for number, colour in enumerate(colours):
        image[:, number * 32 : number * 32 + 32] = colour
    (frame,) = read(write_video(tmp_path / "a.mp4", [image]))
    found = [frame.image[48, number * 32 + 16].tolist() for number in range(4)]
    assert np.abs(np.array(found) - np.array(colours)).max() <= 4


@pytest.mark.parametrize("size", [(641, 479), (33, 17), (161, 120)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(4, size), pixel_format="yuv444p")
    frames = read(path)
    assert {frame.image.shape for frame in frames} == {(size[1], size[0], 3)}
    assert [number_of(frame.image, 4) for frame in frames] == [0, 1, 2, 3]
    assert all(frame.image.flags.c_contiguous for frame in frames)


def test_ten_bits(tmp_path: Path) -> None:
    eight = read(write_video(tmp_path / "8.mp4", numbered(4)))
    ten = read(write_video(tmp_path / "10.mp4", numbered(4), pixel_format="yuv420p10le"))
    for one, other in zip(eight, ten, strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 2


def test_4k(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(3, (3840, 2160)), options={"preset": "ultrafast"})
    assert [number_of(frame.image, 3) for frame in read(path)] == [0, 1, 2]


def marked() -> np.ndarray:
    """An image whose upper left corner is red and whose upper right corner is green."""
    image = np.full((96, 128, 3), 60, np.uint8)
    image[:32, :32] = (220, 30, 30)
    image[:32, -32:] = (30, 200, 30)
    return image


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # a phone held upright
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),  # a front camera
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    ],
    ids=["90", "180", "270", "mirrored", "transposed"],
)
def test_the_rotation_in_the_file_is_applied(tmp_path: Path, matrix: tuple[int, ...], turned: object) -> None:
    """The matrix is written into the track header itself (ISO/IEC 14496-12, 8.3.2), as phones do."""
    path = write_video(tmp_path / "a.mp4", [marked()] * 2)
    content = bytearray(path.read_bytes())
    a, b, c, d = matrix
    cells = (a, b, 0, c, d, 0, 0, 0)
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 32] = b"".join((cell * 65536).to_bytes(4, "big", signed=True) for cell in cells)
    path.write_bytes(content)
    expected = turned(marked())  # type: ignore[operator]
    for frame in read(path):
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 6


def test_animated_gif_and_webp(tmp_path: Path) -> None:
    images = [Image.fromarray(pixels) for pixels in numbered(6, (64, 48))]
    durations = [100, 50, 200, 100, 30, 100]
    for name in ("a.gif", "a.webp"):
        path = tmp_path / name
        images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, lossless=True)
        frames = read(path)
        assert [number_of(frame.image, 6) for frame in frames] == list(range(6))
        assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.15, 0.35, 0.45, 0.48])
        assert is_video(path)
        assert number_of(read_image(path), 6) == 0  # as an image, it is its first frame
    images[0].save(tmp_path / "one.gif")
    assert not is_video(tmp_path / "one.gif")


def test_the_expected_number_of_images_of_an_animation(tmp_path: Path) -> None:
    images = [Image.fromarray(pixels) for pixels in numbered(COUNT)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100)
    for options in (VideoOptions(), VideoOptions(every=5), VideoOptions(fps=2), VideoOptions(start=0.5, end=1.5)):
        found = list(read_video(tmp_path / "a.gif", options))
        assert expected_frames(tmp_path / "a.gif", options) == pytest.approx(len(found), abs=1)


def test_transparent_pixels_of_an_animation_are_white(tmp_path: Path) -> None:
    images = [Image.new("RGBA", (40, 30), (255, 0, 0, alpha)) for alpha in (0, 255)]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=100, lossless=True)
    assert [frame.image[10, 10].tolist() for frame in read(tmp_path / "a.webp")] == [[255, 255, 255], [255, 0, 0]]


def test_sound_is_ignored(tmp_path: Path) -> None:
    assert len(read(write_video(tmp_path / "a.mp4", numbered(5), sound=True))) == 5


# --- which frames


def joined(folder: Path, *counts: int) -> Path:
    """Transport streams put one behind another; the clock of each begins anew."""
    parts = [
        write_video(folder / f"{number}.ts", numbered(count), rate=10, options={"g": "10", "bf": "2"}).read_bytes()
        for number, count in enumerate(counts)
    ]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("counts", [(24, 20), (20, 30, 15)])
def test_the_times_of_joined_files_go_on(tmp_path: Path, counts: tuple[int, ...]) -> None:
    frames = read(joined(tmp_path, *counts))
    assert [frame.index for frame in frames] == list(range(sum(counts)))
    numbers = [number_of(frame.image, count) for count in counts for frame in [frames.pop(0) for _ in range(count)]]
    assert numbers == [number for count in counts for number in range(count)]


def test_frames_of_joined_files_are_a_step_apart(tmp_path: Path) -> None:
    times = np.array([frame.timestamp for frame in read(joined(tmp_path, 24, 20))])
    steps = np.diff(times)
    # Where the second file begins, its delay for frames out of order is left.
    assert steps[:23] == pytest.approx(0.1)
    assert 0 < steps[23] < 0.4
    assert steps[24:] == pytest.approx(0.1)
    sparse = [frame.timestamp for frame in read(joined(tmp_path, 24, 20), fps=2)]
    assert len(sparse) == 9
    late = read(joined(tmp_path, 24, 20), start=3.0)
    assert [number_of(frame.image, 20) for frame in late][-1] == 19
    assert len(late) == pytest.approx(14, abs=2)


def test_one_wrong_time_moves_no_other_packet() -> None:
    packets = []
    for at in (0, 40, 80, 90_000, 120, 160, 200):
        packet = av.Packet(b"x")
        packet.pts = packet.dts = at
        packet.time_base, packet.duration = Fraction(1, 1000), 40
        packets.append(packet)
    assert [packet.pts for packet in rising(iter(packets))] == [0, 40, 80, 90_000, 120, 160, 200]
    for packet, at in zip(packets, (5000, 5040, 80, 5120, 5160, 5200, 5240), strict=True):
        packet.pts = packet.dts = at
    assert [packet.pts for packet in rising(iter(packets))] == [5000, 5040, 5080, 5120, 5160, 5200, 5240]


@pytest.fixture(scope="module", params=["a.mp4", "a.mkv", "a.ts"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, 2.4 s, in groups of 10 with B-frames."""
    path = tmp_path_factory.mktemp("clip") / request.param
    return write_video(path, numbered(60), options={"g": "10", "bf": "2"})


@pytest.mark.parametrize(("start", "end"), [(0.5, None), (1.0, 2.0), (1.01, 1.99), (2.36, None), (0, 0.04), (None, 1)])
def test_a_range_has_the_frames_of_the_whole_video(clip: Path, start: float | None, end: float | None) -> None:
    chosen = [frame for frame in read(clip) if (start or 0) <= (frame.timestamp or 0) < (end or 99)]
    found = list(read_video(clip, VideoOptions(start=start, end=end)))
    assert [(frame.index, frame.timestamp) for frame in found if isinstance(frame, Frame)] == [
        (frame.index, frame.timestamp) for frame in chosen
    ]
    for one, other in zip(found, chosen, strict=True):
        assert isinstance(one, Frame)
        assert np.array_equal(one.image, other.image)


def test_every_nth_frame(clip: Path) -> None:
    assert [frame.index for frame in read(clip, every=25)] == [0, 25, 50]
    assert [frame.index for frame in read(clip, every=25, start=0.2)] == [5, 30, 55]


def test_frames_per_second(clip: Path) -> None:
    assert [frame.timestamp for frame in read(clip, fps=5)] == pytest.approx([number / 5 for number in range(12)])
    assert len(read(clip, fps=1000)) == 60


def test_the_number_of_frames_is_known_before(clip: Path) -> None:
    for options in (VideoOptions(), VideoOptions(every=7), VideoOptions(fps=3), VideoOptions(start=1, end=2)):
        source = open_frames([clip], options=options)
        assert source.total == pytest.approx(len(list(source)), abs=1)


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("2.5s", 2.5), (".5", 0.5)])
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every: expected a number of frames from 1, got 0"),
        ({"fps": 0}, "fps: expected a number above 0"),
        ({"fps": float("nan")}, "fps: expected a number above 0"),
        ({"start": -1}, "start: expected a time from 0"),
        ({"start": 5, "end": 5}, "end: expected a time after the start"),
        ({"every": 2, "fps": 5}, "every: cannot be combined with fps"),
    ],
)
def test_options_without_a_meaning_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VideoOptions(**options)  # type: ignore[arg-type]


# --- the thread


def test_closing_ends_the_thread_and_closes_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(60))
    frames = read_video(path)
    next(frames), next(frames)
    assert any(thread.name == "mien-feed" for thread in threading.enumerate())
    frames.close()
    assert not any(thread.name == "mien-feed" for thread in threading.enumerate())
    assert not [link for link in Path("/proc/self/fd").glob("*") if link.exists() and link.resolve() == path.resolve()]
