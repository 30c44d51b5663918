"""Training faces as the detector's crops: more rows, the same truth, and the crop_spec that a model asks for."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.commands import run_command

from mien.assets.manifest import default_model, model_info
from mien.datasets import Samples, store
from mien.datasets.canvas import BORDERS, find_and_crop
from mien.datasets.derive import detector_crops as module
from mien.datasets.derive.detector_crops import add_detector_crops
from mien.errors import ConfigError, DataError
from mien.faces import detectors
from mien.faces.align import Aligner

FRAMING = model_info(default_model())
PAPER = (2, 4)  # rows that hold no face


@pytest.fixture
def faces(astronaut: Path) -> Samples:
    """(8, 48, 48): a real face at several brightnesses, grey paper among them; the last is for judging."""
    image = np.asarray(Image.open(astronaut).convert("L"))[50:210, 145:305]
    face = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA).astype(float)
    images = np.stack([face * (1 - 0.05 * row) for row in range(8)]).astype(np.uint8)
    images[list(PAPER)] = 128
    return Samples(
        images=images,
        labels=np.array([0, 1] * 4),
        classes=("happiness", "neutral"),
        split=np.array([0] * 7 + [1], np.uint8),
        targets=np.eye(2, dtype=np.float32)[[0, 1] * 4],
        names=np.array([f"row-{row}" for row in range(8)]),
        votes=np.tile(np.arange(10, dtype=np.uint8), (8, 1)),
        soft_labels=np.linspace(0, 1, 16, dtype=np.float32).reshape(8, 2),
        about={"source": "astronaut"},
    )


def expected(images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """The crop of the training face of this number."""
    aligner = Aligner(detectors.load(), [FRAMING.crop_spec.resized(48)])
    (crops,), _ = find_and_crop(images, aligner, list(BORDERS)[number % len(BORDERS)])
    return np.asarray(crops[0], np.uint8)


@pytest.mark.parametrize("chunk", [3, 240])
def test_copies_follow_with_all_that_is_known_of_them(
    faces: Samples, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    heard: list[tuple[int, int]] = []
    both = add_detector_crops(
        faces, detectors.load(), FRAMING, progress=lambda done, total: heard.append((done, total))
    )
    found = [row for row in range(7) if row not in PAPER]
    assert heard[-1] == (7, 7)
    assert both.names.tolist() == [*faces.names.tolist(), *(f"row-{row}" for row in found)]
    np.testing.assert_array_equal(both.images[:8], faces.images)
    assert both.split.tolist() == [*faces.split.tolist(), *[0] * len(found)]
    for copy, row in enumerate(found, start=8):
        crop = cv2.cvtColor(expected(faces.images[row : row + 1], row), cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(both.images[copy], crop)
        assert both.labels[copy] == faces.labels[row]
        assert both.soft_labels is not None
        assert faces.soft_labels is not None
        np.testing.assert_array_equal(both.soft_labels[copy], faces.soft_labels[row])
    assert both.about == {"source": "astronaut", "detector_crops": len(found), "detector_crops_by": "mien"}


def test_colour_and_size_stay(faces: Samples) -> None:
    large = np.stack([cv2.resize(image, (64, 64), interpolation=cv2.INTER_CUBIC) for image in faces.images])
    coloured = replace(faces, images=np.stack([large, large // 2, large // 3], axis=-1).astype(np.uint8))
    both = add_detector_crops(coloured, detectors.load(), FRAMING)
    assert both.images.shape == (8 + 5, 64, 64, 3)
    red, green, blue = both.images[8:].astype(float).mean(axis=(0, 1, 2))
    assert red / 2 == pytest.approx(green, rel=0.05)
    assert red / 3 == pytest.approx(blue, rel=0.05)


def test_what_cannot_be_cropped_is_said(faces: Samples) -> None:
    with pytest.raises(DataError, match="finds none"):
        add_detector_crops(faces.subset(np.array(PAPER)), detectors.load(), FRAMING)
    with pytest.raises(DataError, match="expected square faces, got 48x40 pixels"):
        add_detector_crops(replace(faces, images=faces.images[:, :40]), detectors.load(), FRAMING)
    with pytest.raises(DataError, match="no 'train' rows"):
        add_detector_crops(faces.only("val"), detectors.load(), FRAMING)
    with pytest.raises(ConfigError, match="does not define where landmarks are"):
        add_detector_crops(faces, detectors.load(), replace(FRAMING, inputs=(replace(FRAMING.image, landmarks=()),)))


def test_the_command(faces: Samples, tmp_path: Path) -> None:
    store.save(faces, tmp_path / "faces.h5")
    run = run_command("data", "add-detector-crops", "faces.h5", "--out", "both.h5", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "added: crops of 5 of 7 training faces" in run.stdout
    written = store.load(tmp_path / "both.h5")
    np.testing.assert_array_equal(written.images, add_detector_crops(faces, detectors.load(), FRAMING).images)
