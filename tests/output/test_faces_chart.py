"""Reports of images: what is counted against tables whose truth is known, and the picture."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.output.test_timeline import frame, talk, write
from typer.testing import CliRunner

from mien.cli import build_app
from mien.errors import ConfigError
from mien.output.drawing.palette import COLOURS
from mien.output.drawing.shapes import WIDTH, Box
from mien.output.faces_chart import chart
from mien.output.photographs import MOST_PLACES, EmotionCount, Photographs, PhotographSummary
from mien.output.timeline.render import drawn, page
from mien.output.timeline.series import read_table
from mien.results import FrameResult


def photographs(folder: Path, suffix: str = "csv") -> Path:
    """Two happy faces in one image, a sad one in another, one without a face, one that cannot be read."""
    images = [
        frame(0, {0: "happiness", 1: "happiness"}, source="a.jpg"),
        frame(0, {0: "sadness"}, source="b.jpg"),
        frame(0, {}, source="c.jpg"),
        FrameResult("d.jpg", 0, None, 0, 0, (), error="damaged"),
    ]
    return write(folder / f"p.{suffix}", [replace(each, timestamp=None) for each in images])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_images_are_counted(tmp_path: Path, suffix: str) -> None:
    done = CliRunner().invoke(build_app(), ["report", str(photographs(tmp_path, suffix)), "--json"])
    found = json.loads(done.stdout)["images"]
    assert {key: found[key] for key in ("images", "unread", "without_face", "faces", "uncertain")} == {
        "images": 3,
        "unread": 1,
        "without_face": 1,
        "faces": 3,
        "uncertain": 0,
    }
    happy = found["emotions"]["happiness"]
    assert (happy["faces"], happy["images"]) == (2, 1)
    assert happy["share"] == pytest.approx(2 / 3)
    assert happy["mean"] == pytest.approx((2 * 0.86 + 0.02) / 3, abs=1e-4)
    assert sum(each["mean"] for each in found["emotions"].values()) == pytest.approx(1, abs=1e-4)


def test_the_command_prints_the_counts_of_images(tmp_path: Path) -> None:
    done = CliRunner().invoke(build_app(), ["report", str(photographs(tmp_path))])
    assert "3 images, 3 faces, 1 image without a face, 1 could not be read" in done.output
    assert "0 of 3 faces are uncertain" in done.output


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_the_picture_of_images(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"p{suffix}"
    done = CliRunner().invoke(build_app(), ["report", str(photographs(tmp_path)), "--out", str(out)])
    assert done.exit_code == 0, done.output
    if suffix == ".png":
        with Image.open(out) as image:
            assert image.width == 2 * WIDTH
            colours = {colour for _, colour in image.getcolors(1 << 24) or []}
        assert {COLOURS["happiness"], COLOURS["sadness"]} <= colours
        assert COLOURS["anger"] not in colours
    else:
        text = out.read_text(encoding="utf-8")
        assert "<td>happiness</td><td>2</td><td>66.7%</td>" in text
        assert "1 image without a face" in text
        assert "Shares of time" not in text
        assert "script" not in text


def test_a_table_without_a_face_has_nothing_to_draw(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [replace(frame(0, {}, source="c.jpg"), timestamp=None)])
    done = CliRunner().invoke(build_app(), ["report", str(table), "--out", str(tmp_path / "p.png")])
    assert isinstance(done.exception, ConfigError)
    assert "has nothing to draw" in str(done.exception)
    assert not (tmp_path / "p.png").exists()


def summary_of(places: int) -> PhotographSummary:
    found = Photographs()
    for number in range(places):
        row = {"source": f"{number}.jpg", "face": 0, "emotion": "happiness", "happiness": 0.9, "neutral": 0.1}
        valence = 0.8 - 0.4 * (number % 2)
        found.add_row(
            row | {"valence": valence, "arousal": 0.5, "uncertain": number % 2 == 1}, ("happiness", "neutral")
        )
    return found.summary()


def test_each_face_lies_at_its_valence_and_arousal() -> None:
    _, items = chart(summary_of(2))
    dots = [item for item in items if isinstance(item, Box) and "valence" in item.title]
    assert [dot.title for dot in dots] == [f"happiness, valence +0.{digit}0, arousal +0.50" for digit in "84"]
    axes = [item for item in items if isinstance(item, Box) and not item.title and 1 in (item.width, item.height)]
    middle = next(item.x for item in axes if item.width == 1), next(item.y for item in axes if item.height == 1)
    reach = next(item.width for item in axes if item.height == 1) / 2
    for dot, valence in zip(dots, (0.8, 0.4), strict=True):
        assert dot.x + dot.width / 2 == pytest.approx(middle[0] + 0.5 + valence * reach)
        assert dot.y + dot.height / 2 == pytest.approx(middle[1] + 0.5 - 0.5 * reach)
    assert dots[0].colour == COLOURS["happiness"] != dots[1].colour  # the second is uncertain


def test_a_chart_is_inside_its_picture_and_grows_with_the_classes() -> None:
    for found in (summary_of(3), replace(summary_of(3), places=())):
        height, items = chart(found)
        for item in items:
            if isinstance(item, Box):
                assert 0 <= item.x <= item.x + item.width <= WIDTH
                assert 0 <= item.y <= item.y + item.height <= height
    many = {f"class {number}": EmotionCount(1, 0.05, 0.05, 1) for number in range(20)}
    assert chart(replace(summary_of(3), emotions=many))[0] > height


def test_of_many_faces_some_are_drawn_and_all_counted() -> None:
    found = summary_of(3 * MOST_PLACES)
    assert MOST_PLACES / 2 <= len(found.places) <= MOST_PLACES
    assert found.faces == 3 * MOST_PLACES
    assert found.valence == pytest.approx(0.6)
    assert "places" not in found.as_dict()


def test_videos_and_images_of_one_table(tmp_path: Path) -> None:
    both = [*talk()[:50], replace(frame(0, {0: "sadness"}, source="b.jpg"), timestamp=None)]
    done = CliRunner().invoke(build_app(), ["report", str(write(tmp_path / "t.csv", both)), "--json"])
    found = json.loads(done.stdout)
    images = found["images"]
    assert [each["track"] for video in found["videos"] for each in video["people"]] == [0]
    assert (images["images"], images["faces"]) == (1, 1)


def test_videos_and_images_are_drawn_one_below_the_other(tmp_path: Path) -> None:
    both = [*talk()[:50], replace(frame(0, {0: "sadness"}, source="b.jpg"), timestamp=None)]
    table, heights = write(tmp_path / "t.csv", both), []
    images = Photographs()
    recordings = read_table(table, photographs=images)
    heights = [drawn(recordings)[0], drawn([], images.summary())[0], drawn(recordings, images.summary())[0]]
    assert heights[2] == heights[0] + heights[1]
    text = page(recordings, images.summary())
    assert "Shares of time" in text
    assert "Faces in images" in text
