"""Annotated videos: time, size and sound of the source; covers that do not blink; what an error leaves."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.videos import packet_times, portrait, write_video

from mien.errors import ConfigError, OutputError
from mien.media import open_frames, read_video
from mien.output import Overlay
from mien.output.video import AnnotatedVideo, Covers
from mien.results import Expression, Face, Frame, FrameResult

BOX = np.array([175, 52, 275, 180], np.float32)
EMOTIONS = ("happiness", "neutral")
SIZE = (512, 512)


def face(box: NDArray[np.float32] = BOX, track: int | None = 0) -> Face:
    return Face(box, 0.9, track=track, expression=Expression(np.array([0.8, 0.2], np.float32), EMOTIONS))


def results(path: Path, *, found: bool = True) -> Iterator[FrameResult]:
    """The frames of a video, each with the portrait's face."""
    with av.open(str(path)) as file:
        for index, frame in enumerate(file.decode(video=0)):
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            assert frame.time is not None
            yield FrameResult(
                str(path), index, frame.time, image.shape[1], image.shape[0], (face(),) * found, image=image
            )


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as file:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in file.decode(video=0)]


def sound(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as file:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in file.demux(audio=0)
            if packet.pts is not None and packet.size
        ]


@pytest.fixture(scope="module")
def clip(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the portrait at a variable rate, with sound."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    times = [Fraction(number * (30 + number), 1000) for number in range(12)]
    return write_video(path, portrait(astronaut, 12), times=lambda number: times[number], sound=True)


def annotated(source: Path, target: Path, overlay: str = "bars") -> Path:
    with AnnotatedVideo(target, overlay) as output:  # type: ignore[arg-type]
        for each in results(source):
            output.write(each)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_time_size_and_sound_are_those_of_the_source(clip: Path, tmp_path: Path, suffix: str) -> None:
    out = annotated(clip, tmp_path / f"out{suffix}")
    np.testing.assert_allclose(packet_times(out), packet_times(clip), atol=0.0011)
    with av.open(str(out)) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == SIZE
    before = [packet for packet in sound(clip) if packet[0] >= 0]  # without the encoder's lead-in
    after = sound(out)
    # The sound is twice as long as the pictures: all of it is kept.
    assert before[-1][0] > 1.5 * packet_times(clip)[-1]
    assert [data for _, data in after] == [data for _, data in before]
    np.testing.assert_allclose([at for at, _ in after], [at for at, _ in before], atol=0.002)
    assert not list(tmp_path.glob("*.partial"))


def test_an_analysis_that_ends_early_takes_no_more_sound(clip: Path, tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path / "out.mp4") as output:
        for each in itertools.islice(results(clip), 4):
            output.write(each)
    end = packet_times(tmp_path / "out.mp4")[-1]
    assert sound(tmp_path / "out.mp4")[-1][0] <= end + 0.04


@pytest.mark.parametrize(("rotation", "expected"), [(0, Fraction(16, 11)), (90, Fraction(11, 16))])
def test_pixels_keep_their_shape(astronaut: Path, tmp_path: Path, rotation: int, expected: Fraction) -> None:
    frames = (each[:120, :160] for each in portrait(astronaut, 3, 200))
    source = write_video(tmp_path / "tv.mp4", frames, options={"x264-params": "sar=16/11"}, rotation=rotation)
    given = read_video(source)
    with AnnotatedVideo(tmp_path / "out.mp4") as output:
        for each in given:
            assert isinstance(each, Frame)
            height, width = each.image.shape[:2]
            output.write(FrameResult(str(source), each.index, each.timestamp, width, height, image=each.image))
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == expected


def test_webm_encodes_what_it_cannot_copy(clip: Path, tmp_path: Path) -> None:
    out = annotated(clip, tmp_path / "out.webm")
    np.testing.assert_allclose(packet_times(out), packet_times(clip), atol=0.0011)
    with av.open(str(out)) as file:
        assert [stream.codec_context.name for stream in file.streams.audio] == ["opus"]
    assert len(sound(out)) > 5


@pytest.mark.parametrize(("name", "codec"), [("late.ts", "libx264"), ("late.ogv", "libvpx")])
def test_sound_of_a_clock_that_begins_late_stays_with_its_pictures(
    astronaut: Path, tmp_path: Path, name: str, codec: str
) -> None:
    late = {"output_ts_offset": "50"}
    source = write_video(tmp_path / name, portrait(astronaut, 12, 160), codec=codec, container=late, sound=True)
    frames = list(open_frames([source]))
    with AnnotatedVideo(tmp_path / "out.mkv") as output:
        for each in frames:
            assert isinstance(each, Frame)
            size = each.image.shape[1], each.image.shape[0]
            output.write(FrameResult(str(source), each.index, each.timestamp, *size, image=each.image))
    begin = packet_times(source)[1]
    before = np.array([at for at, _ in sound(source)]) - begin
    after = np.array([at for at, _ in sound(tmp_path / "out.mkv")]) - packet_times(tmp_path / "out.mkv")[1]
    assert len(after) > 5
    assert after[0] < 0.07 - 0.04  # a packet of sound lasts 0.064 s, a picture 0.04
    assert np.abs(after[1:, None] - before).min(axis=1).max() < 0.002


def test_a_silent_video_stays_silent(astronaut: Path, tmp_path: Path) -> None:
    out = annotated(write_video(tmp_path / "silent.mp4", portrait(astronaut, 3)), tmp_path / "out.mp4")
    with av.open(str(out)) as file:
        assert not file.streams.audio
        assert len(list(file.decode(video=0))) == 3


@pytest.mark.parametrize("size", [(161, 121), (160, 121), (161, 120)])
def test_odd_sizes_stay(astronaut: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    cut = (each[: size[1], : size[0]] for each in portrait(astronaut, 3, 200))
    source = write_video(tmp_path / "odd.mp4", cut, pixel_format="yuv444p")
    out = annotated(source, tmp_path / "out.mp4", "label")
    assert pictures(out)[0].shape == (size[1], size[0], 3)


@pytest.mark.parametrize("overlay", ["bars", "label", "emoji", "blur"])
def test_each_overlay_is_drawn(clip: Path, tmp_path: Path, overlay: str) -> None:
    before, after = pictures(clip), pictures(annotated(clip, tmp_path / "out.mp4", overlay))
    assert len(after) == len(before)
    apart = [np.abs(one.astype(int) - other).mean() for one, other in zip(before, after, strict=True)]
    assert min(apart) > 2  # grey levels; encoding alone changes less than 1.5


def test_a_part_of_a_video_begins_at_zero_with_its_sound(clip: Path, tmp_path: Path) -> None:
    part = [each for each in results(clip) if each.timestamp is not None and each.timestamp >= 0.2]
    with AnnotatedVideo(tmp_path / "out.mp4") as output:
        for each in part:
            output.write(each)
    begin = part[0].timestamp or 0.0
    expected = [each.timestamp - begin for each in part if each.timestamp is not None]
    np.testing.assert_allclose(packet_times(tmp_path / "out.mp4"), expected, atol=0.0011)
    first, _ = sound(tmp_path / "out.mp4")[0]
    assert first < 0.07  # a packet of sound lasts 0.064 s


# --- blur


def frame(index: int, faces: tuple[Face, ...], image: NDArray[np.uint8] | None = None) -> FrameResult:
    return FrameResult("v.mp4", index, index * 0.04, *SIZE, faces, image=image)


def covered(given: list[FrameResult]) -> list[FrameResult]:
    covers = Covers()
    done = [each for one in given for each in covers.update(one)]
    return done + list(covers.flush())


def test_a_lost_face_stays_covered_for_a_second() -> None:
    """Seen in the first five frames, then lost for two seconds."""
    done = covered([frame(index, (face(),) if index < 5 else ()) for index in range(55)])
    assert [each.frame for each in done] == list(range(55))
    assert all(len(each) >= 1 for each in done[: 5 + 24])
    assert all(len(each) == 0 for each in done[5 + 27 :])
    late = done[20][0]
    assert late.expression is None
    assert (late.box[:2] < BOX[:2]).all()
    assert (late.box[2:] > BOX[2:]).all()


def test_a_moving_face_is_covered_where_its_motion_leads() -> None:
    step = np.array([8, 0, 8, 0], np.float32)
    done = covered([frame(index, (face(BOX + index * step),) if index < 5 else ()) for index in range(12)])
    x0, _, x1, _ = BOX + 9 * step
    assert any(each.box[0] <= x0 and each.box[2] >= x1 for each in done[9])


def test_a_face_is_covered_before_it_is_found() -> None:
    done = covered([frame(index, (face(),) if index >= 10 else ()) for index in range(15)])
    assert [len(each) for each in done] == [0] * 4 + [1] * 11


def test_a_gap_in_the_detections_does_not_show_the_face(astronaut: Path, tmp_path: Path) -> None:
    """In the file, the eyes are as flat in the frames without a detection as in those with one."""
    images = list(portrait(astronaut, 12))
    with AnnotatedVideo(tmp_path / "out.mp4", "blur") as output:
        for index, image in enumerate(images):
            output.write(frame(index, () if 4 <= index < 9 else (face(),), image))
    eyes = [image[92:116, 195:255].std() for image in pictures(tmp_path / "out.mp4")]
    assert max(eyes) < 0.8 * images[0][92:116, 195:255].std()
    assert max(eyes[4:9]) < 1.3 * max(eyes[:4])


# --- bad input, and what stays of it


def test_an_error_leaves_what_was_written_playable(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), AnnotatedVideo(tmp_path / "out.mp4") as output:  # noqa: PT012
        for each in results(clip):
            if each.frame == 8:
                raise KeyboardInterrupt
            output.write(each)
    assert not (tmp_path / "out.mp4").exists()
    assert playable(tmp_path / "out.mp4.partial") == 8


def playable(path: Path) -> int:
    """How many frames of a file a player shows, up to its damaged end."""
    count = 0
    with av.open(str(path), format="mp4") as file:
        try:
            for _ in file.decode(video=0):
                count += 1
        except av.InvalidDataError:
            pass
    return count


_FULL = """
import resource, signal, sys
import numpy as np
from mien.errors import OutputError
from mien.output.video import AnnotatedVideo
from mien.results import FrameResult
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
rng = np.random.default_rng(0)
try:
    with AnnotatedVideo(sys.argv[1]) as output:
        for index in range(400):
            image = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
            output.write(FrameResult("camera:0", index, index / 25, 160, 120, image=image))
except OutputError as error:
    print(error.message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_a_playable_video(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    done = subprocess.run([sys.executable, "-c", _FULL, str(target)], capture_output=True, text=True, timeout=500)
    assert f"cannot write '{target}'" in done.stdout, done.stderr
    assert not target.exists()
    assert playable(tmp_path / "out.mp4.partial") > 10


@pytest.mark.parametrize("name", ["out.wmv", "out.txt", "out", "out.gif"])
def test_a_suffix_without_a_format_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected the suffix \.mp4"):
        AnnotatedVideo(name)


def test_two_videos_do_not_fit_into_one(clip: Path, tmp_path: Path) -> None:
    first = next(results(clip))
    with AnnotatedVideo(tmp_path / "out.mp4") as output:
        output.write(first)
        with pytest.raises(ConfigError, match="holds one video"):
            output.write(FrameResult("other.mp4", 0, 0.0, *SIZE, image=first.image))


@pytest.mark.parametrize("overlay", ["bars", "blur"])
def test_nothing_to_draw_writes_no_file(tmp_path: Path, overlay: Overlay) -> None:
    (tmp_path / "out.mp4").write_text("an older video")
    with AnnotatedVideo(tmp_path / "out.mp4", overlay) as output:
        output.write(FrameResult("v.mp4", error="cannot be read"))
    assert not output.has_frames
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "an older video"


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"), AnnotatedVideo(tmp_path / "no" / "out.mp4"):
        pass
