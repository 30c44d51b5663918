"""The scripts that make training images for a detector, run from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT
from tests.face_images import write_images

from mien.datasets.face_images import read
from mien.evaluation.detection import match
from mien.faces.detectors import load


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"scripts.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)


def test_false_alarms_become_pictures_without_faces(tmp_path: Path) -> None:
    """Detections besides the labelled faces that the detector hog does not confirm."""
    folder = write_images(tmp_path / "faces", train=12, valid=2)

    out = tmp_path / "alarms"
    done = script("mine_false_alarms", folder, out, "--second", "hog", "--min-score", "0.05")
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.split()[0].replace(",", ""))
    lines = (out / "labels.jsonl").read_text().split("\n")[:-1]
    assert len([line for line in lines if line]) == count
    if count > 1:
        for image in read(out, "train"):
            assert len(image.boxes) == 0
            assert min(image.image.shape[:2]) >= 5


def test_better_landmarks_replace_those_that_no_person_set(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "faces", train=3, valid=1)
    path = folder / "labels.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["faces"][0] |= {"origin": "teacher", "lm_diff": 0.3}
    rows[1]["faces"][1]["origin"] = "teacher"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    points = np.zeros((3, 70, 2))
    points[:, 36:42], points[:, 42:48] = (30, 20), (50, 21)
    points[:, 30], points[:, 48], points[:, 54] = (40, 30), (33, 40), (47, 41)
    np.savez(
        tmp_path / "dense.npz",
        zip_names=["drawn.zip"],
        zip=[0, 0, 0],
        name=np.array(["0.png", "1.png", "1.png"], "S"),
        face=[0, 0, 1],
        ok=np.array([1, 1, 0], np.uint8),
        points=(points * 16).astype(np.int16),
    )
    done = script("detection_labels", folder, tmp_path / "new", "--landmarks", tmp_path / "dense.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 faces with better landmarks")
    new = [json.loads(line) for line in (tmp_path / "new" / "labels.jsonl").read_text().splitlines()]
    changed = new[1]["faces"][0]
    # Theirs count from the centre of the first pixel, these from its corner.
    assert changed["landmarks"] == [[30.5, 20.5], [50.5, 21.5], [40.5, 30.5], [33.5, 40.5], [47.5, 41.5]]
    assert changed["origin"] == "mesh"
    assert "lm_diff" not in changed
    assert new[1]["faces"][1] == rows[1]["faces"][1]  # doubtful
    assert new[0] == rows[0]  # people set these
    assert (tmp_path / "new" / "drawn.zip").read_bytes() == (folder / "drawn.zip").read_bytes()
    assert len(list(read(tmp_path / "new", "train"))) == 3


def test_mistakes_of_a_detector_are_false_alarms_and_missed_faces(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "faces", train=8, valid=2)
    done = script("detection_labels", folder, tmp_path / "new", "--mistakes", "--min-score", "0.3")
    assert done.returncode == 0, done.stderr
    images = list(read(tmp_path / "new", "train"))
    detector = load("mien")
    for image in images:
        found = detector.detect(image.image, min_score=0.3)
        matches = match(found, image)
        missed = len(image.boxes) - int((matches.face >= 0).sum())
        assert len(image.mistakes) == missed + int(matches.false_alarm.sum())
    assert any(len(image.mistakes) for image in images)  # drawn faces are hard
    assert all(not len(image.mistakes) for image in read(tmp_path / "new", "valid"))


def test_crops_become_labelled_images(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from tests.drawn import drawn_samples

    from mien.datasets import store

    path = tmp_path / "drawn.h5"
    store.save(drawn_samples(tmp_path, per_class=6), path)
    out = tmp_path / "labelled"
    done = script("label_crops", path, out, "--detector", "mien", "--limit", 40)
    assert done.returncode == 0, done.stderr
    found, asked = (int(word.replace(",", "")) for word in (done.stdout.split()[0], done.stdout.split()[2]))
    assert 0 <= found <= asked <= 40
    if found > 1:
        for image in read(out, "train"):
            assert image.image.shape == (48, 48, 3)
            assert (image.boxes >= 0).all()
            assert (image.boxes <= 48).all()
            assert np.isfinite(image.landmarks).all()
