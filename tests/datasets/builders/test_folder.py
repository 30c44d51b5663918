"""Class folders: what their names mean, how they are split, and which errors are reported."""

import csv
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.commands import run_command
from tests.drawn import draw_face

from mien.datasets import Samples, store
from mien.datasets.builders import folder
from mien.datasets.class_folders import read_tree
from mien.datasets.class_names import ClassOptions, naming
from mien.datasets.exclude import RowOptions
from mien.datasets.export.folder import export
from mien.datasets.samples import SPLITS, stratified_split
from mien.datasets.splits import SplitOptions
from mien.datasets.stored_faces import FaceOptions
from mien.emotions import vocabulary
from mien.errors import ConfigError, DataError, InputError, OutputError
from mien.faces.detectors import DetectorOptions


def build(root: Path, **options: Any) -> Samples:
    """`folder.build` with the fields of its option dataclasses as arguments."""
    groups: dict[str, Any] = {}
    for name, kind in (("faces", FaceOptions), ("split", SplitOptions), ("names", ClassOptions)):
        own = {field.name: options.pop(field.name) for field in fields(kind) if field.name in options}
        groups[name] = kind(**own)
    return folder.build(root, **groups, **options)


SEVEN = ("Angry", "disgust", "2_Fear", "happy", "sad", "surprise", "neutral")


def fill(root: Path, names: tuple[str, ...], count: int = 4, seed: int = 0) -> Path:
    """Class folders of noise images of many sizes and formats."""
    rng = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for index in range(count):
            height, width = rng.integers(20, 90, 2)
            suffix = (".png", ".jpg", ".webp", ".bmp")[index % 4]
            noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{index}{suffix}")
    return root


def made_up(place: Path) -> dict[str, Any]:
    """Class folders of seven emotions, for the conformance suite."""
    return {"folder": fill(place / "faces", SEVEN)}


def test_sizes_and_formats_come_to_one(tmp_path: Path) -> None:
    samples = build(fill(tmp_path / "d", SEVEN), size=32)
    assert samples.images.shape == (28, 32, 32)
    assert samples.classes == vocabulary(7)
    assert samples.counts()["train"] == dict.fromkeys(vocabulary(7), 2)
    assert samples.counts()["val"] == samples.counts()["test"] == dict.fromkeys(vocabulary(7), 1)
    assert (samples.targets.argmax(axis=1) == samples.labels).all()
    by_folder = {str(name).split("/")[0]: samples.classes[label] for name, label in zip(samples.names, samples.labels)}  # noqa: B905
    assert by_folder == dict(zip(SEVEN, vocabulary(7), strict=True))
    assert samples.about["sources"] == {
        name: {"class": by_folder[name], "train": 2, "val": 1, "test": 1} for name in sorted(SEVEN)
    }
    colour = build(tmp_path / "d", size=32, channels="rgb")
    assert colour.images.shape == (28, 32, 32, 3)
    assert len(np.unique(colour.images.reshape(-1, 3) @ [1, 1, -2])) > 3


