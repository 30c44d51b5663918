"""Data sets as people download them: wrapped, packed, without a split, without labels, or not what they seem."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from tests.drawn import draw_face, write_fer_csv
from tests.tiny import tiny_run, tiny_samples
from typer.testing import CliRunner, Result

from mien.cli import build_app
from mien.datasets import Samples, store
from mien.datasets.builders import fer2013
from mien.datasets.splits import split_of
from mien.emotions import vocabulary
from mien.errors import ConfigError, DataError, InputError, MienError

__all__ = ["tiny_run", "tiny_samples"]

OWN_RECIPE = 'name = "own"\n[model]\nname = "plain"\n[heads.labels]\nsource = "labels"\n'
SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    return build_app()


@pytest.fixture(scope="module")
def csvs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """fer2013.csv and fer2013new.csv, 32 training rows, 16 of each other split."""
    return write_fer_csv(tmp_path_factory.mktemp("fer"), np.random.default_rng(1), 4, held=2, blank=0, duplicates=0)


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of seven emotions, four faces each, all different."""
    root = tmp_path_factory.mktemp("seven")
    rng = np.random.default_rng(2)
    for name, emotion in zip(SEVEN, (*vocabulary(7)[:4], "neutral", "sadness", "surprise"), strict=True):
        (root / name).mkdir()
        for index in range(4):
            Image.fromarray(draw_face(emotion, rng)).save(root / name / f"{index}.png")
    return root


