"""Timelines and reports: numbers against made-up videos whose truth is known, tables of all formats, the files."""

import csv
import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from mien import emotions
from mien.cli import build_app
from mien.errors import ConfigError, DataError, InputError
from mien.expression.smoothing import TrackSmoother
from mien.output import open_table
from mien.output.drawing.palette import COLOURS
from mien.output.timeline.layout import clock, timeline
from mien.output.timeline.measures import Summary, summaries
from mien.output.timeline.render import Timeline, image, page
from mien.output.timeline.series import Collector, Recording, read_table
from mien.results import Affect, Expression, Face, FrameResult, Measures

EMOTIONS = emotions.vocabulary(8)
FPS = 25


def expression(name: str, confidence: float = 0.86) -> Expression:
    rest = (1 - confidence) / 7
    row = np.array([confidence if each == name else rest for each in EMOTIONS], np.float32)
    valence = {"happiness": 0.8, "sadness": -0.7}.get(name, 0.0)
    return Expression(row, EMOTIONS, affect=Affect(valence, 0.1, max(valence, 0), max(-valence, 0)))


def frame(
    index: int,
    shown: dict[int, str],
    *,
    eyes: float | None = None,
    yaw: float = 0.0,
    smoothed: str | None = None,
    pixels: NDArray[np.uint8] | None = None,
    source: str = "films/talk.mp4",
) -> FrameResult:
    faces = []
    for track, name in shown.items():
        dense = {} if eyes is None else dict(_points(eyes, yaw))
        calm = None if smoothed is None else expression(smoothed)
        box = np.array([20 + 60 * track, 20, 60 + 60 * track, 70])
        faces.append(Face(box, 0.9, track=track, expression=expression(name), smoothed=calm, **dense))  # type: ignore[arg-type]
    return FrameResult(source, index, index / FPS, 200, 100, tuple(faces), image=pixels)


def _points(eyes: float, yaw: float) -> dict[str, object]:
    return {
        "keypoints": np.zeros((68, 2)),
        "keypoint_scheme": "300w-68",
        "pose": np.array([yaw, 0, 0]),
        "measures": Measures(eyes, eyes, 0.2, 0.1, 0.8),
    }


def talk() -> list[FrameResult]:
    """20 s: person 0 is neutral, from 8 s happy; person 1 comes at 5 s, sad, and is away from 10 to 14 s."""
    results = []
    for index in range(20 * FPS):
        time = index / FPS
        shown = {0: "neutral" if time < 8 else "happiness"}
        if 5 <= time < 10 or time >= 14:
            shown[1] = "sadness"
        results.append(frame(index, shown))
    return results


def recordings(results: list[FrameResult]) -> list[Recording]:
    collector = Collector()
    for each in results:
        collector.add(each)
    return collector.recordings()


def only(results: list[FrameResult]) -> Summary:
    (found,) = summaries(recordings(results))
    return found


def write(path: Path, results: list[FrameResult], *, keypoints: int = 0, smoothed: bool = False) -> Path:
    with open_table(path, EMOTIONS, keypoints=keypoints, smoothed=smoothed) as table:
        for each in results:
            table.write(each)
    return path


# --- numbers


def test_shares_episodes_and_changes() -> None:
    one, other = summaries(recordings(talk()))
    assert one.seconds == pytest.approx(20)
    assert one.shares["neutral"] == pytest.approx(0.4)
    assert one.shares["happiness"] == pytest.approx(0.6)
    assert [each.emotion for each in one.episodes] == ["neutral", "happiness"]
    assert [each.begin for each in one.episodes] == pytest.approx([0, 8])
    assert [each.end for each in one.episodes] == pytest.approx([8, 20])
    assert one.episodes[0].confidence == pytest.approx(0.86)
    assert one.changes_per_minute == pytest.approx(3)
    assert other.seconds == pytest.approx(11)
    assert [each.begin for each in other.episodes] == pytest.approx([5, 14])
    assert [each.end for each in other.episodes] == pytest.approx([10, 20])
    assert other.changes_per_minute == 0


def test_a_flicker_is_no_change() -> None:
    """Single frames of another emotion do not end an episode; their time counts."""
    found = only([frame(index, {0: "anger" if index % 25 == 12 else "neutral"}) for index in range(250)])
    assert [each.emotion for each in found.episodes] == ["neutral"]
    assert found.changes_per_minute == 0
    assert found.shares["anger"] == pytest.approx(0.04)


