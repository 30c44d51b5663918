"""Protocols: the true labels that samples allow, and the evaluation of a model by each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.drawn import drawn_samples
from tests.tiny import tiny_model, tiny_run, tiny_samples

from mien.datasets import Samples, ferplus
from mien.datasets.samples import NO_LABEL
from mien.emotions import ALL, vocabulary
from mien.errors import ConfigError
from mien.evaluation import evaluate_model, protocols_of
from mien.evaluation.protocols import Protocol
from mien.expression import OnnxClassifier

__all__ = ["tiny_model", "tiny_run", "tiny_samples"]


def by_name(samples: Samples) -> dict[str, Protocol]:
    return {protocol.name: protocol for protocol in protocols_of(samples)}


def with_votes(samples: Samples, rows: NDArray[np.uint8]) -> Samples:
    votes = np.asarray(samples.votes).copy()
    votes[: len(rows)] = rows
    return replace(samples, votes=votes)


def test_labels_alone_allow_one(tiny_samples: Samples) -> None:
    (only,) = protocols_of(replace(tiny_samples, votes=None))
    assert (only.name, only.title, only.classes) == ("labels", "FER2013, 7 classes", vocabulary(7))
    np.testing.assert_array_equal(only.labels, tiny_samples.labels)
    assert only.kept.all()


def test_votes_allow_two_more(tiny_samples: Samples) -> None:
    found = by_name(tiny_samples)
    assert list(found) == ["labels", "majority", "argmax"]
    assert {found[name].classes for name in ("majority", "argmax")} == {vocabulary(8)}
    assert len({protocol.title for protocol in found.values()}) == 3


def test_labels_made_of_votes_are_no_third_protocol(tmp_path: Path) -> None:
    samples = drawn_samples(tmp_path, per_class=2, emotions=8)
    assert list(by_name(samples)) == ["majority", "argmax"]
    np.testing.assert_array_equal(by_name(samples)["majority"].labels, samples.labels)


def test_rows_without_a_label_are_left_out(tiny_samples: Samples) -> None:
    labels = tiny_samples.labels.copy()
    labels[:3] = NO_LABEL
    found = by_name(replace(tiny_samples, labels=labels))["labels"]
    assert found.kept.tolist() == [False] * 3 + [True] * (len(labels) - 3)


def test_the_two_protocols_of_votes_differ(tiny_samples: Samples) -> None:
    rows = np.zeros((4, 10), np.uint8)
    rows[0, [0, 3, 4]] = 4, 3, 3  # anger has most votes and no majority
    rows[1, [0, 8]] = 4, 6  # unknown
    rows[2, 3] = 1  # a single vote
    found = by_name(with_votes(tiny_samples, rows))  # the fourth has no votes at all
    assert found["majority"].kept[:4].tolist() == [False] * 4
    assert found["argmax"].kept[:4].tolist() == [True, False, True, False]
    assert [vocabulary(8)[label] for label in found["argmax"].labels[[0, 2]]] == ["anger", "happiness"]


def test_the_truth_is_that_of_label_processing(tiny_samples: Samples) -> None:
    assert tiny_samples.votes is not None
    found = by_name(tiny_samples)
    targets, kept = ferplus.process(tiny_samples.votes, "majority")
    np.testing.assert_array_equal(found["majority"].kept, kept)
    np.testing.assert_array_equal(found["majority"].labels[kept], targets[kept].argmax(axis=1))
    for protocol in found.values():
        assert protocol.labels.shape == protocol.kept.shape == (len(tiny_samples),)
        held = protocol.labels[protocol.kept]
        assert ((held >= 0) & (held < len(protocol.classes))).all()


def test_a_protocol_that_keeps_no_face_is_none(tiny_samples: Samples) -> None:
    nobody = np.zeros((len(tiny_samples), 10), np.uint8)
    nobody[:, ALL.index("unknown")] = 10
    assert list(by_name(with_votes(tiny_samples, nobody))) == ["labels"]


# --- evaluating a model


def test_a_model_is_evaluated_under_every_protocol(tiny_model: Path, tiny_samples: Samples) -> None:
    val = tiny_samples.only("val")
    found = evaluate_model(tiny_model, val, split="val")
    assert found.model == "tiny"
    assert list(found.scores) == ["labels", "majority", "argmax"]
    for name, protocol in by_name(val).items():
        scores = found.scores[name]
        read = OnnxClassifier(tiny_model).with_classes(protocol.classes).predict_proba(val.images[protocol.kept])
        right = read.argmax(axis=1) == protocol.labels[protocol.kept]
        assert scores.accuracy.value == pytest.approx(right.mean())
        assert scores.n + scores.dropped == len(val)
        for word in (protocol.title, "PublicTest", "single view", "tiny"):
            assert word in scores.protocol


def test_the_split_has_its_printed_name_for_fer2013_alone(tiny_model: Path, tiny_samples: Samples) -> None:
    other = replace(tiny_samples.only("test"), about={}, votes=None)
    (scores,) = evaluate_model(tiny_model, other, split="test").scores.values()
    assert "PrivateTest" not in scores.protocol
    assert ", test, " in scores.protocol


def test_protocols_can_be_chosen(tiny_model: Path, tiny_samples: Samples) -> None:
    val = tiny_samples.only("val")
    assert list(evaluate_model(tiny_model, val, split="val", protocols=["argmax"]).scores) == ["argmax"]
    with pytest.raises(ConfigError, match="not available for this data: mean") as caught:
        evaluate_model(tiny_model, val, split="val", protocols=["mean"])
    assert "labels, majority, argmax" in caught.value.hint


def test_classes_that_the_model_does_not_know(tiny_model: Path, tiny_samples: Samples) -> None:
    other = replace(tiny_samples.only("val"), classes=tuple("abcdefg"), votes=None)
    with pytest.raises(ConfigError, match="no head for the classes of the data: a, b, c"):
        evaluate_model(tiny_model, other, split="val")