def test_images_are_read_as_in_inference(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    faces = [draw_face("fear", rng) for _ in range(4)]
    for index, face in enumerate(faces):
        cv2.imwrite(str(tmp_path / "ab"[index % 2] / f"{index}.png"), face)
    samples = build(tmp_path, classes="own", val=0, test=0)
    stored = {str(name): image for name, image in zip(samples.names, samples.images, strict=True)}
    for index, face in enumerate(faces):
        np.testing.assert_array_equal(stored[f"{'ab'[index % 2]}/{index}.png"], face)  # bit for bit


@pytest.mark.parametrize(
    ("names", "wanted", "classes"),
    [
        (vocabulary(6), None, vocabulary(6)),
        (vocabulary(7), None, vocabulary(7)),
        (vocabulary(8), None, vocabulary(8)),
        (vocabulary(7), "6", vocabulary(6)),
        (("joy", *vocabulary(7)), "7", vocabulary(7)),
        (("happy", "bored"), "own", ("bored", "happiness")),
        (("happy", "joy"), "own", ("happy", "joy")),
        (("0", "1"), "own", ("0", "1")),
    ],
)
def test_what_names_mean(tmp_path: Path, names: tuple[str, ...], wanted: str | None, classes: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    found = naming(read_tree(tmp_path).names, ClassOptions(classes=wanted))
    assert found.classes == classes
    assert set(found.place) == set(names)
    if wanted == "6":
        assert found.place["disgust"] == found.place["anger"]
    if "joy" in names and wanted == "7":
        assert found.place["joy"] == found.place["happiness"]


@pytest.mark.parametrize(
    ("names", "wanted", "message", "hint"),
    [
        (
            (*vocabulary(7), "envy", "pride"),
            None,
            "names 'envy', 'pride' are not among 8 emotions",
            "--classes own",
        ),
        (("happy", "sad"), None, "6 emotions need a folder for anger, fear, surprise, neutral", "uses the 2 folders"),
        (vocabulary(7), "8", "8 emotions need a folder for contempt", "--classes own"),
        ((*vocabulary(8),), "7", "'contempt' are not among 7 emotions", "known are anger"),
        (("happy",), "own", "there is only one class, 'happy'", "at least two"),
        (("happy",), None, "there is only one class", "at least two"),
        (("score", "Emotion", "x"), "own", "'Emotion', 'score' cannot be the name of a class", "rename"),
        (("a\nb", "x"), "own", "cannot be the name of a class", "rename"),
        ((), "own", "contains no class folders", "DIR/happy"),
        (
            ("train", "test", "happy"),
            "own",
            "only folders of splits, found 'happy' as well",
            "train, val and test",
        ),
        (("train", "val", "valid"), "own", "val and valid are the same split", "merge"),
    ],
)
def test_names_that_are_not_classes(
    tmp_path: Path, names: tuple[str, ...], wanted: str | None, message: str, hint: str
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=message) as caught:
        naming(read_tree(tmp_path).names, ClassOptions(classes=wanted))
    assert hint in caught.value.hint


def test_folders_of_splits(tmp_path: Path) -> None:
    for split in ("Training", "Test"):
        fill(tmp_path / split, ("a", "b"), count=10, seed=len(split))
    samples = build(tmp_path, classes="own")
    assert {split: sum(table.values()) for split, table in samples.counts().items()} == {
        "train": 18,
        "val": 2,
        "test": 20,
    }
    assert all(str(name).startswith("Test/") for name in samples.names[samples.split == SPLITS.index("test")])
    with pytest.raises(ConfigError, match="--test: the data already has a split 'test'"):
        build(tmp_path, classes="own", test=0.2)
    fill(tmp_path / "valid", ("a",), count=3)  # a class may be absent from val
    assert build(tmp_path, classes="own").counts()["val"] == {"a": 3, "b": 0}


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
    st.floats(0, 0.6),
    st.floats(0, 0.39),
    st.integers(0, 9),
)
def test_shares_hold_in_every_class(counts: list[int], val: float, test: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    splits = np.zeros(len(labels), np.uint8)
    found = stratified_split(splits, labels, {"val": val, "test": test}, seed)
    assert (stratified_split(splits, labels, {"val": val, "test": test}, seed) == found).all()
    for label, count in enumerate(counts):
        mine = np.bincount(found[labels == label], minlength=3)
        assert mine[0] >= 1
        assert mine[1] <= max(1, round(val * count))
        assert mine[2] <= max(1, round(test * count))
        if count >= 10:
            assert abs(mine[1] - val * count) <= 1
        if val == 0:
            assert mine[1] == 0
    # Another class more changes nothing.
    more = np.append(labels, [len(counts)] * 3)
    longer = stratified_split(np.zeros(len(more), np.uint8), more, {"val": val, "test": test}, seed)
    assert (longer[: len(labels)] == found).all()


def test_broken_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = fill(tmp_path / "d", ("a", "b"), count=5)
    (root / "a" / "cut.jpg").write_bytes((root / "a" / "1.jpg").read_bytes()[:300])
    (root / "b" / "empty.png").touch()
    (root / "b" / "words.png").write_text("no image")
    (root / "b" / "notes.txt").write_text("not even called one")
    samples = build(root, classes="own", report=tmp_path / "out.csv")
    assert len(samples) == 10
    assert samples.about["dropped_unreadable"] == 3
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["a/cut.jpg", "b/empty.png", "b/words.png"]
    assert "0 bytes" in rows[1]["reason"]
    assert all(str(line) for line in samples.about["left_out"])  # type: ignore[attr-defined]
    with pytest.raises(OutputError):
        build(root, classes="own", report=tmp_path / "nowhere" / "out.csv")


def test_empty_classes(tmp_path: Path) -> None:
    root = fill(tmp_path / "d", ("a", "b"))
    for name in ("c", "d"):
        (root / name).mkdir()
    (root / "d" / "broken.png").write_text("no image")
    with pytest.raises(DataError, match="the classes c, d have no usable image"):
        build(root, classes="own")


def test_links_that_form_a_cycle(tmp_path: Path) -> None:
    root = fill(tmp_path / "d", ("a", "b"))
    (root / "a" / "up").symlink_to(root)  # inside of a class: not followed
    (root / "a" / "self").symlink_to("self")
    (root / "nowhere").symlink_to("gone")
    assert len(build(root, classes="own")) == 8
    elsewhere = fill(tmp_path / "more", ("x",), seed=9)
    (root / "c").symlink_to(elsewhere / "x")  # a class that lies elsewhere is welcome
    assert len(build(root, classes="own")) == 12
    for name in ("round", "further"):
        (root / name).symlink_to(root if name == "round" else root.parent)
    with pytest.raises(DataError, match="'further', 'round' is a link to a folder that contains it"):
        build(root, classes="own")


def test_training_duplicates_are_dropped(tmp_path: Path) -> None:
    for split in ("train", "val"):
        fill(tmp_path / split, ("a", "b"), seed=split == "val")
    (tmp_path / "train" / "a" / "again.png").write_bytes((tmp_path / "val" / "b" / "0.png").read_bytes())
    samples = build(tmp_path, classes="own")
    assert samples.about["dropped_training_duplicates"] == 1
    assert samples.duplicate.sum() == 1
    assert build(tmp_path, classes="own", choice=RowOptions(keep_duplicates=True)).duplicate.sum() == 2


def test_a_class_without_training_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        fill(tmp_path / split, ("a", "b"), seed=split == "val")
    for image in (tmp_path / "train" / "b").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="the classes b have no training images"):
        build(tmp_path, classes="own")


def test_faces_are_cropped(tmp_path: Path, astronaut: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.open(astronaut).rotate(index - 1).save(tmp_path / name / f"{index}.jpg")
    Image.new("RGB", (90, 90), "grey").save(tmp_path / "a" / "nobody.png")
    options: dict[str, Any] = {"classes": "own", "crop_faces": True, "val": 0, "test": 0, "size": 64, "channels": "rgb"}
    samples = build(tmp_path, **options)
    assert samples.images.shape == (6, 64, 64, 3)
    assert samples.about["dropped_without_a_face"] == 1
    assert samples.about["dropped_unreadable"] == 0
    # All six show the same face at the same place.
    spread = samples.images.astype(float).std(axis=0).mean()
    assert spread < 25
    assert samples.images.std() > 40
    kept = build(tmp_path, **options, keep_faceless=True)
    assert len(kept) == 7
    assert kept.about["kept_without_a_face"] == 1
    whole = build(tmp_path, classes="own", val=0, test=0)
    assert whole.about["faces_cropped"] is False
    assert len(whole) == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "9"}, "classes: unknown '9'"),
        ({"size": 8}, "size: expected 16 to 512"),
        ({"channels": "bgr"}, "channels: expected grey or rgb, got 'bgr'"),
        ({"val": 1.0}, "val: expected a share"),
        ({"test": -0.1}, "test: expected a share"),
        ({"val": 0.6, "test": 0.4}, "leave no images for train"),
        ({"keep_faceless": True}, "keep_faceless: needs --crop-faces"),
        ({"detector": DetectorOptions("hog")}, "need --crop-faces"),
        ({"detector": DetectorOptions("whole-image"), "crop_faces": True}, "does not search for faces"),
    ],
)
def test_invalid_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    fill(tmp_path / "d", ("a", "b"), count=1)
    with pytest.raises(ConfigError, match=message):
        build(tmp_path / "d", **{"classes": "own"} | options)


