"""`mien analyze VIDEO`: tracks, smoothed probabilities, annotated videos, timelines, and what is refused."""

import csv
import json
from pathlib import Path

import av
import pytest
from tests.commands import run_command
from tests.videos import packet_times, portrait, write_video
from typer.testing import CliRunner

from mien.cli import build_app
from mien.cli.outputs import TIMELINES, VIDEOS
from mien.errors import ConfigError
from mien.output.timeline.render import SUFFIXES
from mien.output.video import FORMATS


@pytest.fixture(scope="module")
def clip(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "talk.mp4"
    return write_video(path, portrait(astronaut, 10, step=2), sound=True)


def refused(*arguments: str) -> ConfigError:
    done = CliRunner().invoke(build_app(), ["analyze", *arguments])
    assert isinstance(done.exception, ConfigError), done.output
    return done.exception


def run(*arguments: object) -> str:
    done = CliRunner().invoke(build_app(), ["analyze", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_everything_at_once(clip: Path, tmp_path: Path) -> None:
    table, video, timeline = tmp_path / "t.csv", tmp_path / "out.mp4", tmp_path / "t.html"
    run(clip, "--table", table, "--annotate", video, "--timeline", timeline, "--smooth", "0.4", "--detect-every", "2")
    rows = list(csv.DictReader(table.open(newline="")))
    assert [row["frame"] for row in rows] == [str(number) for number in range(10)]
    assert {row["track"] for row in rows} == {"0"}
    assert all(float(row["smoothed_happiness"]) > 0.5 for row in rows)
    assert packet_times(video) == pytest.approx(packet_times(clip), abs=0.001)
    with av.open(str(video)) as file:
        assert len(file.streams.audio) == 1
    text = timeline.read_text()
    assert "person 0" in text
    assert "data:image/jpeg" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "t.csv", "t.html"]
    report = CliRunner().invoke(build_app(), ["report", str(table)])
    assert "happiness" in report.output


def test_a_video_is_tracked_and_smoothed_by_default(clip: Path) -> None:
    results = [json.loads(line) for line in run(clip, "--json", "--quiet").splitlines()]
    assert [result["faces"][0]["track"] for result in results] == [0] * 10
    for result in results:
        (face,) = result["faces"]
        assert sum(face["smoothed"].values()) == pytest.approx(1, abs=1e-4)
        assert face["emotions"] != face["smoothed"]


def test_smoothing_can_be_switched_off(clip: Path) -> None:
    first = json.loads(run(clip, "--json", "--quiet", "--smooth", "0").splitlines()[0])
    assert first["faces"][0]["smoothed"] is None
    assert first["faces"][0]["track"] == 0


def test_an_image_has_no_track(astronaut: Path) -> None:
    (face,) = json.loads(run(astronaut, "--json", "--quiet"))["faces"]
    assert face["track"] is None
    assert face["smoothed"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detect-every", "0"], "--detect-every: expected a number of frames from 1, got 0"),
        (["--detect-every", "-3"], "--detect-every: expected a number of frames from 1, got -3"),
        (["--smooth", "-1"], "--smooth: expected seconds from 0, got -1.0"),
        (["--smooth", "nan"], "--smooth: expected seconds from 0, got nan"),
        (["--timeline", "t.pdf"], "--timeline t.pdf: expected the suffix .html or .png"),
        (["--timeline", "t"], "--timeline t: expected the suffix .html or .png"),
    ],
)
def test_values_that_cannot_be(clip: Path, arguments: list[str], message: str) -> None:
    assert message in refused(str(clip), *arguments).message


@pytest.mark.parametrize("option", [["--detect-every", "5"], ["--smooth", "1"], ["--timeline", "t.html"]])
def test_options_without_effect_on_images(astronaut: Path, option: list[str]) -> None:
    assert f"{option[0]} has no effect on images" in refused(str(astronaut), *option).message


def test_one_annotated_video_of_images_or_of_several_videos(astronaut: Path, clip: Path) -> None:
    assert "the inputs are images" in refused(str(astronaut), "--annotate", "out.mp4").message
    assert "there are several inputs" in refused(str(clip), str(astronaut), "--annotate", "out.mp4").message


def test_annotated_frames_have_their_number(clip: Path, tmp_path: Path) -> None:
    run(clip, "--annotate", tmp_path, "--every", "4", "--quiet")
    names = [f"talk-{number:06}.annotated.png" for number in (0, 4, 8)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("name", ["out.avi", "out.gif"])
def test_a_video_of_another_kind_names_those_that_are_written(astronaut: Path, clip: Path, name: str) -> None:
    error = refused(str(clip), "--annotate", name)
    assert "or the name of a video that ends with .mp4, .m4v, .mov, .mkv or .webm" in error.message
    assert "--annotate out.mp4 writes the video, --annotate out its frames" in error.hint
    assert "--annotate out writes the images" in refused(str(astronaut), "--annotate", name).hint


def test_a_range_after_the_end_is_one_error_and_a_complete_table(clip: Path, tmp_path: Path) -> None:
    table, video, timeline = tmp_path / "t.csv", tmp_path / "out.mp4", tmp_path / "t.html"
    done = run_command("analyze", clip, "--start", 20, "--table", table, "--annotate", video, "--timeline", timeline)
    assert done.returncode == 3
    assert done.stderr.count("error:") == 1
    assert f"no video was written to '{video}'" in done.stderr
    assert f"no timeline was written to '{timeline}'" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"written: {table}")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    (row,) = csv.DictReader(table.open(newline=""))
    assert "no frame in the range" in row["error"]


def test_the_annotated_video_does_not_replace_the_input(clip: Path) -> None:
    before = clip.read_bytes()
    assert "would replace the input" in refused(str(clip), "--annotate", str(clip)).message
    assert clip.read_bytes() == before


def test_the_command_knows_the_formats() -> None:
    assert set(VIDEOS) == set(FORMATS)
    assert TIMELINES == SUFFIXES