def test_time_counts_and_not_frames() -> None:
    """At a variable rate, half of the time has most of the frames."""
    times = [*np.arange(0, 5, 0.02), *np.arange(5, 10, 0.2)]
    results = [
        FrameResult("v", number, float(time), 9, 9, frame(0, {0: "fear" if time < 5 else "neutral"}).faces)
        for number, time in enumerate(times)
    ]
    assert only(results).shares["fear"] == pytest.approx(0.5, abs=0.02)


def test_smoothed_probabilities_count_where_there_are_some() -> None:
    found = only([frame(index, {0: "anger"}, smoothed="neutral") for index in range(50)])
    assert found.shares["neutral"] == 1


@pytest.mark.parametrize("blinks", [0, 3, 7])
def test_blinks_are_counted(blinks: int) -> None:
    """30 s of noisy eyes with blinks of 0.16 s."""
    rng = np.random.default_rng(blinks)
    starts = {round((number + 0.5) * 750 / max(blinks, 1)) for number in range(blinks)}
    closed = {start + step for start in starts for step in range(4)}
    results = [
        frame(index, {0: "neutral"}, eyes=(0.08 if index in closed else 0.3) + rng.normal(0, 0.02))
        for index in range(750)
    ]
    assert only(results).blinks_per_minute == pytest.approx(2 * blinks)


def test_long_closed_eyes_are_no_blink() -> None:
    results = [frame(index, {0: "neutral"}, eyes=0.08 if 200 <= index < 240 else 0.3) for index in range(500)]
    assert only(results).blinks_per_minute == 0


def test_blinks_are_unknown_at_a_low_rate_and_without_keypoints() -> None:
    assert only([frame(index, {0: "neutral"}) for index in range(100)]).blinks_per_minute is None
    sparse = [frame(5 * index, {0: "neutral"}, eyes=0.3) for index in range(100)]
    assert only(sparse).blinks_per_minute is None


def test_movement_of_the_head() -> None:
    """A yaw of 20 degrees to and fro with 0.25 Hz: 20 degrees a second on average."""
    turning = [
        frame(index, {0: "neutral"}, eyes=0.3, yaw=20 * math.sin(2 * math.pi * 0.25 * index / FPS))
        for index in range(500)
    ]
    still = [frame(index, {0: "neutral"}, eyes=0.3) for index in range(500)]
    found = only(turning)
    assert found.head_movement == pytest.approx(20, rel=0.05)
    assert found.head_range is not None
    assert found.head_range[0] == pytest.approx(40, rel=0.05)
    assert only(still).head_movement == 0


