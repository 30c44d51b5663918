"""Keypoints of stores: found by a landmark network, or read from a file for the rows of FER2013."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.drawn import drawn_samples, write_fer_csv
from typer.testing import CliRunner, Result

from mien.cli import build_app
from mien.datasets import Samples, store
from mien.datasets.builders.fer2013 import build
from mien.datasets.derive.keypoints import add_keypoints, read_keypoints
from mien.datasets.exclude import RowOptions
from mien.errors import DataError
from mien.faces import landmarks


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    faces, _ = write_fer_csv(tmp_path_factory.mktemp("fer"), np.random.default_rng(0), 2)
    return build(csv=faces, choice=RowOptions(keep_duplicates=True))


def write_points(path: Path, rows: list[int], ok: list[int], **changes: Any) -> Path:
    count = len(rows)
    points = np.arange(count * 140).reshape(count, 70, 2) % 768
    arrays: dict[str, Any] = {
        "points": points.astype(np.int16),
        "row": rows,
        "ok": ok,
        "pose": np.zeros((count, 3), np.int16),
    }
    np.savez(path, **(arrays | {"eye_distance": np.full(count, 300, np.uint16)} | changes))
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["data", "add-keypoints", *map(str, words)])


def test_the_points_of_a_file_are_those_of_the_rows(samples: Samples, tmp_path: Path) -> None:
    store.save(samples, tmp_path / "fer.h5")
    file = write_points(tmp_path / "points.npz", [5, 0, 3], [1, 1, 0])
    found = run(tmp_path / "fer.h5", "--points", file, "--out", tmp_path / "out.h5")
    assert found.exit_code == 0, found.output
    assert f"found: keypoints of 2 of {len(samples):,} faces" in found.output
    with_points = store.load(tmp_path / "out.h5")
    assert with_points.keypoints is not None
    known = np.isfinite(with_points.keypoints).all(axis=(1, 2))
    assert with_points.names[known].tolist() == ["0", "5"]
    # 1/16 pixel, from the centre of the first pixel.
    np.testing.assert_allclose(with_points.keypoints[known][0, 0], [140 / 16 + 0.5, 141 / 16 + 0.5])
    assert with_points.about["keypoints_by"] == "points.npz"


def test_files_and_stores_that_do_not_fit(samples: Samples, tmp_path: Path) -> None:
    file = write_points(tmp_path / "points.npz", [0], [1])
    with pytest.raises(DataError, match="not named by their number") as caught:
        read_keypoints(drawn_samples(tmp_path, per_class=1), file)
    assert "--votes" in caught.value.hint
    large = replace(samples, images=np.zeros((len(samples), 64, 64), np.uint8))
    with pytest.raises(DataError, match="faces of 48x48 pixels, and the faces of the store are 64x64"):
        read_keypoints(large, file)
    with pytest.raises(DataError, match="keypoints for none of the faces"):
        read_keypoints(samples, write_points(tmp_path / "other.npz", [10_000], [1]))
    with pytest.raises(DataError, match="points: expected"):
        read_keypoints(samples, write_points(tmp_path / "five.npz", [0], [1], points=np.zeros((1, 5, 2), np.int16)))
    store.save(samples, tmp_path / "fer.h5")
    refused = run(tmp_path / "fer.h5", "--points", file, "--least", "0.5", "--out", tmp_path / "out.h5")
    assert refused.exit_code != 0
    assert not (tmp_path / "out.h5").exists()


def test_the_network_finds_the_points_of_a_real_face(astronaut: Path) -> None:
    face = np.asarray(Image.open(astronaut).convert("RGB"))[45:215, 140:310]
    images = np.stack([face, np.full_like(face, 127)])
    samples = Samples(
        images=images,
        labels=np.zeros(2, np.int64),
        classes=("happiness", "neutral"),
        split=np.zeros(2, np.uint8),
        targets=np.array([[1, 0], [1, 0]], np.float32),
        names=np.array(["face", "grey"]),
    )
    found = add_keypoints(samples, landmarks.load(), least=0.5)
    assert found.keypoints is not None
    assert np.isfinite(found.keypoints).all(axis=(1, 2)).tolist() == [True, False]
    right, left, nose, mouth = (
        found.keypoints[0, part].mean(axis=0) for part in (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 60))
    )
    assert right[0] < nose[0] < left[0]
    assert max(right[1], left[1]) < nose[1] < mouth[1]