def run(app: typer.Typer, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def built(app: typer.Typer, name: str, *arguments: str | Path, out: Path) -> tuple[Samples, Result]:
    done = run(app, "data", "build", name, *arguments, "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    return store.load(out), done


def refusal(done: Result) -> MienError:
    assert isinstance(done.exception, MienError), done.output
    assert "\n" not in done.exception.message
    assert done.exception.hint
    return done.exception


def sums(samples: Samples) -> dict[str, int]:
    return {split: sum(table.values()) for split, table in samples.counts().items()}


def place(seven: Path, root: Path, splits: Mapping[str, slice]) -> Path:
    """The class folders of `seven` in folders, each with a part of the images of each class."""
    for name, part in splits.items():
        for source in seven.iterdir():
            (root / name / source.name).mkdir(parents=True)
            for image in sorted(source.iterdir())[part]:
                os.link(image, root / name / source.name / image.name)
    return root


# --- folders


@pytest.mark.parametrize("inside", ["fer2013", "images/images", "archive (1)/RAF-DB/DATASET", "input/2013"])
def test_wrapping_folders_are_descended_and_said(tmp_path: Path, app: typer.Typer, seven: Path, inside: str) -> None:
    root = tmp_path / "d"
    place(seven, root / inside, {"train": slice(0, 3), "test": slice(3, 4)})
    for junk in ("__MACOSX/fer2013/train", ".git/objects", "@eaDir/x"):
        (root / junk).mkdir(parents=True)
    for name in ("README.md", ".DS_Store", "train_labels.csv"):
        (root / name).write_text("nothing of use")
    (root / inside / "train" / "angry" / "._0.png").write_text("a resource fork of macOS")
    samples, done = built(app, "folder", root, out=tmp_path / "d.h5")
    assert sums(samples) == {"train": 14, "val": 7, "test": 7}
    assert f"the class folders are in {root / inside}" in " ".join(done.stderr.split("\n"))


def test_class_folders_alone_may_be_wrapped(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    samples, done = built(app, "folder", place(seven, tmp_path / "d", {"CK+48": slice(None)}), out=tmp_path / "d.h5")
    assert len(samples) == 28
    assert "CK+48" in done.stderr


def test_each_split_may_be_wrapped(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    root = place(seven, tmp_path / "d", {"train/train": slice(0, 3), "test/images": slice(3, 4)})
    samples, done = built(app, "folder", root, out=tmp_path / "d.h5")
    assert sums(samples) == {"train": 14, "val": 7, "test": 7}
    assert "the class folders of train are in" in done.stderr
    assert "the class folders of test are in" in done.stderr


def test_folders_inside_the_only_class_of_a_split_are_not_classes(tmp_path: Path, app: typer.Typer) -> None:
    rng = np.random.default_rng(0)
    for name in ("train/cats/a", "train/dogs/a", "test/cats/a", "test/cats/b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(draw_face("fear", rng)).save(tmp_path / "d" / name / f"{index}.png")
    samples, _ = built(app, "folder", tmp_path / "d", "--classes", "own", out=tmp_path / "d.h5")
    assert samples.classes == ("cats", "dogs")
    assert samples.counts()["test"] == {"cats": 6, "dogs": 0}


def test_splits_below_the_classes_are_kept(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    for source in seven.iterdir():
        for split, part in (("Train", slice(0, 3)), ("Test", slice(3, 4))):
            (tmp_path / "d" / source.name / split).mkdir(parents=True)
            for image in sorted(source.iterdir())[part]:
                os.link(image, tmp_path / "d" / source.name / split / image.name)
    samples, done = built(app, "folder", tmp_path / "d", out=tmp_path / "d.h5")
    assert sums(samples) == {"train": 14, "val": 7, "test": 7}
    assert all("/Test/" in str(name) for name in samples.names[samples.split == 2])
    assert "the splits are inside the class folders: train, test" in done.stderr
    os.rename(tmp_path / "d" / "sad" / "Test", tmp_path / "d" / "sad" / "others")
    error = refusal(run(app, "data", "build", "folder", tmp_path / "d", "--out", tmp_path / "e.h5"))
    assert "but sad do not" in error.message


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("train", "TRAIN", "Training", "train_set", "training_images", "Train Data")],
        *[(name, "val") for name in ("val", "Valid", "VALIDATION", "dev", "val_set", "PublicTest", "validation-faces")],
        *[(name, "test") for name in ("test", "TEST", "Testing", "test_images", "PrivateTest", "eval")],
        *[(name, None) for name in ("happy", "fear", "data", "images", "trained", "contest", "")],
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("names", [("TRAIN", "VALID", "TEST"), ("train_set", "dev", "test_set")])
def test_folders_of_splits_by_any_usual_name(
    tmp_path: Path, app: typer.Typer, seven: Path, names: tuple[str, str, str]
) -> None:
    parts = dict(zip(names, (slice(0, 2), slice(2, 3), slice(3, 4)), strict=True))
    samples, _ = built(app, "folder", place(seven, tmp_path / "d", parts), out=tmp_path / "d.h5")
    assert sums(samples) == {"train": 14, "val": 7, "test": 7}


def test_two_names_of_one_split(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    root = place(seven, tmp_path / "d", {"train": slice(0, 2), "val": slice(2, 3), "Validation": slice(3, 4)})
    error = refusal(run(app, "data", "build", "folder", root, "--out", tmp_path / "d.h5"))
    assert "Validation and val are the same split, val" in error.message


def test_images_beside_the_class_folders_are_counted(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    root = place(seven, tmp_path / "d", {".": slice(None)})
    for name in ("sample.png", "overview.jpg"):
        Image.new("L", (9, 9)).save(root / name)
    _, done = built(app, "folder", root, out=tmp_path / "d.h5")
    assert "2 images beside the class folders belong to no class and are not used: overview.jpg, sample.png" in (
        " ".join(done.stderr.split("\n"))
    )


# --- a test split alone


def test_a_test_split_alone_is_evaluated_and_compared(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    root = place(seven, tmp_path / "d", {"root/test": slice(None)})
    samples, done = built(app, "folder", root, out=tmp_path / "t.h5")
    assert sums(samples) == {"test": 28}
    assert "  folder    class      test" in done.stdout
    scored = run(app, "evaluate", tmp_path / "t.h5", "--split", "test", "--model", "mien-s")
    assert scored.exit_code == 0, scored.output
    assert "test, single view, mien-s: 28 faces" in scored.stdout
    compared = run(app, "compare", "mien-s", "mien-m", "--data", tmp_path / "t.h5", "--split", "test")
    assert compared.exit_code == 0, compared.output


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "STORE"),
        ("compare", "mien-s", "--data", "STORE"),
        ("train", "own.toml", "--data", "STORE", "--out", "run"),
        ("data", "distil", "STORE", "--teacher", "mien-s", "--out", "x.h5"),
        ("data", "add-detector-crops", "STORE", "--out", "x.h5"),
        ("quantize", "mien-s", "--data", "STORE", "--out", "x.onnx"),
    ],
)
def test_every_other_command_says_which_split_it_lacks(
    tmp_path: Path, app: typer.Typer, seven: Path, command: tuple[str, ...]
) -> None:
    built(app, "folder", place(seven, tmp_path / "d", {"test": slice(None)}), out=tmp_path / "t.h5")
    (tmp_path / "own.toml").write_text(OWN_RECIPE)
    paths = {word: str(tmp_path / word) for word in command if "." in word or word == "run"}
    paths |= {"STORE": str(tmp_path / "t.h5")}
    error = refusal(run(app, *(paths.get(word, word) for word in command)))
    assert "rows, which this needs; it has test" in error.message, error.message
    assert "--split test" in error.hint


def test_a_run_cannot_be_exported_on_a_test_split(
    tmp_path: Path, app: typer.Typer, tiny_samples: Samples, tiny_run: Path
) -> None:
    store.save(tiny_samples.only("test"), tmp_path / "t.h5")
    done = run(app, "compare", "mien-s", tiny_run, "--data", tmp_path / "t.h5", "--split", "test")
    assert done.exit_code == 4
    assert "mien-s" in done.stdout  # the others are compared
    said = " ".join(done.stderr.split("\n"))
    assert "a run is exported first, on the split val: the data has no 'val' rows" in said
    assert f"mien export {tiny_run} --data STORE" in said


def test_a_share_of_a_train_split_that_does_not_exist(tmp_path: Path, app: typer.Typer, seven: Path) -> None:
    root = place(seven, tmp_path / "d", {"test": slice(None)})
    error = refusal(run(app, "data", "build", "folder", root, "--val", "0.2", "--out", tmp_path / "t.h5"))
    assert isinstance(error, ConfigError)
    assert "--val: takes images from train, and the data has only test" in error.message


# --- CSV files


def rewrite(path: Path, source: Path, line: Callable[[int, list[str]], str | None]) -> Path:
    """`path` with the lines that `line` makes of number and cells (emotion, pixels, Usage) of the source."""
    rows = [text.split(",") for text in source.read_text().splitlines()]
    path.write_text("\n".join(text for index, row in enumerate(rows) if (text := line(index, row)) is not None) + "\n")
    return path


def test_train_csv_of_kaggle_is_divided_like_folders(tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path]) -> None:
    path = rewrite(tmp_path / "train.csv", csvs[0], lambda _, row: f"{row[0]},{row[1]}")
    samples, done = built(app, "fer2013", "--csv", path, out=tmp_path / "d.h5")
    counts = samples.counts()
    assert list(counts) == ["train", "val", "test"]
    assert all(min(table.values()) >= 1 for table in counts.values())  # of every class, in every split
    assert "has no column Usage, so all rows are training data" in " ".join(done.stderr.split("\n"))
    again, _ = built(app, "fer2013", "--csv", path, "--val", "0.5", "--test", "0", out=tmp_path / "d.h5")
    assert sums(again)["val"] == sums(again)["train"] == len(again) / 2
    other, _ = built(app, "fer2013", "--csv", path, "--val=.5", "--test=0", "--seed=1", out=tmp_path / "d.h5")
    assert (other.split != again.split).any()
    np.testing.assert_array_equal(other.images, again.images)
    scored = run(app, "evaluate", tmp_path / "d.h5", "--model", "mien-s")
    assert "FER2013, 7 classes, val, " in scored.stdout  # a share of its own, not PublicTest


def test_icml_face_data_has_blanks_in_its_header(tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path]) -> None:
    order = lambda index, row: ",".join(  # noqa: E731
        [row[0], " Usage", " pixels"] if index == 0 else [row[0], row[2], row[1]]
    )
    path = rewrite(tmp_path / "icml_face_data.csv", csvs[0], order)
    found, _ = built(app, "fer2013", "--csv", path, "--votes", csvs[1], out=tmp_path / "d.h5")
    expected = fer2013.build(csv=csvs[0], votes=csvs[1])
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.split, expected.split)


def test_semicolons_of_a_spreadsheet(tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path]) -> None:
    path = rewrite(tmp_path / "faces.csv", csvs[0], lambda _, row: ";".join(row))
    found, _ = built(app, "fer2013", "--csv", path, out=tmp_path / "d.h5")
    np.testing.assert_array_equal(found.images, fer2013.build(csv=csvs[0]).images)


def test_a_csv_with_the_test_rows_alone(tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path]) -> None:
    keep = lambda index, row: ",".join(row) if index == 0 or row[2] == "PrivateTest" else None  # noqa: E731
    samples, _ = built(app, "fer2013", "--csv", rewrite(tmp_path / "t.csv", csvs[0], keep), out=tmp_path / "t.h5")
    assert sums(samples) == {"test": 16}


