"""Faces that `mien personalise` cannot learn from: each mistake has a message that says what to do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.conftest import ROOT
from tests.drawn import draw_face

from mien.assets.manifest import model_info
from mien.faces.align import Aligner
from mien.output.schema import BOX
from mien.personalise.faces import read_faces
from mien.results import LANDMARKS

WHOLE = ("--detector", "whole-image")
PORTRAIT = ROOT / "examples" / "astronaut.jpg"
CLASSES = model_info("mien-m").heads[0].emotions
SPEC = model_info("mien-m").crop_spec


def write_faces(folder: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw_face("happiness", np.random.default_rng(number))).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "code", "said"),
    [
        ({"happy": 4}, 4, ["expected faces of at least two emotions, found one: happiness 4", "add another emotion"]),
        ({"neutral": 4}, 4, ["found one: neutral 4", "--neutral"]),
        ({"happy": 1, "sad": 1}, 4, ["at least 2 faces of each emotion", "happiness 1, sadness 1"]),
        ({"happy": 3, "sad": 1}, 4, ["too few of sadness"]),
        ({"happy": 3, "sad": 1, "angry": 1}, 4, ["too few of anger, sadness"]),
        ({"happy": 2, "jubilant": 2}, 4, ["the model does not know 'jubilant'", "--map NAME=EMOTION"]),
        ({"0": 2, "1": 2}, 4, ["are numbers", "--numbers"]),
        ({}, 3, ["no such file or folder"]),
    ],
)
def test_folders_that_teach_nothing(counts: dict[str, int], code: int, said: list[str], tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces", counts)
    done = run_command("personalise", folder, "--out", tmp_path / "me.onnx", *WHOLE)
    assert done.returncode == code, done.stderr
    for words in said:
        assert words in done.stderr
    assert not (tmp_path / "me.onnx").exists()


def test_an_emotion_with_a_single_face_is_left_out(tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces", {"happy": 3, "sad": 3, "angry": 1})
    done = run_command("personalise", folder, "--out", tmp_path / "me.onnx", "--force", *WHOLE)
    assert done.returncode == 3, done.stderr
    assert "left out: angry/0.png: is the only face of anger" in done.stderr.replace("\n", " ")
    assert "faces: 6 (3 happiness, 3 sadness)" in done.stdout
    assert (tmp_path / "me.onnx").exists()


def test_neutral_faces_must_be_there_for_the_baseline(tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces", {"happy": 3, "sad": 3})
    done = run_command("personalise", folder, "--out", tmp_path / "me.onnx", "--neutral", *WHOLE)
    assert done.returncode == 4
    assert "--neutral needs at least 2 neutral faces, found 0" in done.stderr


@pytest.mark.parametrize("name", ["me.pt", "me", "me.onnx/"])
def test_names_that_are_no_model(name: str, tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces", {"happy": 2, "sad": 2})
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    done = run_command("personalise", folder, "--out", tmp_path / name, *WHOLE)
    assert done.returncode in (2, 7), done.stderr
    assert ".onnx" in done.stderr


def test_images_without_a_face_are_left_out_and_several_faces_are_noted(tmp_path: Path) -> None:
    with Image.open(PORTRAIT) as image:
        whole = image.convert("RGB")
    happy = tmp_path / "faces" / "happy"
    happy.mkdir(parents=True)
    whole.save(happy / "one.png")
    both = Image.new("RGB", (whole.width * 3 // 2, whole.height))
    both.paste(whole, (0, 0))
    both.paste(whole.resize((whole.width // 2, whole.height // 2)), (whole.width, 0))
    both.save(happy / "two.png")
    Image.new("RGB", (200, 200), (90, 120, 200)).save(happy / "sky.png")
    (happy / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    found = read_faces(tmp_path / "faces", SPEC, CLASSES)
    assert found.labels == ["happiness"] * 2
    assert dict(found.left_out)["happy/sky.png"] == "no face was found"
    assert "happy/broken.png" in dict(found.left_out)
    assert any("1 images show several faces; the largest was taken: happy/two.png" in note for note in found.notes)
    np.testing.assert_allclose(found.crops[0].astype(float).mean(), found.crops[1].astype(float).mean(), atol=12)


def write_list(folder: Path, rows: list[str]) -> Path:
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(draw_face("happiness", np.random.default_rng(number))).save(folder / f"{number}.png")
    (folder / "label.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


HAPPY, SAD = "0,9,0,0,0,0,0,0,0,0", "0,0,0,9,0,0,0,0,0,0"


def test_a_header_of_a_list_of_votes_is_noted(tmp_path: Path) -> None:
    head = "name,box,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    folder = write_list(tmp_path / "list", [head, f'0.png,"(0, 0, 48, 48)",{HAPPY}', f'1.png,"(0, 0, 48, 48)",{SAD}'])
    found = read_faces(folder, SPEC, CLASSES)
    assert found.labels == ["happiness", "sadness"]
    assert any("line 1 is a header" in note for note in found.notes)


def test_a_header_that_names_the_columns_is_read(tmp_path: Path) -> None:
    folder = write_list(tmp_path / "list", ["emotion;image", "Happy;0.png", "sad;1.png", ";2.png"])
    found = read_faces(folder, SPEC, CLASSES, detector=None)
    assert len(found.labels) + len(found.left_out) == 2  # drawn faces may not be found; the empty row is no label


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("(60, 60, 90, 90)", "outside of the image of 48x48 pixels"),
        ("(40, 0, 10, 48)", "outside of the image of 48x48 pixels"),
        ("0 0 48 48", "expected '(left, top, right, bottom)'"),
    ],
)
def test_a_wrong_box_loses_its_row_alone(box: str, reason: str, tmp_path: Path) -> None:
    rows = [f'0.png,"{box}",{HAPPY}', f'1.png,"(0, 0, 48, 48)",{SAD}', f'2.png,"(0, 0, 48, 48)",{HAPPY}']
    found = read_faces(write_list(tmp_path / "list", rows), SPEC, CLASSES)
    assert found.labels == ["sadness", "happiness"]
    ((where, why),) = found.left_out
    assert where == "label.csv, line 1: 0.png"
    assert reason in why


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "is empty"),
        (["0.png,happy,extra"], "line 1 has 3 cells"),
        (["image,emotion", "0.png,jubilant"], "does not know 'jubilant'"),
    ],
)
def test_lists_of_another_form(rows: list[str], said: str, tmp_path: Path) -> None:
    folder = write_list(tmp_path / "list", rows)
    if not rows:
        (folder / "label.csv").write_text("")
    done = run_command("personalise", folder, "--out", tmp_path / "me.onnx", *WHOLE)
    assert done.returncode == 4, done.stderr
    assert said in done.stderr


def test_frames_of_videos_are_left_out(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("source,frame,timestamp,emotion\nclip.mp4,3,0.1,happiness\n", encoding="utf-8")
    found = read_faces(table, SPEC, CLASSES)
    assert found.labels == []
    assert found.left_out == [
        ("faces.csv, line 2: clip.mp4", "is a frame of a video; save it as an image first"),
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("0.1,0,0.4,48" + "," * 10, "its box holds no pixel"),
        ("0,0,48,48" + ",nan,1,2,1,2,2,1,3,2,3", "its landmarks are not those of a face"),
        ("0,0,48,48" + ",0" * 10, "its landmarks are not those of a face"),
    ],
)
def test_a_row_of_a_table_that_shows_no_face_loses_itself_alone(cells: str, reason: str, tmp_path: Path) -> None:
    folder = write_list(tmp_path / "list", [])
    points = ",".join(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")
    rows = [f"source,emotion,{','.join(BOX)},{points}", f"0.png,happiness,{cells}"]
    rows += [f"{number}.png,{emotion},0,0,48,48{',' * 10}" for number, emotion in ((1, "sadness"), (2, "happiness"))]
    (folder / "faces.csv").write_text("\n".join(rows), encoding="utf-8")
    found = read_faces(folder / "faces.csv", SPEC, CLASSES)
    assert found.labels == ["sadness", "happiness"]
    assert found.left_out == [("faces.csv, line 2: 0.png", reason)]


def test_faces_are_cropped_as_the_analyzer_crops_them(tmp_path: Path) -> None:
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    (tmp_path / "faces" / "happy" / "a.jpg").write_bytes(PORTRAIT.read_bytes())
    found = read_faces(tmp_path / "faces", SPEC, CLASSES)
    with Image.open(PORTRAIT) as image:
        largest = Aligner(crop_specs=[SPEC]).largest(np.asarray(image.convert("RGB")))
    assert largest is not None
    np.testing.assert_array_equal(found.crops[0], largest[0])
