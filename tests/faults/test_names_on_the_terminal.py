"""No name of a file or a class ends a command, breaks a table or reaches a terminal as a command."""

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

import mien as package
from mien.datasets.store import load
from mien.media import read_frames
from mien.names import from_cell, printable, to_cell, to_json
from mien.output import open_table, to_pandas
from mien.output.console import ConsoleTable, JsonLines
from mien.results import Expression, Face, FrameResult

# Names that file systems allow: other scripts, line breaks, tabs, quotes, the escape sequences of terminals and the
# markup of rich, characters that reorder text, and bytes that are not UTF-8.
NAMES = [
    "한국어.png",
    "ünï😀.png",
    "new\nline.png",
    "tab\tand\rreturn.png",
    'quote",comma.png',
    "\x1b[31mred\x1b[0m.png",
    "[bold]x[.png",
    "back\\udcffslash.png",
    "left\u202egnp.png",
    os.fsdecode(b"caf\xe9\xff.png"),
]


def mien(*arguments: object, encoding: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """The command as with a redirected standard output of that encoding."""
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(command, capture_output=True, timeout=600, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    """A photograph under each name, and two files that are no images."""
    place = tmp_path_factory.mktemp("named") / "images"
    place.mkdir()
    Image.open(astronaut).save(place / "a.png")
    for name in NAMES:
        try:
            shutil.copy(place / "a.png", place / name)
        except OSError:  # the file system refuses the name
            pytest.skip(f"there can be no file {name!r} here")
    (place / "a.png").unlink()
    (place / os.fsdecode(b"broken\xff.png")).write_text("no image")
    (place / "e\nrror: 깨진.png").write_text("no image")
    return place


def test_the_table_for_people_shows_every_name_on_its_line(folder: Path) -> None:
    encoding = "cp1252"
    result = mien("analyze", folder.name, encoding=encoding, cwd=folder.parent)
    assert result.returncode == 3, result.stderr.decode("utf-8", "replace")
    lines = result.stdout.decode(encoding).splitlines()
    assert len(lines) == 1 + len(NAMES) + 2
    assert sum("happiness" in line for line in lines[1:]) == len(NAMES)
    errors = result.stderr.decode(encoding).splitlines()
    assert len(errors) == 3  # two errors and the counts
    assert "12 images, 10 faces, 2 failed" in errors[-1]
    assert not any(byte < 32 and byte not in b"\r\n" for byte in result.stdout + result.stderr)


def test_printed_json_is_exact(folder: Path) -> None:
    result = mien("analyze", folder.name, "--json", encoding="utf-8:strict", cwd=folder.parent)
    lines = result.stdout.decode("utf-8").splitlines()
    found = {os.path.basename(json.loads(line)["source"]) for line in lines}
    assert found == set(os.listdir(folder))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_json_for_programs_is_exact_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", newline="")
    monkeypatch.setattr(sys, "stdout", stream)
    with JsonLines() as lines:
        for name in NAMES:
            lines.write(FrameResult(name))
    stream.flush()
    content = stream.buffer.getvalue()
    assert [json.loads(line)["source"] for line in content.decode("utf-8").splitlines()] == NAMES


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_files_keep_the_exact_name(folder: Path, tmp_path: Path, suffix: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / f"out.{suffix}"
    with open_table(path, package.emotions.vocabulary(7)) as table:
        for result in read_frames(sorted(folder.iterdir())):
            table.write(result if isinstance(result, FrameResult) else FrameResult(result.source))
    if suffix == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            names = [from_cell(row["source"]) for row in csv.DictReader(file)]
    elif suffix == "jsonl":
        names = [json.loads(line)["source"] for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        names = [from_cell(cell) for cell in parquet.read_table(path).column("source").to_pylist()]
    assert {os.path.basename(name) for name in names} == set(os.listdir(folder))
    assert all(os.path.exists(name) for name in names)  # the files can be opened


def test_annotated_images_keep_their_names_without_a_standard_output(folder: Path, tmp_path: Path) -> None:
    one = tmp_path / os.fsdecode(b"caf\xe9\n[red].png")
    shutil.copy(folder / NAMES[0], one)
    out = tmp_path / os.fsdecode("[red]그림".encode() + b"\xff")
    command = f'"{sys.executable}" -m mien analyze "$0" --annotate "$1" >&-'
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    result = subprocess.run(["sh", "-c", command, one, out], capture_output=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stderr
    assert os.listdir(out) == [one.stem + ".annotated.png"]
    assert b"[red]\\uadf8\\ub9bc" in result.stderr  # brackets are no markup


def test_pandas_keeps_the_exact_name() -> None:
    pytest.importorskip("pandas")
    table = to_pandas([FrameResult(name) for name in NAMES])
    assert [from_cell(source) for source in table["source"]] == NAMES


def test_a_csv_row_with_any_line_break_is_one_row(tmp_path: Path) -> None:
    names = ["a\nb", "a\rb", "a\r\nb", "\r", "\n", '"', "a\u2028b", "a\x85b"]
    with open_table(tmp_path / "out.csv", package.emotions.vocabulary(7)) as table:
        for name in names:
            table.write(FrameResult(name))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["source"] for row in csv.DictReader(file)] == names


@pytest.mark.parametrize("name", [*NAMES, "\\u005c", "\\u005cudcff", "\\\\udcff", "\ud800", ""])
def test_cells_and_json_give_the_name_back(name: str) -> None:
    cell = to_cell(name)
    cell.encode("utf-8")
    assert from_cell(cell) == name
    for encoding in ("utf-8", "cp1252", None):
        text = to_json({name: [name]}, encoding=encoding)
        text.encode(encoding or "ascii")
        assert json.loads(text) == {name: [name]}
        assert printable(text) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "--model", os.fsdecode(b"\xff\n\x1b[31m.onnx"), "x.png"],
        ["명령"],
    ],
)
def test_errors_name_what_was_typed(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    result = mien(*arguments, encoding="ascii:strict", cwd=tmp_path)
    assert result.returncode in (2, 3, 5, 7)
    assert b"Traceback" not in result.stderr
    assert b"\\u" in result.stderr
    assert b"\x1b" not in result.stderr


def test_help_in_ascii(tmp_path: Path) -> None:
    result = mien("analyze", "--help", encoding="ascii:strict", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_terminal_gets_no_control_characters(folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mien", "analyze", str(folder), "--table", "-"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # at its end
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait(timeout=600) == 3
    text = shown.decode("utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text.splitlines()) == 1 + len(NAMES) + 2


def test_columns_are_aligned_by_the_cells_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    reading = Expression(np.array([0.9, 0.1], np.float32), ("행복", "sad\x1b"))
    face = Face(np.array([0, 0, 9, 9], np.float32), 0.9, expression=reading)
    with ConsoleTable(reading.emotions) as table:
        for name in ("한국어.png", "korean.png", "new\nline.png"):
            table.write(FrameResult(name, width=9, height=9, faces=(face,)))
    head, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert len({cell_len(row[: row.index("행복")]) for row in rows}) == 1
    assert len({cell_len(row) for row in [head, *rows]}) == 1
    assert "sad\\x1b" in head


def test_data_sets_with_any_names_are_built_and_shown(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode("자료".encode() + b"\xff")
    for name in ("행복", "슬픔"):
        (root / name).mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng(number + len(str(root / name))).integers(0, 256, (24, 24), np.uint8)
            Image.fromarray(noise).save(root / name / os.fsdecode(f"{name}{number}".encode() + b"\xff.png"))
    (root / "행복" / os.fsdecode(b"broken\xff.png")).write_text("no image")
    (root / "행복" / "clip.mp4").write_text("a video")
    report, store = (tmp_path / os.fsdecode(name) for name in (b"report\xff.csv", b"store\xff.h5"))
    arguments = ["data", "build", "folder", root, "--classes", "own", "--report", report, "--out", store]
    built = mien(*arguments, encoding="ascii:strict", cwd=tmp_path)
    assert built.returncode == 3, built.stderr.decode()  # one image cannot be read
    assert b"\\ud589\\ubcf5" in built.stdout  # the class
    assert b"passed over: 1 video (.mp4)" in built.stderr
    with report.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == "행복/broken\\udcff.png"
    assert load(store).classes == ("슬픔", "행복")
