"""Training faces on two framings: more rows, the same truth, aligned where the landmark network is sure."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command

from mien.assets.manifest import default_model, model_info
from mien.datasets import Samples, store
from mien.datasets.derive.aligned_crops import add_aligned_crops
from mien.errors import DataError
from mien.evaluation import evaluate_model
from mien.faces.align import CropAligner

INFO = model_info(default_model())
PAPER = (2, 4)  # rows that hold no face


@pytest.fixture
def faces(astronaut: Path) -> Samples:
    """(8, 64, 64): a loosely framed face at several brightnesses, grey paper among them; the last is for judging."""
    image = np.asarray(Image.open(astronaut).convert("L"))[20:200, 140:320]
    face = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    images = np.stack([face * (1 - 0.03 * row) for row in range(8)]).astype(np.uint8)
    images[list(PAPER)] = 128
    return Samples(
        images=images,
        labels=np.array([3, 6] * 4),
        classes=("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
        split=np.array([0] * 7 + [1], np.uint8),
        targets=np.eye(7, dtype=np.float32)[[3, 6] * 4],
        names=np.array([f"row-{row}" for row in range(8)]),
        votes=np.tile(np.arange(10, dtype=np.uint8), (8, 1)),
        soft_votes=np.linspace(0, 1, 80, dtype=np.float32).reshape(8, 10),
        about={"source": "astronaut"},
    )


def test_copies_follow_with_all_that_is_known_of_them(faces: Samples) -> None:
    heard: list[tuple[int, int]] = []
    both = add_aligned_crops(faces, INFO, progress=lambda done, total: heard.append((done, total)))
    copied = [row for row in range(7) if row not in PAPER]
    assert len(both) == 8 + len(copied)
    assert heard[-1] == (7, 7)
    np.testing.assert_array_equal(both.images[:8], faces.images)
    for column in ("labels", "targets", "names", "votes", "soft_votes", "split"):
        np.testing.assert_array_equal(getattr(both, column)[8:], getattr(faces, column)[copied])
    aligner = CropAligner([INFO.crop_spec.resized(64)])
    (expected,) = aligner(cv2.cvtColor(faces.images[0], cv2.COLOR_GRAY2RGB)) or (None,)
    assert expected is not None
    np.testing.assert_array_equal(both.images[8], cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY))
    assert both.about["aligned_crops"] == len(copied)


def test_the_command(faces: Samples, tmp_path: Path) -> None:
    store.save(faces, tmp_path / "faces.h5")
    done = run_command("data", "add-aligned-crops", "faces.h5", "--out", "both.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "added: aligned crops of 5 of 7 training faces" in done.stdout
    assert len(store.load(tmp_path / "both.h5")) == 13


def test_nothing_to_align(faces: Samples) -> None:
    paper = replace(faces, images=np.full_like(faces.images, 128))
    with pytest.raises(DataError, match="sure of none of the training faces"):
        add_aligned_crops(paper, INFO)
    with pytest.raises(DataError, match="expected square faces"):
        add_aligned_crops(replace(faces, images=faces.images[:, :40]), INFO)


def test_the_evaluation_aligns_on_request(faces: Samples) -> None:
    val = faces.only("val")
    raw, aligned = (
        evaluate_model("mien-m", val, split="val", protocols=["labels"], align=align) for align in (False, True)
    )
    assert "aligned where sure" in aligned.scores["labels"].protocol
    assert (raw.aligned, aligned.aligned) == (False, True)
    assert raw.predictions["labels"].probabilities.tolist() != aligned.predictions["labels"].probabilities.tolist()
