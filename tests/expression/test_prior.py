"""Reading under other class frequencies: Bayes' rule by hand, joined classes, files, and what is refused."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.drawn import draw_face
from tests.expression.test_ensemble import linear_model

import mien
from mien import Analyzer, AnalyzerOptions
from mien.assets.signature import ClassShares, Head
from mien.emotions import vocabulary
from mien.errors import ConfigError
from mien.expression import ClassifierOptions, Ensemble, OnnxClassifier, load_classifier, prior
from mien.expression.base import Emotions

SHARES = (0.1, 0.01, 0.04, 0.3, 0.15, 0.1, 0.3)
HEAD = Head("labels", vocabulary(7), classes=ClassShares(SHARES))


@pytest.fixture(scope="module")
def faces() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(2)
    return [draw_face(emotion, rng) for emotion in vocabulary(7)]


def by_hand(probabilities: NDArray[np.float32], assumed: NDArray[np.floating]) -> NDArray[np.floating]:
    changed = probabilities * assumed / np.array(SHARES)
    return np.asarray(changed / changed.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("name", "power"), [("training", 1.0), ("soft", 0.5), ("uniform", 0.0)])
def test_bayes_rule_by_hand(name: str, power: float) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), size=50).astype(np.float32)
    found = prior.under(probabilities, prior.factors(HEAD, vocabulary(7), name, "head"))
    np.testing.assert_allclose(found, by_hand(probabilities, np.array(SHARES) ** power), atol=1e-6)
    if name == "training":
        assert found is probabilities


def test_joined_classes_have_joined_shares() -> None:
    """Six emotions: anger includes disgust, so under the uniform prior it counts once, not twice."""
    learned = prior.learned_shares(HEAD, vocabulary(6), "head")
    assert learned[0] == pytest.approx(0.11)
    assert prior.assumed_shares(vocabulary(6), learned, "uniform") == pytest.approx(np.full(6, 1 / 6))


def test_a_class_without_training_faces_gets_nothing() -> None:
    head = Head("labels", ("a", "b", "c"), classes=ClassShares((0.5, 0.5, 0.0)))
    found = prior.under(np.array([[0.2, 0.3, 0.5]], np.float32), prior.factors(head, ("a", "b", "c"), "uniform", ""))
    np.testing.assert_allclose(found, [[0.4, 0.6, 0.0]], atol=1e-6)
    rest = np.array([[0.0, 0.0, 1.0]], np.float32)  # nothing else is possible: unchanged
    np.testing.assert_array_equal(prior.under(rest, prior.factors(head, ("a", "b", "c"), "uniform", "")), rest)


def test_shares_that_the_loss_removed_are_put_back() -> None:
    adjusted = replace(HEAD, classes=ClassShares(SHARES, removed=1.0))
    even = np.full((1, 7), 1 / 7, np.float32)
    training = prior.under(even, prior.factors(adjusted, vocabulary(7), "training", ""))
    np.testing.assert_allclose(training, [SHARES], atol=1e-6)
    np.testing.assert_allclose(prior.under(even, prior.factors(adjusted, vocabulary(7), "uniform", "")), even)


def test_the_shipped_model_finds_more_of_rare_classes(faces: list[NDArray[np.uint8]]) -> None:
    def read(name: str) -> NDArray[np.float32]:
        return OnnxClassifier(ClassifierOptions("mien-m", prior=name)).predict_proba(faces)

    training, soft, uniform = (read(name) for name in prior.PRIORS)
    rare = [vocabulary(8).index(name) for name in ("disgust", "contempt", "fear")]
    assert (training[:, rare].sum(axis=1) < soft[:, rare].sum(axis=1)).all()
    assert (soft[:, rare].sum(axis=1) < uniform[:, rare].sum(axis=1)).all()
    for found in (training, soft, uniform):
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_file_of_shares(faces: list[NDArray[np.uint8]], tmp_path: Path, suffix: str) -> None:
    shares = {"Happy": 2.0, "neutral": 1.0} | dict.fromkeys(("anger", "disgust", "fear", "sad", "surprise"), 0.0)
    path = tmp_path / f"mine{suffix}"
    lines = "\n".join(f"{name} = {share}" for name, share in shares.items())
    path.write_text(json.dumps(shares) if suffix == ".json" else lines, encoding="utf-8")
    own, pairs = (
        load_classifier(ClassifierOptions("mien-m", emotions=7, prior=given)).predict_proba(faces)
        for given in (path, shares)
    )
    np.testing.assert_array_equal(own, pairs)
    np.testing.assert_allclose(own[:, [3, 6]].sum(axis=1), 1, atol=1e-5)


def test_ensembles_read_each_member_under_the_prior(faces: list[NDArray[np.uint8]]) -> None:
    options = ClassifierOptions("mien-m,mien-s", emotions=7, prior="uniform")
    alone = [load_classifier(replace(options, model=name)).predict_proba(faces) for name in ("mien-m", "mien-s")]
    together = Ensemble(options)
    np.testing.assert_allclose(together.predict_proba(faces), np.mean(alone, axis=0), atol=1e-6)
    assert together.assumed_shares == pytest.approx(np.full(7, 1 / 7))


@pytest.mark.parametrize("emotions", [None, 6, 7, 8, 10, ("happiness", "sadness")])
@pytest.mark.parametrize("model", [None, "mien-x"])
def test_the_default_takes_a_share_for_each_class_of_the_answer(
    faces: list[NDArray[np.uint8]], emotions: Emotions, model: str | None
) -> None:
    """Its members have heads with more classes, which do not count."""
    classes = load_classifier(ClassifierOptions(model, emotions=emotions)).emotions
    even = dict.fromkeys(classes, 1.0)
    own = load_classifier(ClassifierOptions(model, emotions=emotions, prior=even))
    assert own.assumed_shares == pytest.approx(np.full(len(classes), 1 / len(classes)))
    assert own.predict_proba(faces).shape == (len(faces), len(classes))
    only = own.emotions[-1]
    sure = ClassifierOptions(model, emotions=emotions, prior=dict.fromkeys(classes, 0.0) | {only: 1.0})
    np.testing.assert_allclose(load_classifier(sure).predict_proba(faces)[:, -1], 1, atol=1e-5)
    with pytest.raises(ConfigError, match=f"prior: no share for {only}"):
        load_classifier(ClassifierOptions(model, emotions=emotions, prior=dict.fromkeys(classes[:-1], 1.0)))


def test_in_python(faces: list[NDArray[np.uint8]]) -> None:
    face = np.repeat(faces[1][:, :, None], 3, axis=2)
    (expected,) = load_classifier(ClassifierOptions(prior="soft"))([face])
    for result in (
        mien.analyze(face, options=AnalyzerOptions(align=False), detector="whole-image", prior="soft"),
        Analyzer(AnalyzerOptions(align=False), detector="whole-image", prior="soft").analyze(face),
    ):
        assert result[0].expression is not None
        assert result[0].expression.as_dict() == pytest.approx(expected.as_dict(), abs=1e-6)
    with pytest.raises(ConfigError, match="no effect on a ready classifier"):
        Analyzer(classifier=OnnxClassifier(), prior="soft")


def test_the_analyzer_reads_under_soft_and_a_classifier_under_training(faces: list[NDArray[np.uint8]]) -> None:
    face = np.repeat(faces[1][:, :, None], 3, axis=2)
    analyzer = Analyzer(AnalyzerOptions(align=False), detector="whole-image")
    (read,) = analyzer.analyze(face)
    (soft,) = load_classifier(ClassifierOptions(prior="soft"))([face])
    assert read.expression is not None
    assert read.expression.as_dict() == pytest.approx(soft.as_dict(), abs=1e-6)
    assert analyzer.classifier.prior == "soft"
    assert OnnxClassifier().prior == load_classifier(ClassifierOptions("mien-m,mien-s")).prior == "training"


def test_auto_is_training_if_the_shares_are_not_known(tmp_path: Path, faces: list[NDArray[np.uint8]]) -> None:
    path = linear_model(tmp_path / "seven.onnx", vocabulary(7), size=32) or tmp_path / "seven.onnx"
    alone = Analyzer(classifier=path, detector="whole-image").classifier
    assert alone.prior == "training"
    mixed = load_classifier(ClassifierOptions(("mien-m", path), emotions=7, prior="auto"))
    parts = [load_classifier(ClassifierOptions("mien-m", emotions=7, prior="soft")), alone]
    expected = np.mean([part.predict_proba(faces) for part in parts], axis=0)
    np.testing.assert_allclose(mixed.predict_proba(faces), expected, atol=1e-6)


def test_shares_may_be_numbers_of_numpy() -> None:
    given: list[dict[str, Any]] = [
        {"happy": np.float32(0.5), "sad": np.int64(1)},
        {"happy": Fraction(1, 2), "sad": 1.0},
    ]
    for shares in given:
        assert ClassifierOptions(prior=shares) == ClassifierOptions(prior={"happy": 0.5, "sad": 1})


WRONG: dict[str, tuple[Any, str]] = {
    "another word": ("even", "unknown value 'even'"),
    "a misspelling": ("unifrom", "unknown value 'unifrom'"),
    "a number": (0.5, "unknown value '0.5'"),
    "an empty table": ({}, "expected a number for each class"),
    "text as a share": ({"anger": "much"}, "expected a number for each class, got {'anger': 'much'}"),
    "a truth as a share": ({"anger": True, "fear": 1}, "expected a number for each class"),
    "a truth of numpy": ({"anger": np.bool_(True), "fear": 1}, "expected a number for each class"),
    "no share": ({"anger": None}, "expected a number for each class"),
    "a share below 0": ({"anger": -1, "fear": 2}, "expected shares from 0"),
    "only zeros": ({"anger": 0, "fear": 0}, "not all of them 0"),
    "nan": ({"anger": float("nan")}, "expected shares from 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_prior(name: str) -> None:
    given, told = WRONG[name]
    with pytest.raises(ConfigError, match=told) as caught:
        ClassifierOptions("mien-m", prior=given)
    assert caught.value.message.startswith("prior: ")


FILES = {
    "missing": ("none.json", None, "none.json: cannot be read"),
    "not JSON": ("bad.json", "{anger: 1", "is not JSON"),
    "not TOML": ("bad.toml", "anger = ", "is not TOML"),
    "a list": ("list.json", "[0.5, 0.5]", "expected a table, got list"),
    "a class is missing": ("some.json", '{"anger": 1, "happiness": 1}', "no share for disgust, fear"),
    "a class that is none": ("other.json", '{"anger": 1, "hapiness": 1}', "'hapiness' is not an emotion"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_prior(name: str, tmp_path: Path) -> None:
    file, content, told = FILES[name]
    if content is not None:
        (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_classifier(ClassifierOptions("mien-m", emotions=7, prior=tmp_path / file))


def test_a_model_without_shares_says_so(tmp_path: Path, faces: list[NDArray[np.uint8]]) -> None:
    path = linear_model(tmp_path / "seven.onnx", vocabulary(7), size=32) or tmp_path / "seven.onnx"
    assert load_classifier(ClassifierOptions(path, emotions=7)).predict_proba(faces).shape == (7, 7)
    with pytest.raises(ConfigError, match="class shares of the training data of 'seven' are not known"):
        load_classifier(ClassifierOptions(path, emotions=7, prior="soft"))