def packed(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        kind: Any = "w:" + path.suffix.removeprefix(".").replace("tar", "")
        with tarfile.open(path, kind) as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "fer2013.zip", "fer2013.tar", "fer2013.tar.xz"])
def test_the_csv_inside_an_archive_is_read(
    tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path], name: str
) -> None:
    content = csvs[0].read_bytes()
    files = {
        "fer2013/README": b"as downloaded",
        "fer2013/fer2013.bib": b"@article{}",
        "__MACOSX/fer2013/._fer2013.csv": b"\0",
        "fer2013/test.csv": b"pixels\n1 2 3\n",
        "fer2013/train.csv": b"emotion,pixels\n",
        "fer2013/fer2013.csv": content,
    }
    path = packed(tmp_path / name, files)
    votes = packed(tmp_path / "FERPlus-master.zip", {"FERPlus-master/fer2013new.csv": csvs[1].read_bytes()})
    found, _ = built(app, "fer2013", "--csv", path, "--votes", votes, out=tmp_path / "d.h5")
    np.testing.assert_array_equal(found.images, fer2013.build(csv=csvs[0], votes=csvs[1]).images)


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_a_compressed_csv_is_read(
    tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path], suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"fer2013.csv{suffix}"
    path.write_bytes(compress(csvs[0].read_bytes()))
    found, _ = built(app, "fer2013", "--csv", path, out=tmp_path / "d.h5")
    np.testing.assert_array_equal(found.images, fer2013.build(csv=csvs[0]).images)


