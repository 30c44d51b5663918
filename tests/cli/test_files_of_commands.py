"""The files of commands: inputs stay, older files are replaced and named, what cannot be written is found at once."""

import os
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command
from tests.conftest import ROOT
from tests.drawn import drawn_samples

from mien.assets.manifest import FOLDER
from mien.datasets import store
from mien.errors import ConfigError, OutputError
from mien.files import check_folder, check_inputs_stay, new_file, with_suffix, writable
from mien.output import open_table
from mien.results import FrameResult


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a store, a copy of it, a list of images, a model and a text."""
    samples = drawn_samples(tmp_path, per_class=4)
    for path in tmp_path.iterdir():
        path.unlink()
    store.save(samples.subset(np.arange(24)), tmp_path / "small.h5")
    (tmp_path / "copy.h5").write_bytes((tmp_path / "small.h5").read_bytes())
    (tmp_path / "link.h5").symlink_to("small.h5")
    (tmp_path / "s.csv").write_text("emotion,pixels,Usage\n")
    (tmp_path / "own.onnx").write_bytes((FOLDER / "mien-s.onnx").read_bytes())
    (tmp_path / "ro.txt").write_text("a text")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate small.h5 --report small.h5", "--report would replace the input 'small.h5'"),
        ("evaluate copy.h5 --out copy.h5", "--out would replace the input 'copy.h5'"),
        ("evaluate small.h5 --model mien-s,own.onnx --out own.onnx", "--out would replace the input 'own.onnx'"),
        ("evaluate small.h5 --out new.h5", "--out new.h5: expected the suffix .json"),
        ("evaluate small.h5 --report new.txt", "--report new.txt: expected the suffix .html"),
        ("evaluate small.h5 --report a.html --out a.html", "--out and --report are the same file, 'a.html'"),
        ("compare mien-s --data small.h5 --report small.h5", "--report would replace the input"),
        ("data build fer2013 --csv s.csv --out s.csv", "--out would replace the input 's.csv'"),
        ("data build fer2013 --csv s.csv --out new.csv", "--out new.csv: expected the suffix .h5"),
        ("data add-keypoints small.h5 --out small.h5", "--out would replace the input"),
        ("data add-keypoints small.h5 --out link.h5", "--out would replace the input 'link.h5'"),
        ("data distil small.h5 --also copy.h5 --teacher mien-s --out copy.h5", "--out would replace the input"),
        ("data distil small.h5 --teacher own.onnx --out new.h5 --targets own.onnx", "expected the suffix .npz"),
        ("quantize own.onnx --data small.h5 --out own.onnx", "--out would replace the input 'own.onnx'"),
        ("personalise faces --model own.onnx --out own.onnx", "--out would replace the input 'own.onnx'"),
        ("models show mien-s --svg own.onnx", "--svg own.onnx: expected the suffix .svg"),
        ("quantize mien-m-int8 --data small.h5 --out new.onnx", "the model 'mien-m-int8' is int8 already"),
    ],
)
def test_inputs_stay(place: Path, words: str, said: str) -> None:
    before = content(place)
    done = run_command(*words.split(), cwd=place)
    assert done.returncode == 2
    assert said in done.stderr
    assert content(place) == before


@pytest.mark.parametrize(
    "words",
    [
        "data add-keypoints missing.h5 --out nof/x.h5",
        "data add-aligned-crops missing.h5 --out nof/x.h5",
        "data add-detector-crops missing.h5 --out nof/x.h5",
        "data distil missing.h5 --teacher mien-s --out nof/x.h5",
        "data build fer2013 --csv missing.csv --out nof/x.h5",
        "data show missing.h5 --plots ro.txt",
        "evaluate missing.h5 --report nof/x.html",
        "compare --data missing.h5 --out ro.txt",
        "compare --data missing.h5 --out ro.txt/folder",
        "export missing --data missing.h5 --out small.h5/x.onnx",
        "quantize mien-s --data missing.h5 --out small.h5/x.onnx",
        "curate missing.h5 --out ro.txt",
        "personalise missing --out nof/x.onnx",
    ],
)
def test_what_cannot_be_written_is_found_before_the_inputs_are_read(place: Path, words: str) -> None:
    done = run_command(*words.split(), cwd=place)
    assert (done.returncode, done.stdout) == (7, "")
    assert "cannot write" in done.stderr


def test_a_store_that_is_replaced_is_named(place: Path) -> None:
    points = place / "points.npz"
    count = len(store.load(place / "small.h5"))
    words = ("data", "distil", "small.h5", "--teacher", "mien-s", "--targets", points.name, "--out", "soft.h5")
    first, again = (run_command(*words, cwd=place) for _ in range(2))
    assert "written: points.npz, " in first.stdout
    assert first.stdout.endswith("written: soft.h5\n")
    assert "replaced: points.npz, " in again.stdout
    assert again.stdout.endswith("replaced: soft.h5\n")
    assert len(store.load(place / "soft.h5")) == count


def test_the_list_of_an_earlier_run_is_not_its_own_input(place: Path) -> None:
    (place / "checked").mkdir()
    (place / "checked" / "curation.csv").write_text("file,label\n")
    done = run_command("curate", "checked/curation.csv", "--out", "checked", "--force", cwd=place)
    assert done.returncode == 2
    assert "curation.csv in --out would replace the input" in done.stderr
    assert (place / "checked" / "curation.csv").read_text() == "file,label\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate x.h5 --model=", "--model: the value is empty"),
        ("evaluate x.h5 --model mien-m,,mien-s", "--model: an empty name between commas"),
        ("compare mien-m --data x.h5 --out=", "--out: the path is empty"),
        ("curate x.h5 --out=", "--out: the path is empty"),
        ("train mien-s --data x.h5 --out=", "--out: the path is empty"),
        ("explore mien-s --out=", "--out: the path is empty"),
        ("analyze a.jpg --annotate=", "--annotate: the path is empty"),
        ("export run --data x.h5 --out=", "--out: the path is empty"),
        ("quantize mien-s --data x.h5 --out=", "--out: the path is empty"),
        ("personalise faces --out=", "--out: the path is empty"),
        ("data distil x.h5 --out y.h5 --teacher=", "--teacher: the value is empty"),
        ("export run --data x.h5 --out .", ".: an exported model is an .onnx file"),
        ("personalise faces --out .", ".: a model is an .onnx file"),
        ("analyze a.jpg --timeline .", "--timeline .: expected the suffix"),
    ],
)
def test_an_empty_value_is_neither_the_current_folder_nor_the_default(tmp_path: Path, words: str, said: str) -> None:
    done = run_command(*words.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {said}" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_empty_argument(tmp_path: Path) -> None:
    done = run_command("data", "show", "", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "error: the path is empty" in done.stderr
    done = run_command("quantize", "", "--data", "x.h5", "--out", "x.onnx", cwd=tmp_path)
    assert done.returncode != 0
    assert not (tmp_path / "x.onnx").exists()


def test_checks_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = tmp_path / "one"
    one.write_text("1")
    check_inputs_stay({"--out": tmp_path / "new"}, [tmp_path / "new", Path("camera:0"), one])
    with pytest.raises(ConfigError, match="the table would replace"):
        check_inputs_stay({"the table": tmp_path / "." / "one"}, [Path("none"), one])
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    assert with_suffix(Path("a.b"), ".c") == Path("a.c")
    assert with_suffix(Path(), ".c") == Path("out.c")
    monkeypatch.setattr("mien.files.os.access", lambda *_: False)
    for check in (check_folder, writable):
        with pytest.raises(OutputError, match=r"cannot write .*: permission denied"):
            check(tmp_path / "file")


def test_two_processes_do_not_write_one_table(tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    with open_table(table, 8) as first:
        done = run_command("analyze", ROOT / "examples" / "astronaut.jpg", "--table", table, "--quiet")
        assert done.returncode == 7
        assert f"cannot write '{table}': another process is writing it" in done.stderr
        first.write(FrameResult("a.jpg", width=1, height=1))
    assert table.read_text(encoding="utf-8").count("a.jpg") == 1
    assert run_command("analyze", ROOT / "examples" / "astronaut.jpg", "--table", table, "--quiet").returncode == 0


@pytest.mark.parametrize("locks", [True, False])
def test_no_file_is_open_when_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    """Windows, which has no such locks, renames no open file."""
    if not locks:
        monkeypatch.setattr("mien.files.fcntl", None)
    opened: list[list[str]] = []
    replace = os.replace

    def noted(one: Path, other: Path) -> None:
        opened.append([name for name in os.listdir("/proc/self/fd") if _points_to(name, one)])
        replace(one, other)

    monkeypatch.setattr(os, "replace", noted)
    with new_file(tmp_path / "t.txt", "w") as file:
        file.write("all")
    assert [len(each) for each in opened] == [int(locks)]
    assert (tmp_path / "t.txt").read_text() == "all"


def _points_to(name: str, path: Path) -> bool:
    try:
        return os.path.samefile(f"/proc/self/fd/{name}", path)
    except OSError:
        return False