def test_the_numbers_do_not_depend_on_the_length() -> None:
    """An hour at 30 frames a second: a blink in four seconds, one second happy and one neutral."""
    rows = [
        {
            "source": "v", "timestamp": index / 30, "face": 0, "track": 0, "yaw": index % 4, "pitch": 0, "roll": 0,
            "right_eye_openness": 0.05 if index % 120 < 5 else 0.3, "left_eye_openness": 0.3 - 0.25 * (index % 120 < 5),
            **{name: float(name == ("neutral" if index // 30 % 2 else "happiness")) for name in EMOTIONS},
        }
        for index in range(60 * 60 * 30)
    ]  # fmt: skip
    found = {}
    for count in (9_000, len(rows)):
        collector = Collector()
        for row in rows[:count]:
            collector.add_row(row, EMOTIONS)
        (found[count],) = summaries(collector.recordings())
    short, long = found.values()
    assert long.shares == pytest.approx(short.shares)
    assert long.blinks_per_minute == pytest.approx(short.blinks_per_minute, rel=0.02) == pytest.approx(15, rel=0.02)
    assert long.head_movement == pytest.approx(short.head_movement, rel=0.01)
    for one, other in zip(long.episodes, short.episodes[:-1], strict=False):
        assert (one.emotion, one.begin) == (other.emotion, other.begin)
        assert one.end == pytest.approx(other.end)


def test_a_frame_rate_that_changes_changes_no_number() -> None:
    """A phone in the dark: a minute at 30 frames a second and one at 15."""
    times = [*(index / 30 for index in range(1800)), *(60 + index / 15 for index in range(900))]

    def shown(closed: float, times: list[float]) -> Summary:
        return only(
            [
                replace(
                    frame(number, {0: "neutral"}, eyes=0.05 if time % 4 < closed else 0.3, yaw=2 * abs(time % 4 - 2)),
                    timestamp=time,
                )
                for number, time in enumerate(times)
            ]
        )

    even = [index / 30 for index in range(3600)]
    for closed, blinks in ((0.2, 15), (0.8, 0)):
        for given in (times, even):
            found = shown(closed, given)
            assert found.blinks_per_minute == pytest.approx(blinks, rel=0.05)
            assert found.head_movement == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("steps", [(0.1, 0.05, 0.05), (0.05, 0.05, 0.1), (1 / 30, 1 / 30, 1 / 30, 1 / 30, 0.1)])
def test_dropped_frames_hide_no_blink(steps: tuple[float, ...]) -> None:
    times = np.concatenate([[0], np.cumsum(steps * (1800 // len(steps)))])
    results = [
        replace(frame(number, {0: "neutral"}, eyes=0.05 if time % 2 < 0.22 else 0.3), timestamp=float(time))
        for number, time in enumerate(times)
    ]
    assert only(results).blinks_per_minute == pytest.approx(30, rel=0.05)
    holed = [each if number % 10 else frame(number, {0: "neutral"}) for number, each in enumerate(results)]
    holed = [replace(each, timestamp=float(time)) for each, time in zip(holed, times, strict=True)]
    assert only(holed).blinks_per_minute == pytest.approx(30, rel=0.12)


def test_faces_of_one_time_have_no_movement() -> None:
    """Without tracks, all faces of a frame are in one series."""
    results = [frame(index, {0: "neutral", 1: "neutral", 2: "neutral"}, eyes=0.3) for index in range(200)]
    results = [replace(each, faces=tuple(replace(face, track=None) for face in each)) for each in results]
    found = only(results)
    assert (found.track, found.blinks_per_minute, found.head_movement) == (None, None, None)


def test_a_frame_without_keypoints_loses_only_itself() -> None:
    results = [
        frame(index, {0: "neutral"}, eyes=0.05 if index % 100 < 4 else 0.3, yaw=9 * math.sin(index / 20))
        for index in range(2000)
    ]
    whole = only(results)
    results[500] = frame(500, {0: "neutral"})
    holed = only(results)
    assert whole.blinks_per_minute == pytest.approx(15, rel=0.08)
    assert holed.blinks_per_minute == pytest.approx(whole.blinks_per_minute, rel=0.06)
    assert holed.head_movement == pytest.approx(whole.head_movement, rel=0.02)
    assert holed.head_range == pytest.approx(whole.head_range, abs=0.2)
    for index in range(1200):
        results[index] = frame(index, {0: "neutral"})
    most = only(results)
    assert (most.blinks_per_minute, most.head_movement, most.head_range) == (None, None, None)


def test_series_stay_small_and_right_for_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most points neighbours are averaged, which the report says; shares hold within a second."""
    monkeypatch.setattr("mien.output.timeline.series._MOST_POINTS", 16_384)
    collector = Collector()
    row = {"source": "v", "face": 0, "track": 0, "error": None}
    neutral, happy = ({name: float(name == shown) for name in EMOTIONS} for shown in ("neutral", "happiness"))
    for index in range(60_000):
        shown = neutral if index < 20_000 else happy
        collector.add_row({**row, "timestamp": index * 0.36, **shown}, EMOTIONS)
    (found,) = collector.recordings()
    assert len(found.series[0].times) < 2 * 16_384
    assert found.series[0].together == 4
    assert summaries([found])[0].shares["neutral"] == pytest.approx(1 / 3, abs=0.001)


# --- tables


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_gives_the_numbers_of_the_results(tmp_path: Path, suffix: str) -> None:
    results = [*talk(), frame(501, {})]
    expected = summaries(recordings(results))
    found = summaries(read_table(write(tmp_path / f"t{suffix}", results)))
    assert [each.track for each in found] == [0, 1]
    for one, other in zip(found, expected, strict=True):
        assert one.shares == pytest.approx(other.shares)
        assert len(one.episodes) == len(other.episodes)
    assert read_table(tmp_path / f"t{suffix}")[0].empty == 1


def test_a_table_with_keypoints_gives_blinks_and_smoothed_ones_count(tmp_path: Path) -> None:
    results = [
        frame(index, {0: "anger"}, eyes=0.05 if 100 <= index < 104 else 0.3, smoothed="neutral") for index in range(300)
    ]
    (found,) = summaries(read_table(write(tmp_path / "t.csv", results, keypoints=68, smoothed=True)))
    assert found.blinks_per_minute == pytest.approx(5)
    assert found.shares["neutral"] == 1


def test_names_of_videos_are_exact(tmp_path: Path) -> None:
    name = 'films/a "b",\nc \\u005c \u2028.mp4'
    results = [frame(index, {0: "fear"}, source=name) for index in range(3)]
    assert [each.source for each in read_table(write(tmp_path / "t.csv", results))] == [name]


def test_classes_of_another_model(tmp_path: Path) -> None:
    calm = Expression(np.array([0.7, 0.3], np.float32), ("calm", "x"))
    results = [
        FrameResult("v", index, index / 25, 9, 9, (Face(np.array([0, 0, 5, 5]), 0.9, track=0, expression=calm),))
        for index in range(30)
    ]
    with open_table(tmp_path / "t.csv", ("calm", "x")) as table:
        for each in results:
            table.write(each)
    (found,) = summaries(read_table(tmp_path / "t.csv"))
    assert found.shares == {"calm": 1.0, "x": 0.0}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "it has no column source, timestamp, face, emotion"),
        ("a.csv", "", "it has no column"),
        ("a.csv", "source,timestamp,face,anger,emotion\nv,abc,0,1,anger\n", "row 1: could not convert"),
        ("a.csv", "source,timestamp,face,anger,emotion\na.jpg,,0,1,anger\n", "no frames of a video"),
        ("a.jsonl", "{not json}\n", "is not JSON lines"),
        ("a.jsonl", "[1, 2]\n", "its lines are no objects"),
        ("a.parquet", "PAR?", "is not a Parquet file"),
        ("a.xlsx", "", "expected the suffix .csv, .jsonl or .parquet, found '.xlsx'"),
    ],
)
def test_what_is_no_table_of_a_video(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert message in str(caught.value)


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is not text in UTF-8"):
        read_table(tmp_path / "b.csv")


# --- files


class _Page(HTMLParser):
    """The tags of a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and value]


def test_a_page_holds_everything_and_loads_nothing(astronaut: Path) -> None:
    pixels = np.array(Image.open(astronaut).convert("RGB").resize((200, 100)))
    results = [frame(index, {0: "happiness", 1: "fear"}, pixels=pixels) for index in range(50)]
    text = page(recordings(results))
    found = _Page()
    found.feed(text)
    assert found.tags.count("image") == 2  # a face each
    assert found.tags.count("script") == 0
    assert all(each.startswith(("data:image/jpeg", "#")) for each in found.loads)
    assert "person 0" in text
    assert "happiness 100%" in text


def test_names_cannot_break_a_page() -> None:
    results = [frame(index, {0: "fear"}, source="<script>alert(1)</script>\x1b.mp4") for index in range(5)]
    text = page(recordings(results))
    assert "<script" not in text
    assert "\x1b" not in text


def test_an_image_shows_the_colours_where_the_emotions_are() -> None:
    """Person 0: neutral, from 40% of the time happy."""
    found = recordings(talk())
    height, _ = timeline(found)
    pixels = image(found)
    assert pixels.shape == (2 * height, 2 * 1240, 3)
    row = pixels[2 * (44 + 44 + 14 + 35)]  # the middle of the first chart
    chart = slice(2 * 316, 2 * (1240 - 42))

    def share(name: str) -> float:
        return float((np.abs(row[chart].astype(int) - COLOURS[name]).max(axis=1) < 25).mean())

    assert share("neutral") == pytest.approx(0.4, abs=0.02)
    assert share("happiness") == pytest.approx(0.6, abs=0.02)


def test_many_people_and_a_long_name_fit() -> None:
    results = [frame(index, dict.fromkeys(range(30), "neutral"), source="x" * 300 + ".mp4") for index in range(3)]
    found = recordings(results)
    assert "the 24 who are seen longest are shown" in page(found)
    assert image(found).shape[1] == 2 * 1240


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_the_output_of_an_analysis(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"t{suffix}"
    with Timeline(target) as output:
        for each in talk():
            output.write(each)
    assert target.read_bytes()[:4] in (b"<!do", b"\x89PNG")
    assert not list(tmp_path.glob("*.partial"))


def test_what_there_is_is_drawn_after_an_interruption(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Timeline(tmp_path / "t.html") as output:  # noqa: PT012
        output.write(talk()[0])
        raise KeyboardInterrupt
    assert "talk.mp4" in (tmp_path / "t.html").read_text()


@pytest.mark.parametrize("name", ["t.pdf", "t", "t.svg", "t.csv"])
def test_a_format_that_there_is_not(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected the suffix \.html or \.png"):
        Timeline(name)


def test_images_alone_have_no_timeline(tmp_path: Path) -> None:
    with Timeline(tmp_path / "t.png") as output:
        output.write(FrameResult("a.jpg"))
    assert not output.has_frames
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (4.24, "4.2 s"), (9.99, "10.0 s"), (42, "0:42"), (3723, "1:02:03")]
)
def test_times_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text.replace(".0 s", " s")


# --- the command


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", talk())
    done = CliRunner().invoke(build_app(), ["report", str(table), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert "films/talk.mp4: 0:20, 500 frames, 0% of them without a face" in done.output
    assert "60%" in done.output
    assert "sadness" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_report_agrees_with_the_timeline_of_the_same_analysis(tmp_path: Path, suffix: str) -> None:
    """The table has the raw probabilities only, which flicker; the timeline had the smoothed ones."""
    rng = np.random.default_rng(0)
    raw = [
        replace(each, faces=tuple(replace(face, expression=expression(rng.choice(EMOTIONS[:2]))) for face in each))
        for each in talk()[:150]
    ]
    smoother = TrackSmoother()
    calm = [result for each in raw for result in smoother.update(each)] + list(smoother.flush())
    (drawn,) = summaries(recordings(calm))[:1]
    table = write(tmp_path / f"t.{suffix}", raw)
    found = {}
    for seconds in (None, "0"):
        chosen = [] if seconds is None else ["--smooth", seconds]
        done = CliRunner().invoke(build_app(), ["report", str(table), "--json", *chosen])
        (video,) = json.loads(done.stdout)["videos"]
        found[seconds] = video["people"][0] | {"probabilities": video["probabilities"]}
    assert found[None]["shares"] == pytest.approx(drawn.shares)
    assert found[None]["means"] == pytest.approx(drawn.means, abs=1e-4)
    assert found[None]["changes_per_minute"] == pytest.approx(drawn.changes_per_minute)
    assert found[None]["probabilities"] == "smoothed along each track over 0.6 s"
    assert found["0"]["probabilities"] == "those of single frames"
    assert found["0"]["shares"] != pytest.approx(drawn.shares)
    saved = write(tmp_path / f"s.{suffix}", calm, smoothed=True)
    for words, said in (([], "smoothed along each track"), (["--smooth", "0"], "those of single frames")):
        done = CliRunner().invoke(build_app(), ["report", str(saved), "--json", *words])
        (video,) = json.loads(done.stdout)["videos"]
        assert video["probabilities"] == said
        assert video["people"][0]["shares"] == pytest.approx(found["0"]["shares"] if words else drawn.shares)


def test_the_command_gives_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(build_app(), ["report", str(write(tmp_path / "t.jsonl", talk())), "--json"])
    found = json.loads(done.stdout)
    (video,) = found["videos"]
    assert found["images"] is None
    assert (video["frames"], video["without_face"], video["error"]) == (500, 0, None)
    assert video["seconds"] == pytest.approx(20)
    people = video["people"]
    assert [each["track"] for each in people] == [0, 1]
    assert people[0]["shares"]["happiness"] == pytest.approx(0.6)
    assert people[0]["blinks_per_minute"] is None


def test_a_video_that_breaks_off_says_so(tmp_path: Path) -> None:
    broken = FrameResult("films/talk.mp4", 500, 20.0, 0, 0, error="the rest of it is damaged")
    nothing = FrameResult("films/no.mp4", 0, 0.0, 0, 0, error="is no video")
    table = write(tmp_path / "t.csv", [*talk(), broken, nothing])
    text = CliRunner().invoke(build_app(), ["report", str(table)]).output
    assert "films/talk.mp4: 0:20, 500 frames, 0% of them without a face" in text
    assert "films/talk.mp4: not all of it could be read: the rest of it is damaged" in text
    assert "films/no.mp4: could not be read: is no video" in text
    found = json.loads(CliRunner().invoke(build_app(), ["report", str(table), "--json"]).stdout)["videos"]
    assert [(each["frames"], each["error"]) for each in found] == [
        (500, "the rest of it is damaged"), (0, "is no video"),
    ]  # fmt: skip
    assert found[1]["people"] == []
    done = CliRunner().invoke(build_app(), ["report", str(table), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output


def test_rows_for_statistics(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", talk())
    rows = {}
    for name, bins in {"whole": [], "bins": ["--bins", "5"]}.items():
        out = tmp_path / f"{name}.csv"
        done = CliRunner().invoke(build_app(), ["report", str(table), "--smooth", "0", "--out", str(out), *bins])
        assert done.exit_code == 0, done.output
        with out.open(encoding="utf-8", newline="") as file:
            rows[name] = list(csv.DictReader(file))
    whole = rows["whole"]
    assert [(row["track"], row["emotion"], float(row["seen"])) for row in whole] == [
        ("0", "happiness", 20.0), ("1", "sadness", 11.0),
    ]  # fmt: skip
    assert float(whole[0]["share_happiness"]) == pytest.approx(0.6, abs=0.003)
    found = rows["bins"]
    assert [(row["track"], row["begin"], row["end"]) for row in found] == [
        (track, f"{begin:.1f}", f"{begin + 5:.1f}") for track in "01" for begin in (0, 5, 10, 15)
    ]
    assert [row["emotion"] for row in found] == [
        "neutral", "neutral", "happiness", "happiness", "", "sadness", "sadness", "sadness",
    ]  # fmt: skip
    assert [float(row["seen"]) for row in found] == pytest.approx([5, 5, 5, 5, 0, 5, 1, 5], abs=0.05)
    assert found[4]["mean_sadness"] == found[4]["valence"] == ""
    assert float(found[1]["share_neutral"]) == pytest.approx(0.6, abs=0.01)
    assert float(found[2]["mean_happiness"]) == pytest.approx(0.86, abs=0.001)
    assert float(found[2]["valence"]) > 0.4 > -0.4 > float(found[5]["valence"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bins", "10"], "--bins has no effect without rows"),
        (["--bins", "10", "--out", "r.html"], "--bins has no effect without rows"),
        (["--bins", "0", "--out", "r.csv"], "--bins: expected seconds from 0.01, got 0"),
        (["--out", "r.txt"], "no format"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, words: list[str], message: str) -> None:
    done = CliRunner().invoke(build_app(), ["report", str(write(tmp_path / "t.csv", talk())), *words])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_a_video_without_a_person_has_a_header(tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    heads = []
    for results in ([frame(0, {}), frame(1, {})], talk()):
        table = write(tmp_path / "t.csv", results)
        assert CliRunner().invoke(build_app(), ["report", str(table), "--out", str(out)]).exit_code == 0
        heads.append(out.read_text(encoding="utf-8").splitlines()[0])
    assert heads[0] == heads[1]


def test_images_have_no_rows_of_people(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [replace(frame(0, {0: "sadness"}), timestamp=None)])
    done = CliRunner().invoke(build_app(), ["report", str(table), "--out", str(tmp_path / "r.csv")])
    assert "no video" in str(done.exception)


def test_a_report_does_not_replace_its_table(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", talk())
    table.rename(tmp_path / "t.html")
    done = CliRunner().invoke(build_app(), ["report", str(tmp_path / "t.html"), "--out", str(tmp_path / "t.html")])
    assert done.exit_code != 0
    assert isinstance(done.exception, ConfigError)
    assert "would replace the table" in str(done.exception)


def test_a_person_in_one_frame_of_a_slow_table_is_seen_as_long_as_the_frame() -> None:
    slow = [replace(frame(index, {0: "neutral"}), timestamp=float(index)) for index in range(5)]
    slow[3] = replace(frame(3, {0: "neutral", 1: "sadness"}), timestamp=3.0)
    (recording,) = recordings(slow)
    assert [each.seconds for each in summaries([recording])] == pytest.approx([5, 1])
    assert recording.seconds == pytest.approx(5)


def test_the_results_of_json_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").write_text('{"schema": 1, "source": "a.jpg", "timestamp": null, "faces": []}\n')
    with pytest.raises(DataError, match="no column face, emotion") as caught:
        read_table(tmp_path / "o.jsonl")
    assert "--table" in (caught.value.hint or "")
