"""`mien analyze` with videos and cameras: rows, choices of frames, stopping, and outputs that fail."""

import csv
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.commands import interrupted_analysis, run_command
from tests.videos import cut, numbered, portrait, write_video

import mien
from mien.media import VideoOptions, open_frames
from mien.output.console import exact_clock
from mien.results import Frame, FrameResult

WAIT = 600.0  # seconds after which a test fails instead of waiting for ever; nothing depends on it


def analyze(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return run_command("analyze", *arguments)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def clip(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of a smiling face that moves, then four without a face."""
    faces = list(portrait(astronaut, 8, step=6))
    empty = numbered(4, (faces[0].shape[1], faces[0].shape[0]))
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", itertools.chain(faces, empty))


def test_images_and_videos_mixed(astronaut: Path, clip: Path, tmp_path: Path) -> None:
    damaged = cut(clip.with_name("clip.mp4"), 0.2)
    Image.open(astronaut).save(tmp_path / "b.png")
    result = analyze(astronaut, clip, damaged, tmp_path / "b.png", "--table", tmp_path / "out.csv")
    assert result.returncode == 3
    assert "2 images, 13 frames, 10 faces, 1 failed" in result.stderr
    assert "Traceback" not in result.stderr
    found = rows(tmp_path / "out.csv")
    of_clip = [row for row in found if row["source"] == str(clip)]
    assert [row["frame"] for row in of_clip] == [str(number) for number in range(12)]
    assert [float(row["timestamp"]) for row in of_clip] == [number / 25 for number in range(12)]
    assert [row["face"] for row in of_clip] == ["0"] * 8 + [""] * 4  # a frame without a face keeps its row
    assert [row["emotion"] for row in of_clip] == ["happiness"] * 8 + [""] * 4
    (error,) = [row for row in found if row["source"] == str(damaged)]
    assert "is a video that cannot be read" in error["error"]
    assert found[-1]["source"] == str(tmp_path / "b.png")
    assert found[-1]["timestamp"] == ""


def test_people_read_the_time_and_the_track(astronaut: Path, clip: Path) -> None:
    head, *lines = analyze(clip, "--every", "9").stdout.splitlines()
    assert head.split()[:6] == ["image", "time", "track", "face", "emotion", "confidence"]
    assert lines[0].removeprefix(str(clip)).split()[:4] == ["0:00.00", "0", "0", "happiness"]
    assert lines[1].removeprefix(str(clip)).split() == ["0:00.36", "no", "face"]
    mixed = analyze(astronaut, clip, "--every", "9").stdout.splitlines()
    assert mixed[1].removeprefix(str(astronaut)).split()[:2] == ["0", "happiness"]
    assert "time" in mixed[0]
    assert "time" not in analyze(astronaut).stdout


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00.00"), (59.999, "1:00.00"), (62.5, "1:02.50"), (3662.5, "1:01:02.50")]
)
def test_times_for_people(seconds: float, shown: str) -> None:
    assert exact_clock(seconds) == shown


def test_choices_of_frames(clip: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    assert analyze(clip, "--every", 3, "--start", "0:00.08", "--end", 0.4, "--table", table, "-q").returncode == 0
    assert [row["frame"] for row in rows(table)] == ["2", "5", "8"]


def test_only_the_largest_face(astronaut: Path, tmp_path: Path) -> None:
    image = Image.open(astronaut).convert("RGB")
    two = Image.new("RGB", (800, image.height))
    two.paste(image, (0, 0))
    two.paste(image.resize((256, image.height // 2)), (530, 100))
    two.save(tmp_path / "two.png")
    every, largest = tmp_path / "every.csv", tmp_path / "largest.csv"
    analyze(tmp_path / "two.png", "--table", every, "-q")
    analyze(tmp_path / "two.png", "--table", largest, "--largest-only", "-q")
    assert len(rows(every)) == 2
    assert rows(largest) == rows(every)[:1]


@pytest.mark.parametrize("option", [["--every", "2"], ["--fps", "5"], ["--start", "1"], ["--end", "1:00"]])
def test_options_of_videos_are_refused_without_one(astronaut: Path, option: list[str]) -> None:
    result = analyze(astronaut, *option)
    assert result.returncode == 2
    assert f"{option[0]} has no effect on images" in result.stderr


@pytest.mark.parametrize(
    "option", [["--every", "0"], ["--fps", "-1"], ["--start", "soon"], ["--start", "5", "--end", "4"]]
)
def test_bad_values_name_the_option(clip: Path, option: list[str]) -> None:
    result = analyze(clip, *option)
    assert result.returncode == 2
    assert option[-2] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_table_must_not_replace_the_video(clip: Path) -> None:
    before = clip.read_bytes()
    copy = clip.with_name("copy.csv")
    copy.write_bytes(before)  # a video with the name of a table
    result = analyze(copy, "--table", copy)
    assert result.returncode == 2
    assert "the table would replace the input" in result.stderr
    assert copy.read_bytes() == before
    copy.unlink()


# --- Python


def test_a_video_is_an_iterator_in_constant_memory(clip: Path) -> None:
    results = mien.analyze(clip, video=VideoOptions(every=2))
    assert iter(results) is results
    assert [(result.frame, len(result)) for result in results] == [(0, 1), (2, 1), (4, 1), (6, 1), (8, 0), (10, 0)]


def test_without_a_model_two_networks_vote_on_images_and_one_of_them_reads_videos(astronaut: Path, clip: Path) -> None:
    def shown(results: Iterable[FrameResult]) -> NDArray[np.float32]:
        (face,) = next(iter(results))
        assert face.expression is not None
        return face.expression.probabilities

    chosen, small, vote = (
        shown(mien.Analyzer(classifier=model).stream(open_frames([str(clip)])))
        for model in (None, "mien-m-int8", "mien-x")
    )
    assert np.array_equal(chosen, small)
    assert not np.array_equal(chosen, vote)
    assert np.abs(chosen - vote).max() < 0.1
    first = next(iter(open_frames([str(clip)])))
    assert isinstance(first, Frame)
    image, frame = mien.analyze([astronaut, first])  # one batch with both
    assert np.array_equal(shown([frame]), small)
    assert np.array_equal(shown([image]), shown([mien.analyze(astronaut, classifier="mien-m-int8,mien-l")]))
    hard = mien.Analyzer(classifier=mien.ClassifierOptions(vote="hard"))
    assert hard.video_classifier is hard.classifier  # one network has nothing to vote on
    assert len(next(iter(hard.stream([first])))) == 1


def test_videos_of_cropped_faces_get_the_crops_of_their_network(astronaut: Path, tmp_path: Path) -> None:
    image = np.asarray(Image.open(astronaut).convert("RGB"))
    frame = Frame(np.ascontiguousarray(image[40:190, 160:290]), "crops", 0, 0.0)
    chosen, small = (
        next(iter(mien.Analyzer(detector="whole-image", classifier=model).stream([frame])))
        for model in (None, "mien-m-int8")
    )
    assert chosen[0].expression is not None
    assert small[0].expression is not None
    assert np.array_equal(chosen[0].expression.probabilities, small[0].expression.probabilities)


def test_an_iterator_can_be_closed(clip: Path) -> None:
    results = mien.analyze(clip, video=VideoOptions())
    assert next(results).frame == 0
    results.close()
    assert not any(thread.name == "mien-feed" for thread in threading.enumerate())
    assert list(results) == []


def test_an_animated_gif_is_a_video(astronaut: Path, tmp_path: Path) -> None:
    image = Image.open(astronaut).convert("RGB")
    image.save(tmp_path / "a.gif", save_all=True, append_images=[image.rotate(5)], duration=80)
    results = list(mien.analyze(str(tmp_path / "a.gif"), video=VideoOptions()))
    assert [(result.frame, result.timestamp) for result in results] == [(0, 0), (1, 0.08)]
    assert all(result[0].emotion == "happiness" for result in results)


# --- stopping and failing

# A source that makes a frame every 20 ms and never ends.
ENDLESS = "lavfi:testsrc=size=160x120:rate=50,realtime"


@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_a_camera_is_logged_until_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    table, partial = tmp_path / "log.csv", tmp_path / "log.csv.partial"
    command = [sys.executable, "-m", "mien", "analyze", ENDLESS, "--table", str(table)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(5):  # the head and some rows
            assert process.stdout.readline()
        written = rows(partial)  # valid at any moment
        assert [row["source"] for row in written[:3]] == [ENDLESS] * 3
        process.send_signal(number)
        _, said = process.communicate(timeout=WAIT)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    found = rows(table)
    assert len(found) >= len(written)
    assert not partial.exists()
    frames = [int(row["frame"]) for row in found]
    times = [float(row["timestamp"]) for row in found]
    assert frames == sorted(set(frames))
    assert times == pytest.approx([frame / 50 for frame in frames])


def test_ctrl_c_in_a_video_keeps_the_rows(astronaut: Path, tmp_path: Path) -> None:
    long = write_video(tmp_path / "long.mp4", portrait(astronaut, 1500, 256), options={"preset": "ultrafast"})
    table = tmp_path / "out.csv"
    done = interrupted_analysis(long, "--table", table)
    said = done.stderr
    assert done.returncode == 130, said
    assert f"stopped after '{long}' at " in said
    assert "the results so far are kept" in said
    assert "give --table another name, or this one is replaced" in said
    assert "Traceback" not in said
    found = rows(table)
    (start,) = re.findall(r"the rest: --start (\S+);", said)
    rest = tmp_path / "rest.csv"
    assert analyze(long, "--start", start, "--end", float(start) + 0.1, "--table", rest, "-q").returncode == 0
    assert int(rows(rest)[0]["frame"]) == len(found)
    assert 2 <= len(found) < 1500
    assert [int(row["frame"]) for row in found] == list(range(len(found)))
    assert all(row["emotion"] for row in found)


@pytest.mark.parametrize(("style", "lost"), [("deepface", "the person, the frame and the time"), ("openface", "")])
def test_what_a_style_loses_of_a_video_is_said(clip: Path, tmp_path: Path, style: str, lost: str) -> None:
    done = analyze(clip, "--table", tmp_path / "t.csv", "--style", style)
    assert done.returncode == 0
    assert ("has no columns for" in done.stderr) == bool(lost)
    assert lost in done.stderr


def _small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, 1_500))


def test_a_full_disk_leaves_whole_rows(clip: Path, tmp_path: Path) -> None:
    """The limit of the size of a file stands for the full disk: it ends a write in the middle of a row."""
    command = [sys.executable, "-m", "mien", "analyze", str(clip), "--table", str(tmp_path / "out.csv")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, preexec_fn=_small_files)
    assert result.returncode == 7
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.csv").exists()
    content = (tmp_path / "out.csv.partial").read_text(encoding="utf-8")
    assert content.endswith("\n")
    found = rows(tmp_path / "out.csv.partial")
    assert 1 <= len(found) < 12
    assert all(row["emotion"] == "happiness" and None not in row for row in found)


# --- cameras


def test_the_newest_frame_wins() -> None:
    """A caller who is slower than the source: each next frame came after the caller had the last one."""
    source = open_frames(["lavfi:testsrc=size=160x120:rate=200,realtime"])
    assert source.is_live
    assert source.total is None
    taken = []
    for frame in source:
        assert isinstance(frame, Frame)
        taken.append(frame)
        if len(taken) == 5:
            break
        threading.Event().wait(0.1)
    numbers = [frame.index for frame in taken]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 4 + 4  # some were skipped
    assert [frame.timestamp for frame in taken] == pytest.approx([number / 200 for number in numbers])


def test_a_source_that_ends(tmp_path: Path) -> None:
    results = list(mien.analyze("lavfi:testsrc=size=160x120:rate=25:duration=0.4,realtime", video=VideoOptions()))
    assert 1 <= len(results) <= 10
    assert all(result.error is None for result in results)
    assert os.listdir(tmp_path) == []