def error_of(app: typer.Typer, path: Path, *more: str | Path) -> MienError:
    done = run(app, "data", "build", "fer2013", "--csv", path, *more, "--out", path.parent / "never.h5")
    assert not (path.parent / "never.h5").exists()
    return refusal(done)


def test_archives_that_need_a_choice_or_are_damaged(tmp_path: Path, app: typer.Typer) -> None:
    error = error_of(app, packed(tmp_path / "two.zip", {"a.csv": b"x", "b/c.csv": b"y"}))
    assert "expected one CSV file in the archive, found a.csv, b/c.csv" in error.message
    assert "unpack" in error.hint
    error = error_of(app, packed(tmp_path / "nested.zip", {"readme.txt": b"x", "fer2013.tar.gz": b"y"}))
    assert "found none; it holds the archive fer2013.tar.gz" in error.message
    for name in ("cut.zip", "cut.tar.gz", "cut.tar.xz"):
        path = packed(tmp_path / name, {"fer2013.csv": np.random.default_rng(0).bytes(20_000)})
        path.write_bytes(path.read_bytes()[:9_000])
        error = error_of(app, path)
        assert isinstance(error, DataError | InputError)
        assert str(path) in error.message


def test_a_small_archive_with_an_endless_file(
    tmp_path: Path, app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.datasets.csv_rows._ROOM", 2**20)
    for name in ("bomb.zip", "bomb.tar.gz"):
        path = packed(tmp_path / name, {"fer2013.csv": b"emotion,pixels\n" + b"0" * 2**22})
        assert path.stat().st_size < 2**15
        error = error_of(app, path)
        assert "unpack" in error.hint


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"pixels\n1 2 3\n", "has pixels, but no column of labels: it is the challenge's test.csv", "icml_face_data"),
        (b"<!DOCTYPE html><html><title>Sign in</title>", "the header lacks emotion, pixels", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "the header lacks", "git lfs pull"),
        (b"image,label\na.jpg,3\n", "the header lacks pixels", "expected label,pixels"),
    ],
)
def test_files_that_are_not_the_faces(
    tmp_path: Path, app: typer.Typer, content: bytes, message: str, hint: str
) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(content)
    error = error_of(app, path)
    assert message in error.message
    assert hint in error.hint


