"""The scores together: they agree with the functions that compute each, and their JSON is valid."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from mien.emotions import vocabulary
from mien.evaluation import calibration, metrics
from mien.evaluation.intervals import Estimate, Resampling, wilson
from mien.evaluation.score import Scores, compute_scores
from mien.expression import softmax

Faces = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Probabilities, labels and votes of 600 simulated faces over eight classes; three have no votes."""
    random = np.random.default_rng(7)
    logits = random.normal(scale=2.5, size=(600, 8)).astype(np.float32)
    votes = np.array([random.multinomial(10, row / row.sum()) for row in softmax(logits).astype(np.float64)])
    labels = votes.argmax(axis=1)
    votes[:3] = 0
    return softmax(logits, 0.6), labels, votes


@pytest.fixture(scope="module")
def scores(faces: Faces) -> Scores:
    probabilities, labels, votes = faces
    return compute_scores(
        probabilities, labels, vocabulary(8), protocol="FER+ argmax", votes=votes, dropped=17, how=Resampling(200)
    )


def test_the_values_are_those_of_the_functions(faces: Faces, scores: Scores) -> None:
    probabilities, labels, votes = faces
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    assert scores.accuracy.value == pytest.approx(sk.accuracy_score(labels, predicted))
    assert scores.macro_f1.value == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert scores.nll.value == metrics.negative_log_likelihood(probabilities, labels).mean()
    assert scores.cross_entropy is not None
    assert scores.cross_entropy.value == metrics.cross_entropy(probabilities[3:], votes[3:]).mean()
    assert scores.jensen_shannon is not None
    assert scores.jensen_shannon.value == metrics.jensen_shannon(probabilities[3:], votes[3:]).mean()
    error = calibration.calibration_error(confidence, predicted == labels)
    assert scores.calibration_error.value == error
    assert scores.excess_error.value == pytest.approx(error - scores.perfect_error.value)
    assert (scores.n, scores.dropped, scores.voted) == (600, 17, 597)
    assert scores.bins.count.sum() == scores.confusion.sum() == 600
    assert [row.name for row in scores.rows] == list(vocabulary(8))
    assert [row.support for row in scores.rows] == np.bincount(labels, minlength=8).tolist()
    assert [row.predicted for row in scores.rows] == np.bincount(predicted, minlength=8).tolist()


def test_every_interval_holds_its_value(scores: Scores) -> None:
    estimates = [scores.accuracy, scores.macro_f1, scores.nll, scores.cross_entropy]
    estimates += [scores.jensen_shannon, scores.calibration_error, scores.perfect_error]
    estimates += [scores.excess_error, *(row.f1 for row in scores.rows)]
    for estimate in estimates:
        assert estimate is not None
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high


def test_without_votes_there_are_no_scores_against_them(faces: Faces) -> None:
    probabilities, labels, votes = faces
    for none in (None, np.zeros_like(votes)):
        scores = compute_scores(
            probabilities, labels, vocabulary(8), protocol="FER2013", votes=none, how=Resampling(20)
        )
        assert scores.cross_entropy is None
        assert scores.jensen_shannon is None
        assert scores.voted == 0


def test_the_same_seed_gives_the_same_scores(faces: Faces) -> None:
    probabilities, labels, votes = faces
    first, again, other = (
        compute_scores(
            probabilities, labels, vocabulary(8), protocol="FER+", votes=votes, how=Resampling(50, seed)
        ).as_dict()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_as_dict_is_json_and_holds_every_score(scores: Scores) -> None:
    record = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert record["protocol"] == "FER+ argmax"
    assert record["accuracy"] == scores.accuracy.as_dict()
    assert [info["emotion"] for info in record["classes"]] == list(vocabulary(8))
    assert np.array(record["confusion"]).shape == (8, 8)
    assert sum(record["calibration_bins"]["count"]) == 600
    assert set(record) == {
        "protocol",
        "n",
        "dropped",
        "found",
        "voted",
        "resampled",
        "accuracy",
        "macro_f1",
        "mean_recall",
        "mean_recall_of_seven",
        "selective_accuracy_80",
        "nll_nats",
        "calibration_error",
        "perfect_calibration_error",
        "calibration_error_above_chance",
        "calibration_error_above_chance_at_assumed_shares",
        "cross_entropy_to_votes_nats",
        "jensen_shannon_to_votes_nats",
        "jensen_shannon_of_half_the_votes_to_the_others_nats",
        "classes",
        "rare_classes",
        "confusion",
        "calibration_bins",
    }


def test_one_face_and_absent_classes_are_scored() -> None:
    scores = compute_scores(
        np.array([[0.5, 0.3, 0.2]]), np.array([0]), vocabulary(8)[:3], protocol="FER2013", how=Resampling(20)
    )
    assert scores.accuracy == Estimate(1, 1, 1)
    assert scores.macro_f1 == Estimate(1, 1, 1)
    assert scores.calibration_error == Estimate(0.5, 0.5, 0.5)
    row = scores.as_dict()["classes"][1]  # type: ignore[index]
    assert row["recall"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("right", [0, 3])
def test_the_recall_of_a_class_with_few_faces_has_an_interval_even_if_none_is_found(right: int) -> None:
    labels = np.array([0] * 90 + [1] * 13)
    answers = np.where(np.arange(len(labels)) >= len(labels) - right, labels, 0)
    scores = compute_scores(np.eye(2)[answers], labels, vocabulary(8)[:2], protocol="FER2013", how=Resampling(20))
    assert scores.rows[1].recall == wilson(right, 13)
    assert scores.rows[1].recall.high > scores.rows[1].recall.value
    assert scores.rows[0].recall.low == 1  # of many faces, by the bootstrap


def test_what_is_said_of_few_faces_has_an_interval_even_if_it_is_never_right() -> None:
    labels = np.array([0] * 90 + [1] * 60)
    answers = np.where(np.arange(len(labels)) < 3, 1, 0)
    scores = compute_scores(np.eye(2)[answers], labels, vocabulary(8)[:2], protocol="FER2013", how=Resampling(20))
    row = scores.rows[1]
    assert row.precision == wilson(0, 3)
    assert row.precision.high > 0.4
    assert (row.f1.value, row.f1.low) == (0, 0)
    jaccard = wilson(0, 63).high
    assert row.f1.high == pytest.approx(2 * jaccard / (1 + jaccard))


def test_invalid_input_is_refused(faces: Faces) -> None:
    probabilities, labels, votes = faces
    names = vocabulary(8)
    for wrong, message in [
        (
            (probabilities[:, :7], labels, votes),
            r"probabilities: expected \(N, 8\), not empty, got \(600, 7\)",
        ),
        ((probabilities[:0], labels[:0], votes), "not empty"),
        ((probabilities, labels[:9], votes), r"labels: expected \(600,\), got \(9,\)"),
        ((probabilities, labels + 1, votes), "labels: expected 0 to 7, got 1 to 8"),
        ((probabilities * 2, labels, votes), "sum to 1"),
        ((np.full_like(probabilities, np.nan), labels, votes), "sum to 1"),
        ((probabilities, labels, votes[:, :7]), r"votes: expected \(600, 8\), got \(600, 7\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            compute_scores(wrong[0], wrong[1], names, protocol="FER+", votes=wrong[2], how=Resampling(5))


def test_scores_cannot_be_changed(scores: Scores) -> None:
    with pytest.raises(AttributeError):
        scores.n = 5  # type: ignore[misc]
    assert replace(scores, n=5).n == 5
