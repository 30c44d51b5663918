"""`mien analyze --boxes`: faces whose places another program, a data set or an earlier analysis knows."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.conftest import ROOT
from tests.videos import write_video

import mien
from mien.analyzer import Analyzer
from mien.analyzer.known import read_boxes
from mien.errors import ConfigError, DataError
from mien.results import Face, Frame

PORTRAIT = ROOT / "examples" / "astronaut.jpg"
BOX = (180, 54, 271, 178)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `images` with the portrait twice, and an image with two faces in a folder below it."""
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)
    shutil.copy(PORTRAIT, images / "a.jpg")
    shutil.copy(PORTRAIT, images / "b.jpg")
    with Image.open(PORTRAIT) as image:
        both = Image.new("RGB", (1024, 512))
        both.paste(image, (0, 0))
        both.paste(image, (512, 0))
    both.save(images / "more" / "two.png")
    return tmp_path


def table(path: Path, head: str, *lines: str) -> Path:
    path.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    return path


def analyze(*words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return run_command("analyze", *map(str, words), "--model", "mien-s", cwd=cwd)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_the_faces_of_a_table_are_classified_in_its_order(folder: Path) -> None:
    table(
        folder / "boxes.csv",
        "file,x,y,width,height",
        "images/more/two.png,692,54,91,124",
        "images/more/two.png,180,54,91,124",
        "images/a.jpg,180,54,91,124",
    )
    done = analyze("images", "--boxes", "boxes.csv", "--table", "faces.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 input not in boxes.csv: no faces; the first is 'images/b.jpg'" in done.stderr
    found = [(row["source"], row["x0"], row["x1"]) for row in rows(folder / "faces.csv")]
    two = [("images/more/two.png", "692.0", "783.0"), ("images/more/two.png", "180.0", "271.0")]
    assert found == [("images/a.jpg", "180.0", "271.0"), ("images/b.jpg", "", ""), *two]
    alone = mien.classify(PORTRAIT, BOX, classifier="mien-s")[0]
    assert alone.emotions is not None
    happy = [float(row["happiness"]) for row in rows(folder / "faces.csv") if row["x0"]]
    assert happy == pytest.approx([alone.emotions["happiness"]] * 3, abs=0.02)


def test_a_table_of_mien_is_classified_again_without_naming_the_images(folder: Path) -> None:
    assert analyze("images", "--table", "first.csv", cwd=folder).returncode == 0
    done = analyze("--boxes", "first.csv", "--table", "again.csv", "--emotions", "7", cwd=folder)
    assert done.returncode == 0, done.stderr
    first, again = rows(folder / "first.csv"), rows(folder / "again.csv")
    names = ("source", "face", "x0", "y0", "x1", "y1", "score")
    assert [[row[name] for name in names] for row in again] == [[row[name] for name in names] for row in first]
    assert "contempt" in first[0]
    assert "contempt" not in again[0]


def test_paths_from_the_folder_of_the_table_and_the_ends_of_paths(folder: Path) -> None:
    lists = folder / "lists"
    lists.mkdir()
    table(lists / "boxes.csv", "Image,XMin,YMin,XMax,YMax", "../images/a.jpg,180,54,271,178", "b.jpg,180,54,271,178")
    known = read_boxes(lists / "boxes.csv")
    sources = [str(folder / "images" / name) for name in ("a.jpg", "b.jpg", "more/two.png")]
    known.match(sources)
    images = [Frame(np.zeros((512, 512, 3), np.uint8), source) for source in sources]
    found = [frame.faces for frame in known.of(images) if isinstance(frame, Frame)]
    assert [len(faces or ()) for faces in found] == [1, 1, 0]
    assert known.unlisted == [sources[2]]
    assert known.left == 0
    assert [Path(file).name for file in known.files()] == ["a.jpg", "b.jpg"]
    assert Path(known.files()[0]).is_file()


def test_one_name_for_two_images_is_refused(folder: Path) -> None:
    shutil.copy(PORTRAIT, folder / "images" / "more" / "a.jpg")
    known = read_boxes(table(folder / "boxes.csv", "file,left,top,right,bottom", "a.jpg,180,54,271,178"))
    with pytest.raises(ConfigError, match=r"'a.jpg' is the name of .*a.jpg' and of .*a.jpg'"):
        known.match([str(folder / "images" / "a.jpg"), str(folder / "images" / "more" / "a.jpg")])
    with pytest.raises(ConfigError, match="names none of the inputs"):
        read_boxes(folder / "boxes.csv").match([str(folder / "images" / "b.jpg")])


def test_a_box_outside_its_image_does_not_lose_the_others(folder: Path) -> None:
    lines = ("images/a.jpg,1180,54,91,124", "images/a.jpg,180,54,91,124")
    table(folder / "boxes.csv", "source,x,y,w,h", *lines)
    done = analyze("--boxes", "boxes.csv", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 face of boxes.csv lies outside the 512 x 512 pixels" in done.stderr
    assert [face["box"] for face in json.loads(done.stdout)["faces"]] == [list(map(float, BOX))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg,180,54,271,", "row 1: expected numbers, got 180, 54, 271, nan"),
        ("a.jpg,271,54,180,178", "row 1: expected x0 < x1 and y0 < y1, got 271, 54, 180, 178"),
        ("a.jpg,0.1,0.1,0.4,0.6", "is a pixel at most"),
        ("a.jpg,ten,54,180,178", "row 1: could not convert"),
        (",180,54,271,178", "row 1: file is empty"),
    ],
)
def test_a_row_that_is_no_box_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(table(tmp_path / "boxes.csv", "file,x0,y0,x1,y1", line))


def test_a_table_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no boxes of faces: its columns are file, label"):
        read_boxes(table(tmp_path / "boxes.csv", "file,label", "a.jpg,happy"))


def test_options_that_find_faces_are_refused(folder: Path) -> None:
    table(folder / "boxes.csv", "file,x,y,w,h", "images/a.jpg,180,54,91,124")
    for option in (("--detector", "haar"), ("--largest-only",), ("--faces-are-crops",), ("--detect-every", "1")):
        done = analyze("images", "--boxes", "boxes.csv", *option, cwd=folder)
        assert done.returncode == 2
        assert f"{option[0]} has no effect with --boxes" in done.stderr


def test_the_faces_of_a_video_keep_their_frames_and_tracks(tmp_path: Path) -> None:
    with Image.open(PORTRAIT) as image:
        write_video(tmp_path / "a.mp4", [np.array(image.convert("RGB"))] * 6)
    box = ",".join(map(str, BOX))
    table(tmp_path / "boxes.csv", "file,frame,track,x0,y0,x1,y1", f"a.mp4,1,7,{box}", f"a.mp4,4,7,{box}")
    done = analyze("a.mp4", "--boxes", "boxes.csv", "--table", "faces.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [(row["frame"], row["track"], row["emotion"]) for row in rows(tmp_path / "faces.csv")]
    known = {1: ("7", "happiness"), 4: ("7", "happiness")}
    assert found == [(str(frame), *known.get(frame, ("", ""))) for frame in range(6)]


def test_frames_with_faces_in_a_stream() -> None:
    with Image.open(PORTRAIT) as image:
        pixels = np.array(image.convert("RGB"))
    analyzer = Analyzer(classifier="mien-s")
    known = (Face(np.array(BOX, np.float32), 0.7, track=3),)
    given, none, found = analyzer.stream(
        [
            Frame(pixels, "a", faces=known),
            Frame(pixels, "a", faces=()),
            Frame(pixels, "a"),
        ]
    )
    assert [face.box.tolist() for face in given] == [list(map(float, BOX))]
    assert (given[0].track, given[0].score, given[0].emotion) == (3, 0.7, "happiness")
    assert not none
    assert len(found) == 1
    with pytest.raises(TypeError, match="write Face"):
        Frame(pixels, "a", faces=(BOX,))  # type: ignore[arg-type]
