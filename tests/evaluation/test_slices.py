"""Slices by image and by votes, and the ranges that the page's curves show."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.drawn import drawn_samples

from mien.datasets import Samples
from mien.evaluation import calibration
from mien.evaluation.intervals import Resampling
from mien.evaluation.slices import all_slices, measures, slice_faces


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=3)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_slices_hold_every_face_once_and_keep_ties_together(values: list[int]) -> None:
    measured = np.array(values, float)
    hits = measured > 2
    found = slice_faces(measured, np.full(len(values), 0.75), hits)
    assert sum(one.faces for one in found) == len(values)
    assert 1 <= len(found) <= 4
    for before, after in pairwise(found):
        assert before.high < after.low
    for one in found:
        mine = (measured >= one.low) & (measured <= one.high)
        assert one.faces == mine.sum()
        assert one.accuracy.value == pytest.approx(hits[mine].mean())
        assert one.overconfidence.value == pytest.approx(0.75 - hits[mine].mean())
        assert one.accuracy.low <= one.accuracy.value <= one.accuracy.high


def test_equal_slices_without_ties() -> None:
    found = slice_faces(np.arange(100.0), np.full(100, 0.5), np.ones(100, bool))
    assert [one.faces for one in found] == [25, 25, 25, 25]


def test_measures_follow_the_image(samples: Samples) -> None:
    few = samples.subset(np.arange(6))
    found = measures(few)
    assert list(found) == ["brightness", "contrast", "sharpness", "disagreement"]
    images = few.images.copy()
    images[0] = np.clip(images[0].astype(int) + 20, 0, 255)
    images[1] = (images[1] // 2) + 30
    images[2] = cv2.GaussianBlur(images[2], (0, 0), 2)
    changed = measures(Samples(**{**{name: getattr(few, name) for name in few.__dataclass_fields__}, "images": images}))
    assert changed["brightness"][0] > found["brightness"][0]
    assert changed["contrast"][1] < 0.6 * found["contrast"][1]
    assert changed["sharpness"][2] < 0.5 * found["sharpness"][2]
    assert changed["brightness"][3] == found["brightness"][3]


def test_cuts_without_votes_and_in_colour(samples: Samples) -> None:
    colour = np.stack([samples.images] * 3, axis=-1)
    plain = {name: getattr(samples, name) for name in samples.__dataclass_fields__}
    other = Samples(**{**plain, "images": colour, "votes": None})
    confidence, correct = np.full(len(other), 0.5), np.ones(len(other), bool)
    grey, rgb = all_slices(samples, confidence, correct), all_slices(other, confidence, correct)
    assert [one.name for one in rgb] == ["brightness", "contrast", "sharpness"]
    assert rgb[0].slices[0].high == pytest.approx(grey[0].slices[0].high)


def test_a_calibrated_model_lies_in_the_range_that_chance_gives_it() -> None:
    random = np.random.default_rng(2)
    confidence = random.uniform(0.2, 1, 3000)
    low, high = calibration.perfect_accuracies(confidence, draws=400)
    inside = []
    for _ in range(20):
        bins = calibration.calibration_bins(confidence, random.random(3000) < confidence)
        inside.append((low <= bins.accuracy) & (bins.accuracy <= high))
    assert 0.9 < np.mean(inside) < 1
    bins = calibration.calibration_bins(confidence, random.random(3000) < confidence - 0.15)
    assert (bins.accuracy < low).mean() > 0.8


def test_a_coverage_is_the_same_number_of_faces_in_value_and_range() -> None:
    correct = np.ones(100, bool)
    correct[92] = False  # the eighth of those with the highest confidence
    found = calibration.selective_accuracy(np.linspace(0, 1, 100), correct, 0.07)  # .07 * 100 is slightly above 7
    assert found.value == 1
    decided = calibration._decided(np.array([0.07, 0.071, 0.8]), 100)
    assert decided.tolist() == [7, 8, 80]


def test_the_range_of_the_risk_holds_the_risk() -> None:
    random = np.random.default_rng(3)
    confidence = random.uniform(0.2, 1, 2000)
    correct = random.random(2000) < confidence
    coverage = np.array([0.1, 0.5, 1.0])
    low, high = calibration.risk_range(confidence, correct, coverage, how=Resampling(300))
    found = calibration.risk_coverage(confidence, correct)
    risks = np.interp(coverage, found.coverage, found.risk)
    assert ((low <= risks) & (risks <= high)).all()
    assert (high - low)[0] > (high - low)[2]  # fewer faces, wider
    wider = np.sqrt(risks[2] * (1 - risks[2]) / 2000) * 2 * 1.96
    assert (high - low)[2] == pytest.approx(wider, rel=0.2)
