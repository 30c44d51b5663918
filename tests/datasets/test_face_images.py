"""Labelled images of faces: reading, mirroring and invalid labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.face_images import write_images

from mien.datasets.face_images import fingerprint, read
from mien.errors import DataError, InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "faces")


def changed(folder: Path, change: dict[str, Any], line: int = 0) -> None:
    path = folder / "labels.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    rows[line] |= change
    path.write_text("\n".join(map(json.dumps, rows)))


def test_images_come_with_their_labels_in_order(folder: Path) -> None:
    images = list(read(folder, "train"))
    assert len(images) == 12
    assert [len(image.boxes) for image in images[:4]] == [1, 2, 1, 0]
    assert images[1].image.shape == (96, 128, 3)
    assert images[1].landmarks.shape == (2, 5, 2)
    assert images[1].origin == ("human", "human")
    assert images[0].source == "drawn.zip/0.png"
    inside = (images[1].landmarks >= images[1].boxes[:, None, :2]).all()
    assert inside
    assert len(list(read(folder, "valid"))) == 4
    assert len(list(read(folder, "train", limit=4))) == 4


def test_folders_in_a_folder_are_read_together(folder: Path) -> None:
    write_images(folder.parent / "more", train=4, valid=1, seed=5)
    assert len(list(read(folder.parent, "train"))) == 16
    assert fingerprint(folder.parent)["images"] == {"train": 16, "valid": 5}


def test_mirroring_twice_is_no_change(folder: Path) -> None:
    image = next(read(folder, "train"))
    once = image.mirrored()
    right_eye, left_eye = once.landmarks[0, :2]
    assert right_eye[0] < left_eye[0]
    assert once.boxes[0, 0] < once.boxes[0, 2]
    assert once.boxes[0, 0] == 128 - image.boxes[0, 2]
    twice = once.mirrored()
    assert np.array_equal(twice.image, image.image)
    assert np.allclose(twice.landmarks, image.landmarks)
    assert np.allclose(twice.boxes, image.boxes)


def test_mistakes_of_a_detector_come_with_the_image(folder: Path) -> None:
    changed(folder, {"mistakes": [[10, 20, 30, 50]]})
    first, second = list(read(folder, "train"))[:2]
    assert first.mistakes.tolist() == [[10, 20, 30, 50]]
    assert first.mirrored().mistakes.tolist() == [[98, 20, 118, 50]]
    assert second.mistakes.shape == (0, 4)


def test_doubtful_landmarks_are_not_known(folder: Path) -> None:
    path = folder / "labels.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    rows[0]["faces"][0]["lm_diff"] = 0.3
    path.write_text("\n".join(map(json.dumps, rows)))
    assert np.isnan(next(read(folder, "train", doubt=0.2)).landmarks).all()
    assert np.isfinite(next(read(folder, "train")).landmarks).all()


def test_the_fingerprint_follows_labels_and_archives(folder: Path) -> None:
    before = fingerprint(folder)
    assert before == fingerprint(folder)
    changed(folder, {"ignore": [[0, 0, 9, 9]]})
    assert fingerprint(folder)["sha256"] != before["sha256"]
    (folder / "drawn.zip").unlink()
    with pytest.raises(InputError, match=r"drawn\.zip: no such archive"):
        fingerprint(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"faces": [{"box": [1, 2, 3], "landmarks": [[0, 0]] * 5}]}, r"expected \(4,\) finite numbers"),
        ({"faces": [{"box": [1, 2, 3, 4], "landmarks": [[0, 0]] * 4}]}, r"expected \(5, 2\) finite numbers"),
        ({"faces": [{"box": [1, 2, 3, float("nan")], "landmarks": [[0, 0]] * 5}]}, "finite"),
        ({"faces": [{"box": [1, 2, 3, 4]}]}, "'landmarks' is missing"),
        ({"ignore": [[1, 2]]}, r"expected \(4,\)"),
        ({"ignore": [[50, 60, 20, 30]]}, "box: expected x0, y0, x1, y1"),
        ({"mistakes": [[1, 2, 3]]}, r"expected \(4,\) finite numbers"),
        ({"split": "val"}, "split: expected train or valid, got 'val'"),
        ({"zip": 5}, "expected the names of an archive"),
        ({"faces": [{"box": [1, 2, 3, 4], "landmarks": [[0, 0]] * 5, "lm_diff": "x"}]}, "lm_diff: expected a number"),
    ],
)
def test_a_wrong_label_is_named_with_its_line(folder: Path, change: dict[str, Any], reason: str) -> None:
    changed(folder, change, line=2)
    with pytest.raises(DataError, match=f"line 3 is not a valid label: .*{reason}"):
        list(read(folder, "train"))


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no labels\.jsonl"):
        list(read(tmp_path / "nowhere", "train"))
    with pytest.raises(DataError, match="no images of the split 'test'"):
        list(read(folder, "test"))
    changed(folder, {"file": "99.png"})
    with pytest.raises(InputError, match=r"drawn\.zip: 99\.png cannot be read"):
        list(read(folder, "train"))
    (folder / "drawn.zip").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"drawn\.zip"):
        list(read(folder, "train"))


def test_a_line_that_is_no_json(folder: Path) -> None:
    with (folder / "labels.jsonl").open("a") as file:
        file.write("{half")
    with pytest.raises(DataError, match="line 17"):
        list(read(folder, "train"))
