"""The store: it gives back what it got, and says what is wrong with anything else."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.drawn import drawn_samples

from mien.datasets import Samples, store
from mien.datasets.samples import COLUMNS, NO_LABEL
from mien.errors import ConfigError, DataError, InputError, OutputError


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=2)


@pytest.fixture
def path(samples: Samples, tmp_path: Path) -> Path:
    file = tmp_path / "faces.h5"
    store.save(samples, file)
    return file


def assert_same(found: Samples, expected: Samples) -> None:
    for name in COLUMNS:
        ours, theirs = getattr(found, name), getattr(expected, name)
        if theirs is None:
            assert ours is None
            continue
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype.kind == theirs.dtype.kind
    assert found.classes == expected.classes
    assert found.keypoint_scheme == expected.keypoint_scheme
    assert found.about == expected.about


def test_what_goes_in_comes_out(samples: Samples, path: Path) -> None:
    found = store.load(path)
    assert_same(found, samples)
    assert [array.dtype.name for array in (found.images, found.targets, found.labels)] == ["uint8", "float32", "int64"]


def test_what_goes_in_comes_out_without_votes_and_in_colour(samples: Samples, tmp_path: Path) -> None:
    colour = replace(samples, votes=None, images=np.repeat(samples.images[..., None], 3, axis=3))
    named = replace(colour, names=np.array([f"Ärger {i}.png" for i in range(len(samples))]), classes=tuple("abcdefg"))
    store.save(named, tmp_path / "colour.h5")
    assert_same(store.load(tmp_path / "colour.h5"), named)


def test_every_optional_column_round_trips(samples: Samples, tmp_path: Path) -> None:
    count = len(samples)
    rng = np.random.default_rng(0)
    full = replace(
        samples,
        soft_labels=rng.random((count, len(samples.classes)), np.float32),
        soft_votes=rng.random((count, 10), np.float32),
        keypoints=rng.random((count, 68, 2), np.float32) * 48,
        keypoint_scheme="68",
        subjects=np.array([f"S{row % 3:03}" for row in range(count)]),
    )
    store.save(full, tmp_path / "full.h5")
    assert_same(store.load(tmp_path / "full.h5"), full)
    assert_same(store.load(tmp_path / "full.h5", "val"), full.only("val"))


def test_clips_round_trip_and_stores_without_them_keep_their_version(samples: Samples, tmp_path: Path) -> None:
    count = len(samples)
    sequences = replace(
        samples,
        split=np.zeros(count, np.uint8),
        clips=np.array([f"S00{row % 2}/001" if row else "" for row in range(count)]),
        frames=np.arange(count)[::-1].copy(),
        clip_labels=np.array([row % 2 if row else NO_LABEL for row in range(count)]),
    )
    versions = []
    for number, each in enumerate((samples, sequences)):
        store.save(each, tmp_path / f"{number}.h5")
        assert_same(store.load(tmp_path / f"{number}.h5"), each)
        with h5py.File(tmp_path / f"{number}.h5") as file:
            versions.append(int(file.attrs["version"]))
    assert versions == [2, 3]


def test_one_split_is_read_alone(samples: Samples, path: Path) -> None:
    for split in ("train", "val", "test"):
        assert_same(store.load(path, split), samples.only(split))


def test_nothing_but_the_store_is_left_in_the_folder(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_split_that_is_not_there(samples: Samples, tmp_path: Path) -> None:
    store.save(samples.only("train"), tmp_path / "train.h5")
    with pytest.raises(DataError, match="the data has no 'val' rows"):
        store.load(tmp_path / "train.h5", "val")
    with pytest.raises(ConfigError, match="unknown split 'dev'"):
        store.load(tmp_path / "train.h5", "dev")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        store.load(tmp_path / "missing.h5")
    with pytest.raises(DataError, match="is a folder, expected a store"):
        store.load(tmp_path)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path)


def test_a_text_file(path: Path) -> None:
    path.write_text("emotion,pixels,Usage\n", encoding="utf-8")
    refused(path)


def test_a_foreign_file(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=np.zeros((2, 48, 48), np.uint8))
    assert "is not a mien-store file" in refused(path)


def test_another_version(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 1
    assert "is a store of version 1, but this mien reads versions 2 and 3" in refused(path)
    with pytest.raises(DataError) as caught:
        store.load(path)
    assert caught.value.hint == f"build it again: mien data build fer2013 ... --out {path}"


@pytest.mark.parametrize("name", ["images", "labels", "split", "targets", "names", "classes", "about"])
def test_a_part_that_is_missing(path: Path, name: str) -> None:
    with h5py.File(path, "a") as file:
        del (file.attrs if name in ("classes", "about") else file)[name]
    refused(path)


@pytest.mark.parametrize("name", ["images", "names", "votes"])
def test_a_part_that_is_something_else(path: Path, name: str) -> None:
    with h5py.File(path, "a") as file:
        del file[name]
        file.create_group(name)
    refused(path)


def test_parts_that_do_not_fit(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["labels"]
        file.create_dataset("labels", data=np.zeros(3, np.int64))
    assert "labels: expected" in refused(path)


def test_classes_that_are_no_json(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["classes"] = "anger, fear"
    refused(path)
    with h5py.File(path, "a") as file:
        file.attrs["classes"] = json.dumps(5)
    refused(path)


def refused(path: Path) -> str:
    """The one clear line that reading must end with."""
    with pytest.raises(DataError) as caught:
        store.load(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "mien data build" in caught.value.hint
    return caught.value.message


# --- writing that fails


def test_a_folder_that_is_not_there(samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        store.save(samples, tmp_path / "missing" / "faces.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    with pytest.raises(OutputError, match="there is no folder") as caught:
        store.save(samples, tmp_path / "file" / "faces.h5")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_files_place(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "faces.h5").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        store.save(samples, tmp_path / "faces.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["faces.h5"]


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    """A limit on the size of files, met half-way, is as good as a full disk."""
    before = path.read_bytes()
    program = """
import resource, sys
from mien.datasets import store
from mien.errors import OutputError
samples = store.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    store.save(samples, sys.argv[1])
except OutputError as error:
    print("refused:", error)
"""
    command = [sys.executable, "-c", program, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"refused: {path}: cannot be written")
    assert result.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="not a regular file"):
        store.save(drawn_samples(tmp_path, per_class=1), pipe)
    assert pipe.is_fifo()