def test_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(InputError, match=name):
            build(tmp_path / name)


def everything(samples: Samples) -> dict[bytes, tuple[str, str]]:
    """Class and split by image."""
    rows = zip(samples.images, samples.labels, samples.split, strict=True)
    return {image.tobytes(): (samples.classes[label], SPLITS[split]) for image, label, split in rows}


@pytest.mark.parametrize("channels", ["grey", "rgb"])
def test_there_and_back(tmp_path: Path, channels: str) -> None:
    samples = build(fill(tmp_path / "d", ("a b", "ü", "c")), classes="own", channels=channels)
    assert export(samples, tmp_path / "out") == {"without a label": 0}
    again = build(tmp_path / "out", classes="own", channels=channels)
    assert everything(again) == everything(samples)
    with pytest.raises(OutputError, match="already exists"):
        export(samples, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "out"]


def test_the_commands(tmp_path: Path) -> None:
    root = fill(tmp_path / "d", ("a", "b"))

    def mien(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_command("data", *arguments, cwd=tmp_path)

    done = mien("build", "folder", "d", "--classes", "own", "--out", "d.h5")
    assert done.returncode == 0, done.stderr
    assert store.load(tmp_path / "d.h5").classes == ("a", "b")
    (root / "a" / "bad.png").write_text("no image")
    done = mien("build", "folder", "d", "--classes", "own", "--out", "d.h5")
    assert done.returncode == 3
    assert "a/bad.png" in done.stderr
    assert "dropped unreadable: 1" in done.stdout
    assert "replaced: d.h5" in done.stdout
    done = mien("build", "folder", "d", "--out", "e.h5")
    assert done.returncode == 4
    assert "the folder names 'a', 'b' are not among" in done.stderr
    done = mien("export", "folder", "d.h5", "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == 8
