"""Corruptions of faces, and the accuracy drop that is reported for them."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command

from mien.datasets import Samples, store
from mien.errors import ConfigError
from mien.evaluation import evaluate_model
from mien.evaluation.intervals import Estimate
from mien.evaluation.report.page import evaluation_page
from mien.evaluation.report.text import points, text
from mien.evaluation.robustness import CORRUPTIONS, accuracy_drops, corrupted, select_corruptions
from mien.expression import OnnxClassifier
from mien.expression.base import Images, Logits

SMALL = {"small-24": 24, "small-20": 20}


@pytest.fixture(scope="module")
def samples(tiny_samples: Samples) -> Samples:
    return tiny_samples.only("val")


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 3), (97, 80, 3)], ids=str)
def test_every_corruption(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    faces = rng.integers(40, 216, (3, *shape), np.uint8)
    kept = faces.copy()
    corrupt = corrupted(faces, name)
    side = SMALL.get(name)
    for before, after in zip(faces, corrupt, strict=True):
        assert after.dtype == np.uint8
        assert after.shape == ((side, side, *shape[2:]) if side else shape)
        assert side or (after != before).any()
    assert (faces == kept).all(), "the input is not changed"
    again = corrupted(faces, name)
    assert all((a == b).all() for a, b in zip(corrupt, again, strict=True))


@pytest.mark.parametrize("name", ["jitter", "rotation", "noise", "dark", "cover", "mask"])
def test_each_face_has_random_numbers_of_its_own(name: str) -> None:
    face = np.random.default_rng(0).integers(40, 216, (48, 48), np.uint8)
    one, other = corrupted([face, face], name)
    assert (one != other).any()
    assert (one != corrupted([face], name, seed=1)[0]).any()


def test_jitter_keeps_a_flat_face_and_moves_a_dot_no_further_than_it_says() -> None:
    flat = np.full((48, 48), 90, np.uint8)
    assert (corrupted([flat], "jitter")[0] == 90).all()
    dotted = np.zeros((48, 48), np.uint8)
    dotted[22:26, 22:26] = 255
    for moved in corrupted([dotted] * 50, "jitter"):
        rows, columns = np.nonzero(moved > 100)
        assert np.abs(np.array([rows.mean(), columns.mean()]) - 23.5).max() <= 0.1 * 48 + 0.6


def test_dark_is_dark_and_the_mask_leaves_the_eyes() -> None:
    face = np.full((48, 48), 160, np.uint8)
    assert abs(float(corrupted([face], "dark")[0].mean()) - 40) < 1
    (masked,) = corrupted([face], "mask")
    assert (masked[:22] == 160).all()
    assert 0.2 < (masked != 160).mean() < 0.4


def test_names() -> None:
    assert [one.name for one in select_corruptions(["dark", "jitter", "dark"])] == ["dark", "jitter"]
    assert [one.name for one in select_corruptions(["all"])] == list(CORRUPTIONS)
    with pytest.raises(ConfigError, match="unknown corruption: fog") as caught:
        select_corruptions(["fog", "dark"])
    assert "small-24" in str(caught.value.hint)


def test_the_drop_is_paired() -> None:
    labels = np.zeros(400, np.int64)
    clean = np.tile([[0.9, 0.1]], (400, 1))
    clean[:100] = [0.2, 0.8]
    corrupt = clean.copy()
    corrupt[100:120] = [0.4, 0.6]
    (same, worse) = accuracy_drops(labels, clean, {"dark": clean, "blur": corrupt})
    assert (same.fall.value, same.fall.low, same.fall.high) == (0, 0, 0)
    assert worse.fall.value == pytest.approx(0.05)
    assert worse.accuracy.value == pytest.approx(0.7)
    # The two accuracies' own intervals are four points to each side.
    assert 0.02 < worse.fall.low < worse.fall.high < 0.08
    assert worse.as_dict()["meaning"] == CORRUPTIONS["blur"].meaning


def test_whether_the_model_knows_that_it_is_worse() -> None:
    """The same 30% of the faces are wrong under both corruptions; one model states 70%, the other 95%."""
    labels = np.zeros(1000, np.int64)
    right = np.arange(1000) % 10 < 7
    modest, sure = (np.where(right, stated, 1 - stated)[:, None] * [1, -1] + [0, 1] for stated in (0.7, 0.95))
    (humble, proud) = accuracy_drops(labels, sure, {"dark": modest, "mask": sure})
    assert humble.overconfidence.value == pytest.approx(0)
    assert proud.overconfidence.value == pytest.approx(0.25)
    assert humble.excess_error.value < 0.01
    assert proud.excess_error.value == pytest.approx(0.25, abs=0.03)  # less what chance explains
    assert proud.as_dict()["overconfidence"] == proud.overconfidence.as_dict()
    assert proud.as_dict()["calibration_error_above_chance"] == proud.excess_error.as_dict()


def test_points() -> None:
    assert points(Estimate(0.012, 0.008, 0.016)) == "1.2 (0.8-1.6)"
    assert points(Estimate(0.002, -0.003, 0.007)) == "0.2 (-0.3 to 0.7)"
    assert points(Estimate(-0.0001, -0.0004, 0.0)) == "0.0 (0.0-0.0)"


def test_a_network_runs_once_for_all_protocols(
    samples: Samples, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, told = [], []
    logits = OnnxClassifier.logits

    def counted(self: OnnxClassifier, images: Images) -> Logits:
        seen.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(OnnxClassifier, "logits", counted)
    found = evaluate_model(
        tiny_model, samples, split="val", corruptions=["dark"], progress=lambda done, of: told.append((done, of))
    )
    assert len(found.scores) == 3
    assert sum(seen) == 2 * len(samples)
    assert told[-1] == (2 * len(samples), 2 * len(samples))


def test_a_model_under_corruptions(samples: Samples, tiny_model: Path) -> None:
    found = evaluate_model(tiny_model, samples, split="val", corruptions=["mask", "small-20"])
    assert set(found.accuracy_drops) == set(found.scores)
    for name, drops in found.accuracy_drops.items():
        assert [drop.corruption for drop in drops] == ["mask", "small-20"]
        clean, corrupt = found.scores[name].accuracy.value, drops[0].accuracy.value
        assert drops[0].fall.value == pytest.approx(clean - corrupt)
        written = text(found.scores[name], drops)
        assert "drop, points  overconfident" in written
        assert written.isascii()
        assert all(len(line) <= 100 for line in written.splitlines())
    shown = evaluation_page(found, samples)
    assert "Robustness" in shown
    assert CORRUPTIONS["mask"].meaning in shown
    assert "overconfident by" in shown[shown.index("Robustness") :]
    assert "Robustness" not in evaluation_page(evaluate_model(tiny_model, samples, split="val"), samples)


def test_all_of_them_and_each_named_with_what_it_is(samples: Samples, tiny_model: Path) -> None:
    found = evaluate_model(tiny_model, samples, split="val", corruptions=["all"])
    for drops in found.accuracy_drops.values():
        assert {drop.corruption: drop.meaning for drop in drops} == {
            name: one.meaning for name, one in CORRUPTIONS.items()
        }


def test_not_with_a_detector(samples: Samples, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be combined with a detector"):
        evaluate_model(tiny_model, samples, split="val", detector="hog", corruptions=["dark"])


def test_the_command(tiny_samples: Samples, tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "faces.h5"
    store.save(tiny_samples, data)
    line = ["evaluate", data, "--model", tiny_model, "--json"]
    done = run_command(*line, "--corruption", "jitter,dark")
    assert done.returncode == 0, done.stderr
    for scores in json.loads(done.stdout)["protocols"].values():
        assert [one["corruption"] for one in scores["corruptions"]] == ["jitter", "dark"]
    wrong = run_command(*line, "--corruption", "fog")
    assert wrong.returncode == 2
    assert "unknown corruption: fog" in wrong.stderr
