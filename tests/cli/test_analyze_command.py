"""`mien analyze` as a person runs it: the real command on real files; a process of its own where that matters."""

import csv
import json
import math
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command as mien

from mien import emotions
from mien.results import AFFECT


def process(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture
def folder(tmp_path: Path, astronaut: Path) -> Path:
    """Good images in several formats, one without a face, and three that cannot be read."""
    place = tmp_path / "images"
    place.mkdir()
    image = Image.open(astronaut)
    image.save(place / "a1.png")
    image.convert("L").save(place / "a2.webp")
    image.save(place / "a10.bmp")
    Image.new("RGB", (120, 90), (90, 120, 90)).save(place / "b.jpg")
    (place / "c_empty.png").write_bytes(b"")
    (place / "d_cut.jpg").write_bytes(astronaut.read_bytes()[:9000])
    (place / "e_text.png").write_text("not a image", encoding="utf-8")
    return place


def test_one_photograph(astronaut: Path) -> None:
    result = mien("analyze", astronaut)
    assert result.returncode == 0
    header, row = result.stdout.splitlines()
    assert header.split()[:4] == ["image", "face", "emotion", "confidence"]
    assert "happiness" in row
    assert "1 image, 1 face" in result.stderr


def test_a_folder_with_bad_files_keeps_the_good_ones(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    result = process("analyze", folder, "--table", table)
    assert result.returncode == 3
    assert "3 failed" in result.stderr
    assert "Traceback" not in result.stderr
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [Path(row["source"]).name for row in rows]
    assert names == ["a1.png", "a2.webp", "a10.bmp", "b.jpg", "c_empty.png", "d_cut.jpg", "e_text.png"]
    assert [row["face"] for row in rows] == ["0", "0", "0", "", "", "", ""]
    assert [row["emotion"] for row in rows] == ["happiness"] * 3 + [""] * 4
    assert [bool(row["error"]) for row in rows] == [False] * 4 + [True] * 3
    for row in rows[:3]:
        total = sum(float(row[name]) for name in emotions.vocabulary(8))
        assert total == pytest.approx(1, abs=1e-5)
        assert row["uncertain"] in ("true", "false")
        assert math.isclose(float(row["confidence"]), float(row["happiness"]))


@pytest.mark.parametrize("size", [6, 7, 8, 10])
def test_columns_of_every_vocabulary(astronaut: Path, tmp_path: Path, size: int) -> None:
    table = tmp_path / "out.jsonl"
    assert mien("analyze", astronaut, "--emotions", size, "--table", table, "-q").returncode == 0
    (row,) = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    start = list(row).index("left_mouth_y") + 1
    assert tuple(list(row)[start : start + size]) == emotions.vocabulary(size)
    assert list(row)[start + size :] == ["emotion", "confidence", "uncertain", *AFFECT, "error", "note"]


def test_json_is_one_object_a_image(folder: Path) -> None:
    result = mien("analyze", folder, "--json")
    images = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(images) == 7
    assert images[0]["faces"][0]["emotion"] == "happiness"
    assert images[3]["faces"] == []
    assert "empty" in images[4]["error"]


def test_quiet_prints_errors_only(folder: Path, astronaut: Path) -> None:
    calm = mien("analyze", astronaut, "--quiet")
    assert (calm.stdout, calm.stderr, calm.returncode) == ("", "", 0)
    failing = mien("analyze", folder, "--quiet")
    assert failing.stdout == ""
    assert len(failing.stderr.splitlines()) == 3
    assert failing.returncode == 3


def test_piped_rows_are_never_cut(tmp_path: Path, astronaut: Path) -> None:
    deep = tmp_path / ("a_long_name_" * 9) / ("and_a_longer_one_" * 9)
    deep.mkdir(parents=True)
    target = deep / "astronaut.jpg"
    target.write_bytes(astronaut.read_bytes())
    result = mien("analyze", target, env={"COLUMNS": "40"})
    assert str(target) in result.stdout
    assert result.stdout.splitlines()[0].split()[4:12] == list(emotions.vocabulary(8))
    assert "\x1b" not in result.stdout


def test_a_terminal_row_fits_its_width(astronaut: Path) -> None:
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "mien", "analyze", str(astronaut)]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert process.wait(timeout=600) == 0
    lines = shown.decode().splitlines()
    assert any("happiness" in line for line in lines)
    assert max(map(len, lines)) <= 60


def test_annotated_images(folder: Path, tmp_path: Path, astronaut: Path) -> None:
    Image.open(astronaut).resize((1024, 660)).save(folder / "large.png")
    place = tmp_path / "seen"
    mien("analyze", folder, "--annotate", place, "-q")
    drawn = sorted(path.name for path in place.iterdir())
    assert len(drawn) == 5  # every image that could be read
    before = np.asarray(Image.open(folder / "large.png").convert("RGB"), np.int16)
    after = np.asarray(Image.open(place / "large.annotated.png").convert("RGB"), np.int16)
    assert after.shape == before.shape
    changed = np.abs(after - before).max(axis=2) > 8
    assert 0.01 < changed.mean() < 0.5


def test_annotated_images_keep_the_subfolders_of_a_folder(tmp_path: Path, astronaut: Path) -> None:
    photos, place = tmp_path / "photos", tmp_path / "seen"
    for name in ("a", "b"):
        (photos / name).mkdir(parents=True)
        (photos / name / "x.jpg").write_bytes(astronaut.read_bytes())
    for inputs in ([photos], [photos / "a", photos / "b"], [photos / "?"]):
        mien("analyze", *inputs, "--annotate", place, "-q")
        drawn = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.*"))
        assert drawn == ["a/x.annotated.jpg", "b/x.annotated.jpg"]


def test_crops(tmp_path: Path, astronaut: Path) -> None:
    crop = tmp_path / "crop.png"
    Image.open(astronaut).crop((165, 65, 285, 205)).save(crop)
    result = mien("analyze", crop, "--faces-are-crops", "--json")
    (face,) = json.loads(result.stdout)["faces"]
    assert face["emotion"] == "happiness"
    assert face["box"] == [0, 0, 120, 140]


def test_a_glob_and_a_missing_path(folder: Path) -> None:
    result = mien("analyze", f"{folder}/a*.png", "missing.jpg")
    assert result.returncode == 3
    assert len(result.stdout.splitlines()) == 3
    assert "missing.jpg" in result.stderr
    assert "1 image, 1 face, 1 failed" in result.stderr


@pytest.mark.parametrize("names", [["typo.jpg"], ["typo.jpg", "other.mp4"], ["*.tiff"]], ids=str)
def test_names_that_do_not_exist_leave_older_files_alone(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "keep.csv").write_text("176 rows")
    result = mien("analyze", *names, "--table", "keep.csv", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    told = [f"no file matches '{name}'" if "*" in name else f"'{name}' does not exist" for name in names]
    assert result.stderr.splitlines() == [f"error: {line}" for line in told]
    assert [path.name for path in tmp_path.iterdir()] == ["keep.csv"]
    assert (tmp_path / "keep.csv").read_text() == "176 rows"


def test_images_of_which_none_can_be_read_leave_an_older_table_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "keep.csv").write_text("176 rows")
    result = mien("analyze", "a.jpg", "--table", "keep.csv", cwd=tmp_path)
    assert result.returncode == 3
    assert "there is no result, so 'keep.csv' stays as it was" in result.stderr
    assert "written" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "keep.csv"]
    assert (tmp_path / "keep.csv").read_text() == "176 rows"


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, astronaut: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(astronaut.read_bytes())
    result = mien("analyze", "", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert "error: the path is empty" in result.stderr


def test_rows_of_longer_names_stand_under_the_header(tmp_path: Path, astronaut: Path) -> None:
    names = ["a.jpg", "b_with_a_longer_name.jpg", "c_with_a_name_that_is_the_longest_of_them_all.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(astronaut.read_bytes())
    head, *rows = mien("analyze", *names, cwd=tmp_path).stdout.splitlines()
    assert {row.index("happiness") for row in rows} == {head.index("emotion")}
    assert len({len(row) for row in [head, *rows]}) == 1


def test_a_huge_picture_is_refused(tmp_path: Path) -> None:
    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png")
    result = mien("analyze", tmp_path / "huge.png")
    assert result.returncode == 3
    assert "pixels" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--emotions", "9"], 2, "6, 7, 8, 10"),
        (["--detector", "nose"], 2, "hog"),
        (["--model", "best"], 2, "there is no model"),
        (["--model", "missing.onnx"], 5, "no such weights"),
        (["--table", "out.xls"], 2, ".csv"),
        (["--table", "missing/out.csv"], 7, "missing"),
        (["--min-score", "2"], 2, "min-score"),
        (["--nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    astronaut: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    result = mien("analyze", astronaut, *arguments, cwd=tmp_path)
    assert result.returncode == code
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_swapped_weight_file_is_refused(astronaut: Path, tmp_path: Path) -> None:
    fake = tmp_path / "fake.onnx"
    fake.write_bytes(b"\x08\x09 no network")
    result = mien("analyze", astronaut, "--model", fake)
    assert result.returncode == 5
    assert "is not an ONNX network" in result.stderr


def test_a_reader_who_leaves_gets_no_complaint(folder: Path) -> None:
    command = f"{sys.executable} -m mien analyze {folder}/a1.png | head -c 5"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=600)
    assert result.stdout == "image"
    assert "Traceback" not in result.stderr
    assert "rror" not in result.stderr


def test_help_and_version() -> None:
    assert process("--version").stdout.strip() == "0.1.0"
    shown = mien("--help").stdout
    for command in ("analyze", "data", "train", "evaluate", "export"):
        assert command in shown
