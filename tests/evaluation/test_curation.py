"""Likely errors in labels: planted errors are found, hesitant classes are not suspected, votes are judged by votes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripts.curate import curated
from tests.drawn import drawn_samples

from mien.datasets import store
from mien.errors import DataError
from mien.evaluation.curation import curate, vote_trust

CLASSES = ("anger", "fear", "neutral")


def planted(seed: int, count: int = 900, wrong: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of a good model, labels of which some are wrong, and which are."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=count)
    logits = rng.normal(size=(count, 3)) + 4 * np.eye(3)[truth]
    powers = np.exp(logits)
    errors = rng.random(count) < wrong
    labels = np.where(errors, (truth + rng.integers(1, 3, size=count)) % 3, truth)
    return powers / powers.sum(axis=1, keepdims=True), labels, errors


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_are_found(seed: int) -> None:
    probabilities, labels, errors = planted(seed)
    found = curate(probabilities, labels, CLASSES)
    assert (found.suspect & errors).sum() >= 0.85 * errors.sum()
    assert (found.suspect & errors).sum() >= 0.85 * found.suspect.sum()
    assert found.noise == pytest.approx(errors.mean(), abs=0.03)
    assert found.joint.sum(axis=1) == pytest.approx(np.bincount(labels, minlength=3))
    weights = found.weights(0.2)
    assert weights.min() == pytest.approx(0.2)
    assert (weights[~found.suspect] == 1).all()
    suspects = np.flatnonzero(found.suspect)
    assert suspects[weights[suspects].argmin()] == suspects[found.margin[suspects].argmin()]


def test_a_class_that_is_read_hesitantly_is_not_suspected_as_a_whole() -> None:
    """Everyone of the third class gets 45%, the first 50%: below its own threshold, so no error."""
    probabilities = np.array([[0.9, 0.05, 0.05]] * 50 + [[0.05, 0.9, 0.05]] * 50 + [[0.5, 0.05, 0.45]] * 50)
    found = curate(probabilities, np.repeat([0, 1, 2], 50), CLASSES)
    assert not found.suspect.any()
    assert found.noise == pytest.approx(0)


def test_faces_without_labels_are_left_alone() -> None:
    probabilities, labels, _ = planted(0)
    labels[:100] = -1
    found = curate(probabilities, labels, CLASSES)
    assert not found.suspect[:100].any()
    assert np.isnan(found.margin[:100]).all()
    assert (found.weights()[:100] == 1).all()
    report = found.text([f"face-{number}" for number in range(len(labels))])
    assert report.startswith("800 labels, of which about")
    assert "face-" in report


@pytest.mark.parametrize(
    ("shape", "label", "told"),
    [((4, 2), 0, "expected"), ((4, 3), 3, "expected -1 to 2"), ((4, 3), -1, "at least one label")],
)
def test_what_cannot_be_curated(shape: tuple[int, int], label: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        curate(np.full(shape, 1 / shape[1]), np.full(4, label), CLASSES)


def test_votes_far_from_the_model_count_less() -> None:
    votes = np.zeros((200, 10), np.uint8)
    votes[:, 3], votes[:, 6] = 8, 2
    near = np.zeros((200, 10))
    near[:, 3], near[:, 6] = 0.8, 0.2
    far = near.copy()
    far[0] = 0.0
    far[0, 1] = 1.0
    votes[1] = 0
    weights = vote_trust(far, votes)
    assert weights[0] == pytest.approx(0.2, abs=0.01)
    assert (weights[1:] == 1).all()
    with pytest.raises(ValueError, match="expected"):
        vote_trust(near[:5], votes)


def test_the_script_weights_a_store(tmp_path: Path) -> None:
    samples = drawn_samples(tmp_path / "drawn", per_class=12)
    with pytest.raises(DataError, match="no soft targets"):
        curated(samples)
    training = samples.split == 0
    said = np.where(training[:, None], 0.9 * np.eye(7)[samples.labels] + 0.1 / 7, 0).astype(np.float32)
    rows = np.flatnonzero(training)[:5]
    labels, targets = samples.labels.copy(), samples.targets.copy()
    labels[rows] = (labels[rows] + 1) % 7
    targets[rows] = np.eye(7, dtype=np.float32)[labels[rows]]
    store.save(replace(samples, labels=labels, targets=targets, soft_labels=said), tmp_path / "soft.h5")
    paths = {name: str(tmp_path / name) for name in ("soft.h5", "curated.h5", "found.json")}
    command = [sys.executable, "-m", "scripts.curate", paths["soft.h5"], "--out", paths["curated.h5"]]
    done = subprocess.run([*command, "--report", paths["found.json"]], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = store.load(tmp_path / "curated.h5")
    assert found.weights is not None
    assert set(np.flatnonzero(found.weights < 1)) == set(rows)
    assert (tmp_path / "found.json").is_file()