def test_the_votes_of_ferplus_alone(tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path]) -> None:
    path = tmp_path / "fer2013new.csv"
    path.write_bytes(csvs[1].read_bytes())
    error = error_of(app, path)
    assert "has the votes of FER+, without pixels" in error.message
    assert f"--csv fer2013.csv --votes {path}" in error.hint
    faces = rewrite(tmp_path / "train.csv", csvs[0], lambda _, row: f"{row[0]},{row[1]}")
    error = error_of(app, faces, "--votes", path)
    assert "train.csv has no column Usage" in error.message


def test_a_folder_for_a_file_and_a_file_for_a_folder(tmp_path: Path, app: typer.Typer, csvs: tuple[Path, Path]) -> None:
    error = error_of(app, csvs[0].parent)
    assert f"give a file in it: {csvs[0]}" in error.hint
    archive = packed(tmp_path / "faces.zip", {"happy/1.png": b""})
    error = refusal(run(app, "data", "build", "folder", archive, "--out", tmp_path / "d.h5"))
    assert "unpack the archive first" in error.hint
    error = refusal(run(app, "data", "build", "folder", csvs[0].parent, "--out", tmp_path / "d.h5"))
    assert f"mien data build fer2013 --csv {csvs[0]}" in error.hint


# --- layouts that are not class folders


def test_other_layouts_are_named(tmp_path: Path, app: typer.Typer) -> None:
    for names, message, hint in (
        (
            ("train/images", "train/labels", "valid/images", "valid/labels"),
            "the layout of YOLO",
            "one folder per class",
        ),
        (("train_set/images", "train_set/annotations"), "the layout of AffectNet", "--numbers affectnet"),
        (("basic/Image/aligned", "basic/EmoLabel", "basic/Annotation"), "the layout of RAF-DB", "--numbers rafdb"),
    ):
        root = tmp_path / names[1].replace("/", "-")
        for name in names:
            (root / name).mkdir(parents=True)
        error = refusal(run(app, "data", "build", "folder", root, "--out", tmp_path / "d.h5"))
        assert message in error.message
        assert hint in error.hint


def test_the_folders_of_ferplus_without_their_images(tmp_path: Path, app: typer.Typer) -> None:
    for name in ("FER2013Train", "FER2013Valid"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "label.csv").write_text('fer0.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0\n')
    error = refusal(run(app, "data", "build", "folder", tmp_path / "data", "--out", tmp_path / "d.h5"))
    assert "mien data build labelcsv" in error.hint
    error = refusal(run(app, "data", "build", "labelcsv", "--folder", tmp_path / "data", "--out", tmp_path / "d.h5"))
    assert "has a list of votes, but no images" in error.message
    assert "--votes fer2013new.csv" in error.hint
