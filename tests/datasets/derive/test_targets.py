"""Targets of teachers: made, kept in a small file, used again without the teachers, with faces nobody has labelled."""

import json
import subprocess
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import drawn_samples

from mien import emotions
from mien.assets.manifest import default_model, model_info
from mien.datasets import Samples, store
from mien.datasets.derive import targets as module
from mien.datasets.derive.distil import Teachers, distil_targets, record_targets, vote_temperatures
from mien.datasets.derive.targets import Targets, image_hashes, load_targets, tempered, with_targets
from mien.datasets.derive.unlabelled import crop_unlabelled, joined
from mien.datasets.samples import NO_LABEL
from mien.errors import DataError, InputError
from mien.evaluation.calibration import fit_temperature
from mien.expression import OnnxClassifier
from mien.faces import detectors


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=4)


@pytest.fixture(scope="module")
def photographs(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of labelled images: the portrait with its face, and with a label where none is."""
    folder = tmp_path_factory.mktemp("photographs")
    buffer = BytesIO()
    Image.open(astronaut).save(buffer, format="PNG")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name in ("1.png", "2.png"):
            archive.writestr(name, buffer.getvalue())
    five = [[207, 96], [244, 96], [225, 118], [210, 135], [242, 135]]
    lines = [
        {"zip": "a.zip", "file": "1.png", "split": "train", "ignore": [], "faces": [{"box": [182, 58, 270, 166]}]},
        {"zip": "a.zip", "file": "2.png", "split": "train", "ignore": [], "faces": [{"box": [1, 300, 60, 400]}]},
    ]
    for line in lines:
        line["faces"][0]["landmarks"] = five  # type: ignore[index]
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def mien(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_command(*arguments, cwd=place)


def test_recorded_targets_give_what_the_teachers_gave(faces: Samples, tmp_path: Path) -> None:
    teachers = ["mien-m", "mien-s"]
    expected = distil_targets(faces, teachers)
    recorded = record_targets(faces, Teachers(teachers, faces.classes))
    recorded.save(tmp_path / "targets.npz")
    again = load_targets(tmp_path / "targets.npz")
    assert again.teachers == ("mien-m", "mien-s")
    order = np.random.default_rng(0).permutation(len(faces))
    found = with_targets(faces.subset(order), [again])
    for kind in ("soft_labels", "soft_votes"):
        np.testing.assert_allclose(getattr(found, kind), getattr(expected, kind)[order], atol=2e-3)
    assert found.about["teachers"] == ["mien-m", "mien-s"]


def test_large_files_are_kept_in_eight_bits(faces: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    soft = {"soft_labels": rng.dirichlet(np.ones(7), size=(3, len(faces))).astype(np.float32)}
    made = Targets(image_hashes(faces.images), ("a", "b", "c"), soft)
    made.save(tmp_path / "half.npz")
    monkeypatch.setattr(module, "MOST", 100)
    made.save(tmp_path / "byte.npz")
    for name, off in (("half", 1e-3), ("byte", 4.5e-3)):  # half a step of 1/255, and what makes the sum 1
        found = load_targets(tmp_path / f"{name}.npz").soft["soft_labels"]
        np.testing.assert_allclose(found, soft["soft_labels"], atol=off)
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
    with np.load(tmp_path / "byte.npz") as file:
        assert file["soft_labels"].dtype == np.uint8


def test_the_kept_targets_of_the_project_are_read(tmp_path: Path) -> None:
    path = Path(__file__).parents[3] / "research" / "targets" / "all-kinds.npz"
    found = load_targets(path)
    assert found.teachers == ("all-kinds",)
    assert found.soft["soft_votes"].shape == (1, len(found.hashes), 10)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut short", "wrong arrays", "another length"])
def test_files_that_are_no_targets(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "targets.npz"
    if content == "wrong arrays":
        np.savez(path, some=np.zeros(3))
    elif content == "another length":
        np.savez(path, pictures=np.zeros(3, np.uint64), soft_labels=np.zeros((4, 7), np.uint8))
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match="targets"):
        load_targets(path)


def test_targets_of_other_images_or_classes(faces: Samples) -> None:
    other = Targets(np.arange(5, dtype=np.uint64), ("a",), {"soft_labels": np.ones((1, 5, 7), np.float32)})
    with pytest.raises(DataError, match="of other images"):
        with_targets(faces, [other])
    hashes = image_hashes(faces.images)
    with pytest.raises(DataError, match="have 3 classes, the data has 7"):
        with_targets(faces, [Targets(hashes, ("a",), {"soft_labels": np.ones((1, len(faces), 3), np.float32)})])


def test_temperatures_of_the_mean(faces: Samples) -> None:
    soft = np.array([[0.7, 0.2, 0.1], [0, 0, 0]], np.float32)
    squared = soft[0] ** 2 / (soft[0] ** 2).sum()
    np.testing.assert_allclose(tempered(soft, 0.5), [squared, [0, 0, 0]], atol=1e-6)
    made = Teachers(["mien-m"], faces.classes, tta="none")
    found = vote_temperatures(faces, made, fit_temperature)
    val = faces.only("val")
    said = OnnxClassifier("mien-m").with_classes(7).predict_proba(val.images)
    assert found["soft_labels"] == pytest.approx(fit_temperature(np.log(said), val.labels), abs=1e-3)
    assert set(found) == {"soft_labels", "soft_votes"}


def test_unlabelled_faces_are_those_that_a_label_confirms(photographs: Path) -> None:
    found = crop_unlabelled(photographs, detectors.load(), model_info(default_model()))
    assert found.images.shape == (1, 48, 48)
    assert found.names.tolist() == ["a.zip/1.png#0"]
    assert (found.labels == NO_LABEL).all()
    with pytest.raises(DataError, match="no face of 400 pixels"):
        crop_unlabelled(photographs, detectors.load(), model_info(default_model()), least=400)


def test_stores_join(faces: Samples) -> None:
    bare = replace(faces.subset(np.arange(3)), votes=None, weights=np.full(3, 0.5, np.float32))
    both = joined(faces, [bare])
    assert len(both) == len(faces) + 3
    assert both.votes is not None
    assert not both.votes[-3:].any()
    assert both.weights is not None
    assert both.weights.tolist() == [1.0] * len(faces) + [0.5] * 3
    with pytest.raises(DataError, match="cannot join images"):
        joined(faces, [replace(bare, images=bare.images[:, :40])])
    with pytest.raises(DataError, match="cannot join anger"):
        joined(faces, [replace(bare, classes=tuple(reversed(bare.classes)))])


def test_one_command_makes_the_targets_and_they_are_used_again(
    faces: Samples, photographs: Path, tmp_path: Path
) -> None:
    store.save(faces, tmp_path / "fer.h5")
    done = mien(tmp_path, "data", "unlabelled", str(photographs), "--out", "photos.h5")
    assert done.returncode == 0, done.stderr
    command = ("data", "distil", "fer.h5", "--also", "photos.h5")
    done = mien(tmp_path, *command, "--teacher", "mien-s", "--align", "--fit", "--targets", "t.npz", "--out", "soft.h5")
    assert done.returncode == 0, done.stderr
    assert "temperature of the mean, soft labels" in done.stdout
    soft = store.load(tmp_path / "soft.h5")
    train = soft.only("train")
    assert train.soft_votes is not None
    assert train.soft_votes.any(axis=1).all()
    assert (train.labels[-1], len(train)) == (NO_LABEL, len(faces.only("train")) + 1)
    done = mien(tmp_path, *command, "--targets", "t.npz", "--out", "again.h5")
    assert done.returncode == 0, done.stderr
    again = store.load(tmp_path / "again.h5").only("train")
    assert again.soft_votes is not None
    assert again.soft_votes.argmax(axis=1).tolist() == train.soft_votes.argmax(axis=1).tolist()
    refused = mien(tmp_path, *command, "--out", "none.h5")
    assert refused.returncode == 2
    assert "no teachers" in refused.stderr


def test_teachers_that_also_see_the_face_aligned(astronaut: Path) -> None:
    image = np.asarray(Image.open(astronaut).convert("L"))[20:200, 140:320]
    face = np.asarray(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)[None], np.uint8)
    classes = emotions.vocabulary(7)
    plain, both = (Teachers(["mien-s"], classes, tta="none", align=align)(face) for align in (False, True))
    assert np.abs(plain["soft_labels"] - both["soft_labels"]).max() > 1e-3
    np.testing.assert_allclose(both["soft_labels"].sum(axis=2), 1, atol=1e-5)
