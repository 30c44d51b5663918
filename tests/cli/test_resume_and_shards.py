"""Large collections: an analysis that was killed goes on, several processes share the work, and lists name inputs."""

import codecs
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from tests.commands import run_command
from tests.conftest import ROOT
from tests.videos import portrait, write_video

from mien.files import new_file
from mien.output.resuming import begun

PORTRAIT = ROOT / "examples" / "astronaut.jpg"
QUICK = ("--model", "mien-s", "--quiet")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 images: one has two faces, one is broken, one has a name that needs quotes."""
    folder = tmp_path_factory.mktemp("large") / "images"
    folder.mkdir()
    with Image.open(PORTRAIT) as image:
        small = image.convert("RGB").resize((200, 200))
    for number in range(22):
        small.save(folder / f"{number}.jpg")
    both = Image.new("RGB", (400, 200))
    both.paste(small, (0, 0))
    both.paste(small, (200, 0))
    both.save(folder / 'two, "faces"\n.jpg')
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def analyze(*words: object, cwd: Path) -> int:
    done = run_command("analyze", *map(str, words), *QUICK, cwd=cwd)
    assert done.returncode in (0, 3), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def whole(images: Path) -> dict[str, str]:
    """The table of all images, in each format that can be continued."""
    found = {}
    for suffix in ("csv", "jsonl"):
        assert analyze("images", "--table", f"whole.{suffix}", cwd=images.parent) == 3
        found[suffix] = (images.parent / f"whole.{suffix}").read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.61, 0.97, 1.0])
@pytest.mark.parametrize("place", ["t.{}", "t.{}.partial"])
def test_the_table_is_that_of_one_analysis(
    images: Path, whole: dict[str, str], suffix: str, kept: float, place: str, tmp_path: Path
) -> None:
    """Wherever it was cut."""
    (tmp_path / "images").symlink_to(images)
    content = whole[suffix].encode()
    (tmp_path / place.format(suffix)).write_bytes(content[: round(kept * len(content))])
    analyze("images", "--table", f"t.{suffix}", "--resume", cwd=tmp_path)
    assert (tmp_path / f"t.{suffix}").read_text(encoding="utf-8") == whole[suffix]
    assert not (tmp_path / f"t.{suffix}.partial").exists()


def test_what_is_in_the_table_is_not_read_again(images: Path, whole: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "images")
    rows = whole["csv"].splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join(rows[:11]), encoding="utf-8")  # the last one is read again
    for number in range(9):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(b"changed since then")
    done = run_command("analyze", "images", "--table", "t.csv", "--resume", "--model", "mien-s", cwd=tmp_path)
    assert done.returncode == 3  # of the broken one
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == whole["csv"]
    assert "note: 9 images or videos were in the table already" in done.stderr


def test_the_longer_one_of_two_beginnings_counts(images: Path, whole: dict[str, str], tmp_path: Path) -> None:
    """A run that was stopped, and one without --resume that was killed early: of both, what has more in it."""
    (tmp_path / "images").symlink_to(images)
    rows = whole["csv"].splitlines(keepends=True)
    for long, short in (("t.csv", "t.csv.partial"), ("t.csv.partial", "t.csv")):
        (tmp_path / short).write_text("".join(rows[:3]), encoding="utf-8")
        (tmp_path / long).write_text("".join(rows[:15]), encoding="utf-8")
        found = begun(tmp_path / "t.csv", "csv")
        assert found is not None
        assert (found.path.name, len(found.sources)) == (long, 13)
        analyze("images", "--table", "t.csv", "--resume", cwd=tmp_path)
        assert (tmp_path / "t.csv").read_text(encoding="utf-8") == whole["csv"]


def test_a_table_behind_a_link(images: Path, whole: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(images)
    (tmp_path / "real").mkdir()
    (tmp_path / "t.csv").symlink_to("real/t.csv")
    rows = whole["csv"].splitlines(keepends=True)
    for name in ("t.csv", "t.csv.partial"):
        (tmp_path / "real" / name).write_text("".join(rows[:9]), encoding="utf-8")
        analyze("images", "--table", "t.csv", "--resume", cwd=tmp_path)
        assert (tmp_path / "real" / "t.csv").read_text(encoding="utf-8") == whole["csv"]
        assert {path.name for path in tmp_path.iterdir()} == {"images", "real", "t.csv"}
        assert (tmp_path / "t.csv").is_symlink()


def test_a_table_that_is_being_written_is_not_touched(images: Path, whole: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(images)
    rows = whole["csv"].splitlines(keepends=True)
    table = tmp_path / "t.csv"
    table.write_text("".join(rows[:9]), encoding="utf-8")
    with new_file(table, "wb", buffering=0) as first:  # as another process that goes on with the same table
        first.write("".join(rows[:20]).encode())
        done = run_command("analyze", "images", "--table", "t.csv", "--resume", *QUICK, cwd=tmp_path)
        assert done.returncode == 7
        assert "another process is writing it" in done.stderr
    assert table.read_text(encoding="utf-8") == "".join(rows[:20])


def test_a_process_that_is_killed(images: Path, whole: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(images)
    words = [sys.executable, "-m", "mien", "analyze", "images", "--table", "t.csv", *QUICK]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
    partial = tmp_path / "t.csv.partial"
    while not partial.is_file() or partial.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(600)
    analyze("images", "--table", "t.csv", "--resume", cwd=tmp_path)
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == whole["csv"]


def test_a_video_is_analyzed_again_from_its_first_frame(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, portrait(PORTRAIT, 6, width=240))
    analyze("a.mp4", "b.mp4", "--table", "whole.csv", cwd=tmp_path)
    content = (tmp_path / "whole.csv").read_text(encoding="utf-8")
    (tmp_path / "t.csv.partial").write_text("".join(content.splitlines(keepends=True)[:10]), encoding="utf-8")
    analyze("a.mp4", "b.mp4", "--table", "t.csv", "--resume", "--record", "t.json", cwd=tmp_path)
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == content
    record = json.loads((tmp_path / "t.json").read_text())
    assert record["continued"] == {"from": "t.csv.partial", "sources": 1}
    assert record["frames"] == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--resume has no effect without a table"),
        (["--table", "-"], "--resume has no effect without a table"),
        (["--table", "t.parquet"], "a table in the format parquet cannot be continued"),
        (["--table", "t.csv", "--style", "openface"], "--resume and --style cannot be combined"),
        (["--table", "t.csv", "--timeline", "t.html"], "the beginning would be missing"),
        (["--table", "t.csv", "--emotions", "happy,sad"], "has other columns than this analysis writes"),
        (["--table", "t.jsonl", "--keypoints"], "has other columns than this analysis writes"),
        (["--table", "other.csv"], "'other.csv' cannot be continued: it is no table of mien"),
    ],
)
def test_what_cannot_be_continued(
    images: Path, whole: dict[str, str], words: list[str], message: str, tmp_path: Path
) -> None:
    for suffix, content in whole.items():
        (tmp_path / f"t.{suffix}").write_text(content, encoding="utf-8")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "images").symlink_to(images)
    done = run_command("analyze", "images", "--resume", *words, *QUICK, cwd=tmp_path)
    assert done.returncode in (2, 4), done.stderr
    assert message in done.stderr
    (tmp_path / "images").unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_shards_have_every_input_once(images: Path, whole: dict[str, str]) -> None:
    place = images.parent
    counts = []
    rows: dict[str, list[str]] = {}
    for part in (1, 2, 3):
        analyze("images", "--shard", f"{part}/3", "--table", f"s{part}.csv", cwd=place)
        with (place / f"s{part}.csv").open(encoding="utf-8", newline="") as file:
            found = list(csv.reader(file))[1:]
        counts.append(len(found))
        for row in found:
            rows.setdefault(row[0], []).append(",".join(row[1:]))
    with (place / "whole.csv").open(encoding="utf-8", newline="") as file:
        expected: dict[str, list[str]] = {}
        for row in list(csv.reader(file))[1:]:
            expected.setdefault(row[0], []).append(",".join(row[1:]))
    assert rows == expected
    assert min(counts) >= 2


@pytest.mark.parametrize("shard", ["0/3", "4/3", "2", "a/b", "1/0", "-1/3"])
def test_what_is_no_shard(images: Path, shard: str) -> None:
    done = run_command("analyze", "images", f"--shard={shard}", *QUICK, cwd=images.parent)
    assert done.returncode == 2
    assert f"--shard: expected a part and their number, got '{shard}'" in done.stderr


def test_a_file_of_names(images: Path, tmp_path: Path) -> None:
    names = [images / "3.jpg", images / "1.jpg", tmp_path / os.fsdecode(b"b\xff.jpg")]
    shutil.copy(PORTRAIT, names[2])
    listed = tmp_path / "names.txt"
    listed.write_bytes(codecs.BOM_UTF8 + b"\r\n\n".join(os.fsencode(str(name)) for name in names))
    table = tmp_path / "t.jsonl"
    analyze(images / "0.jpg", "--files-from", listed, "--table", table, cwd=tmp_path)
    found = [json.loads(line)["source"] for line in table.read_text(encoding="utf-8").splitlines()]
    assert found == [str(name) for name in (images / "0.jpg", *names)]
    words = [sys.executable, "-m", "mien", "analyze", "--files-from", "-", "--table", str(table), *QUICK]
    subprocess.run(words, cwd=tmp_path, input=listed.read_bytes(), check=True, timeout=600)
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3


def test_without_inputs(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(codecs.BOM_UTF8 + b"\n")
    done = run_command("analyze", cwd=tmp_path)
    assert done.returncode == 2
    assert "the argument PATHS is missing" in done.stderr
    done = run_command("analyze", "--files-from", "empty.txt", cwd=tmp_path)
    assert done.returncode == 3
    assert "--files-from empty.txt: names no input" in done.stderr
    done = run_command("analyze", "--files-from", "none.txt", cwd=tmp_path)
    assert done.returncode == 3
    assert "--files-from none.txt: no such file or directory" in done.stderr
