"""`mien analyze` and its outputs as a person runs them: standard input and output, styles, overlays, a full disk."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.commands import run_binary

from mien import emotions

PROGRAM = (sys.executable, "-m", "mien", "analyze")


def analyze(
    *arguments: object, stdin: bytes | Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """In a process of its own if it has standard input."""
    if stdin is None:
        return run_binary("analyze", *arguments, cwd=cwd)
    given: dict[str, Any] = {"stdin": stdin.open("rb")} if isinstance(stdin, Path) else {"input": stdin}
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, timeout=600, **given)


def test_a_picture_from_a_pipe_and_from_a_file(astronaut: Path) -> None:
    for stdin in (astronaut.read_bytes(), astronaut):
        result = analyze("-", "--json", stdin=stdin)
        assert result.returncode == 0, result.stderr
        image = json.loads(result.stdout)
        assert (image["schema"], image["source"], image["note"]) == (1, "stdin", None)
        assert image["faces"][0]["emotion"] == "happiness"


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "'stdin' is empty: 0 bytes"), (b"hello, world\n" * 99, "'stdin' is not an image")]
)
def test_standard_input_that_is_no_image(content: bytes, said: str) -> None:
    result = analyze("-", "--table", "-", stdin=content)
    assert result.returncode == 3
    assert said in result.stderr.decode()
    (row,) = csv.DictReader(io.StringIO(result.stdout.decode()))
    assert row["source"] == "stdin"
    assert said in row["error"]


def test_a_table_on_standard_output_is_all_that_is_there(astronaut: Path, tmp_path: Path) -> None:
    shown = analyze(astronaut, "--table", "-").stdout
    analyze(astronaut, "--table", tmp_path / "out.csv", "-q")
    assert shown == (tmp_path / "out.csv").read_bytes()
    lines = analyze(astronaut, "--table", "-", "--format", "jsonl", "-q").stdout.decode().splitlines()
    assert json.loads(lines[0])["emotion"] == "happiness"
    table = pq.read_table(io.BytesIO(analyze(astronaut, "--table", "-", "--format", "parquet").stdout))
    assert table.num_rows == len(lines)
    assert table.column("emotion")[0].as_py() == "happiness"


def test_a_format_goes_before_the_suffix(astronaut: Path, tmp_path: Path) -> None:
    assert analyze(astronaut, "--table", "faces.txt", "--format", "csv", "-q", cwd=tmp_path).returncode == 0
    assert (tmp_path / "faces.txt").read_text(encoding="utf-8").startswith("source,frame,")


@pytest.mark.parametrize(
    ("style", "first", "size"),
    [("pyfeat", "frame", 7), ("openface", "frame", 8), ("deepface", "source", 6), ("deepface", "source", 10)],
)
def test_styles_and_vocabularies(astronaut: Path, style: str, first: str, size: int) -> None:
    result = analyze(astronaut, "--table", "-", "--style", style, "--emotions", size, "-q")
    header, row = list(csv.reader(io.StringIO(result.stdout.decode())))[:2]
    assert header[0] == first
    words = {"anger": "angry", "happiness": "happy", "sadness": "sad"} if style == "deepface" else {}
    prefix = "emotion." if style == "deepface" else ""
    places = [header.index(prefix + words.get(name, name)) for name in emotions.vocabulary(size)]
    total = 100 if style == "deepface" else 1
    assert sum(float(row[place]) for place in places) == pytest.approx(total, rel=1e-4)


def test_a_parquet_table_replaces_an_older_one(astronaut: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_text("old")
    assert analyze(astronaut, "--table", path, "-q").returncode == 0
    assert "happiness" in pq.read_table(path).column("emotion").to_pylist()
    assert os.listdir(tmp_path) == ["out.parquet"]


def test_abstaining(astronaut: Path) -> None:
    def uncertain(*arguments: object) -> bool:
        found = json.loads(analyze(astronaut, "--json", *arguments).stdout)["faces"][0]
        assert found["emotion"] == "happiness"
        return bool(found["uncertain"])

    assert not uncertain()
    assert uncertain("--abstain", 1)
    assert not uncertain("--abstain", 0)


@pytest.mark.parametrize("overlay", ["bars", "label", "emoji", "blur", "affect"])
def test_overlays(astronaut: Path, tmp_path: Path, overlay: str) -> None:
    assert analyze(astronaut, "--annotate", tmp_path, "--overlay", overlay, "-q").returncode == 0
    drawn = Image.open(tmp_path / "astronaut.annotated.jpg")  # small images are drawn larger
    before = np.asarray(Image.open(astronaut).resize(drawn.size), np.int16)
    after = np.asarray(drawn, np.int16)
    scale = drawn.width // 512
    eyes = np.s_[92 * scale : 110 * scale, 195 * scale : 250 * scale]
    changed = np.abs(after[eyes] - before[eyes]).max(axis=2) > 25
    assert (changed.mean() > 0.3) == (overlay == "blur")
    assert (np.abs(after - before).max(axis=2) > 25).mean() > 0.005


def test_an_animation_says_that_it_is_one(astronaut: Path, tmp_path: Path) -> None:
    image = Image.open(astronaut)
    image.save(tmp_path / "a[b].png", save_all=True, append_images=[image.rotate(90)])
    result = analyze(tmp_path / "a[b].png")
    assert result.returncode == 0
    assert "note: '" in result.stderr.decode()
    assert "a[b].png': only the first of 2 frames was read" in result.stderr.decode()
    assert analyze(tmp_path / "a[b].png", "-q").stderr == b""


def test_a_heif_among_others_is_an_error_row_with_a_way_out(astronaut: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(astronaut.read_bytes())
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    result = analyze(tmp_path, "--json")
    assert result.returncode == 3
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["faces"]
    assert "HEIF" in second["error"]
    assert "heif-convert" in result.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--style", "pyfeat"], 2, "--style has no effect without a table"),
        (["--format", "csv"], 2, "--format has no effect without a table"),
        (["--overlay", "blur"], 2, "--overlay has no effect without annotated images"),
        (["--table", "-", "--json"], 2, "both write to standard output"),
        (["--table", "-", "--style", "fer"], 2, "there is no style 'fer'"),
        (["--table", "-", "--format", "xls"], 2, "there is no table format 'xls'"),
        (["--annotate", ".", "--overlay", "stars"], 2, "there is no overlay 'stars'"),
        (["--abstain", "1.5"], 2, "abstain"),
    ],
)
def test_wrong_usage_is_said(astronaut: Path, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    result = analyze(astronaut, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (code, b"")
    assert said in result.stderr.decode()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [[], ["--json"], ["--table", "-"], ["--table", "-", "--format", "parquet"]], ids=str
)
def test_a_full_disk_behind_standard_output(astronaut: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [*PROGRAM, str(astronaut), *arguments]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=600)
    assert result.returncode == 7
    assert b"no space left on device" in result.stderr
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


def test_a_disk_that_fills_up(astronaut: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    table.write_text("old")
    # No file may grow beyond a kilobyte: two rows are more.
    script = f'ulimit -f 1; exec "$0" -B -m mien analyze {astronaut} {astronaut.parent}/./{astronaut.name} "$@"'
    images = [tmp_path / f"{number}.jpg" for number in range(9)]
    for path in images:
        path.write_bytes(astronaut.read_bytes())
    command = ["bash", "-c", script, sys.executable, *map(str, images), "--table", str(table)]
    result = subprocess.run(command, capture_output=True, timeout=600)
    assert result.returncode == 7
    assert f"cannot write '{table}': file too large" in result.stderr.decode()
    assert b"Traceback" not in result.stderr
    assert table.read_text() == "old"


def test_a_table_does_not_replace_its_input(tmp_path: Path) -> None:
    image = tmp_path / "in.csv"
    image.write_bytes(b"whatever it holds")
    result = analyze(image, "--table", image)
    assert result.returncode == 2
    assert "would replace the input" in result.stderr.decode()
    assert image.read_bytes() == b"whatever it holds"
