"""The scripts that make training images for a detector, run from the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT
from tests.face_images import write_images

from mien.datasets.face_images import read


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
