"""Damaged and empty videos, files that are none, cameras that are not there: a clear row, and the good frames stay."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.videos import cut, numbered, write_silence, write_video

import mien
from mien.errors import InputError, LimitError
from mien.media import VideoOptions, is_video, open_frames, read_video
from mien.results import Frame, FrameResult

COUNT = 50
OPTIONS = {"g": "10", "bf": "2"}


def split(path: Path, **options: float) -> tuple[list[Frame], list[FrameResult]]:
    """The frames and the errors."""
    found = list(read_video(path, VideoOptions(**options)))  # type: ignore[arg-type]
    numbers = [each.index if isinstance(each, Frame) else each.frame for each in found]
    assert numbers == sorted(set(numbers))  # every row has its own number, also an error
    frames = [each for each in found if isinstance(each, Frame)]
    return frames, [each for each in found if isinstance(each, FrameResult)]


# --- the end is missing


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_truncated_file_gives_its_good_frames_and_one_error(tmp_path: Path, name: str, share: float) -> None:
    container = {"movflags": "faststart"} if name[2:] in ("mp4", "mov") else {}
    if name == "a.avi":
        one = {"qmin": "5", "qmax": "5"}  # left to itself, the size of the frames depends on the number of cores
        whole = write_video(tmp_path / name, noisy(COUNT), codec="mjpeg", pixel_format="yuvj420p", options=one)
    else:
        whole = write_video(tmp_path / name, noisy(COUNT), options=OPTIONS, container=container)
    frames, errors = split(cut(whole, share))
    assert 0.2 * COUNT < len(frames) < COUNT
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(errors) == 1
    assert f"{len(frames)} of " in (errors[0].error or "")
    assert errors[0].frame == len(frames)


def test_the_cut_last_frame_of_a_transport_stream_is_an_error(tmp_path: Path) -> None:
    """Nothing in the file says how long it was; only that its last frame is incomplete."""
    frames, errors = split(cut(write_video(tmp_path / "a.ts", noisy(COUNT), options=OPTIONS), 0.61))
    assert len(frames) > 0.3 * COUNT
    assert len(errors) == 1
    assert "cannot be decoded" in (errors[0].error or "")


def test_an_mp4_without_its_index_says_that_it_is_incomplete(tmp_path: Path) -> None:
    """A phone that ran empty while recording: the index would have come last."""
    frames, errors = split(cut(write_video(tmp_path / "a.mp4", noisy(COUNT)), 0.9))
    assert not frames
    assert "is a video that cannot be read" in (errors[0].error or "")
    assert "incomplete" in (errors[0].error or "")


def noisy(count: int) -> list[np.ndarray]:
    """Frames that take many bytes, so that every part of the file has some."""
    rng = np.random.default_rng(0)
    return [image // 2 + rng.integers(0, 100, image.shape, np.uint8) for image in numbered(count)]


# --- damage inside


def test_damage_inside_of_a_file_does_not_end_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", noisy(COUNT), codec="mpeg4", options={"g": "5"})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = np.random.default_rng(1).bytes(4000)
    path.write_bytes(content)
    frames, errors = split(path)
    assert frames[-1].index > 0.8 * COUNT
    assert len(frames) > 0.7 * COUNT
    assert any("cannot be decoded" in (error.error or "") for error in errors)


# --- no video in it


def test_only_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        write_silence(file, file.add_stream("aac", rate=16000))
    frames, errors = split(path)
    assert (frames, [error.error for error in errors]) == ([], [f"'{path}' has no video, only audio"])


@pytest.mark.parametrize("stated", ["aa:00:00.120000000", "00:00:0x.120000000"])
def test_a_stated_duration_that_is_no_time_is_not_used(stated: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(3))
    content = path.read_bytes()
    assert content.count(b"00:00:00.120000000") == 1
    path.write_bytes(content.replace(b"00:00:00.120000000", stated.encode()))
    frames, errors = split(path)
    assert (len(frames), errors) == (3, [])


def test_zero_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        write_silence(file, file.add_stream("aac", rate=16000))
    frames, errors = split(path)
    assert not frames
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\2\0" + bytes(200)),
        ("a.mkv", b"\x1a\x45\xdf\xa3" + bytes(300)),
        ("a.avi", b"RIFF\xff\0\0\0AVI LIST" + bytes(300)),
        ("a.webm", bytes(300)),
    ],
)
def test_a_file_that_only_begins_like_a_video(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    frames, errors = split(tmp_path / name)
    assert not frames
    assert str(tmp_path / name) in (errors[0].error or "")


@pytest.mark.parametrize(
    ("name", "said"), [("missing.mp4", "does not exist"), ("empty.mp4", "is empty"), ("", "folder")]
)
def test_what_is_no_file_is_an_error_of_images_too(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert not is_video(tmp_path / name)
    with pytest.raises(InputError, match=said):
        mien.analyze(tmp_path / name)


def test_a_truncated_animation(tmp_path: Path) -> None:
    images = [Image.fromarray(pixels) for pixels in noisy(8)]
    for name in ("a.gif", "a.webp"):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=100)
        frames, errors = split(cut(tmp_path / name, 0.6))
        assert len(frames) < 8
        assert len(errors) <= 1
        assert errors or frames


# --- limits and ranges


def test_a_range_after_the_end_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(25))
    frames, errors = split(path, start=60)
    assert not frames
    assert "has no frame in the range from 60 s: its last frame is at 0.96 s" in (errors[0].error or "")


def test_the_limit_of_pixels_holds_for_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(5))
    (error,) = read_video(path, max_pixels=10_000)
    assert isinstance(error, FrameResult)
    assert "160 x 120 = 19,200 pixels, the limit is 10,000" in (error.error or "")
    assert issubclass(LimitError, InputError)


# --- names


@pytest.mark.parametrize("name", ["a b#1?.mp4", "100%.mp4", "a:b.mp4", "행복.mp4", "it's.mp4"])
def test_any_name(tmp_path: Path, name: str) -> None:
    """FFmpeg would take some of these for addresses."""
    frames, errors = split(write_video(tmp_path / "a.mp4", numbered(3)).rename(tmp_path / name))
    assert len(frames) == 3
    assert not errors


def test_a_playlist_cannot_reach_the_network(tmp_path: Path) -> None:
    (tmp_path / "a.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", encoding="utf-8"
    )
    frames, errors = split(tmp_path / "a.m3u8")
    assert not frames
    assert len(errors) == 1


# --- cameras


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("camera:97", "'camera:97' cannot be opened"),
        ("camera:no such camera", "'camera:no such camera' cannot be opened"),
        ("rtsp://127.0.0.1:9/stream", "'rtsp://127.0.0.1:9/stream' cannot be opened: connection refused"),
        ("http://127.0.0.1:9/stream.m3u8", "cannot be opened"),
        ("lavfi:no_such_filter", "cannot be opened"),
    ],
)
def test_a_camera_that_is_not_there(source: str, said: str) -> None:
    (error,) = open_frames([source])
    assert isinstance(error, FrameResult)
    assert error.source == source
    assert said in (error.error or "")


def test_a_bad_video_among_good_ones_keeps_their_rows(tmp_path: Path, astronaut: Path) -> None:
    good = write_video(tmp_path / "a.mp4", numbered(4))
    bad = tmp_path / "b.mp4"
    bad.write_bytes(good.read_bytes()[:200])
    found = list(open_frames([good, bad, astronaut]))
    assert [isinstance(each, Frame) for each in found] == [True] * 4 + [False, True]


def test_on_error_raise(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "a.avi", noisy(COUNT), codec="mjpeg", pixel_format="yuvj420p"), 0.7)
    results = mien.analyze(path, video=VideoOptions(), on_error="raise", detector="whole-image")
    with pytest.raises(InputError, match=f"of {COUNT} frames could be read"):
        list(results)
