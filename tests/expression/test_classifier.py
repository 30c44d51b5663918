"""The classifier: distributions over any vocabulary, from faces of any form, alone or in batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from tests.drawn import draw_face

from mien.assets.manifest import METADATA_KEY, info_in
from mien.emotions import vocabulary
from mien.errors import ConfigError, WeightsError
from mien.expression import ClassifierOptions, OnnxClassifier, load_classifier
from mien.expression.classifier import head_for

SIZES = (6, 7, 8, 10)


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return np.stack([draw_face(emotion, rng) for emotion in vocabulary(8) for _ in range(5)])


@pytest.mark.parametrize("size", SIZES)
def test_probabilities_are_distributions(tiny_model: Path, faces: NDArray[np.uint8], size: int) -> None:
    classifier = OnnxClassifier(tiny_model).with_classes(size)
    found = classifier.predict_proba(faces)
    assert found.shape == (len(faces), size)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.std(axis=0).max() > 0.1  # it looks at the faces
    assert classifier.emotions == vocabulary(size)


def test_six_and_seven_use_the_labels_head_eight_and_ten_the_votes_head(tiny_model: Path) -> None:
    heads = {size: OnnxClassifier(tiny_model).with_classes(size).head.name for size in SIZES}
    assert heads == {6: "fer2013", 7: "fer2013", 8: "votes", 10: "votes"}


def test_six_are_seven_with_disgust_joined_to_anger(tiny_model: Path, faces: NDArray[np.uint8]) -> None:
    seven = OnnxClassifier(tiny_model).with_classes(7).predict_proba(faces)
    six = OnnxClassifier(tiny_model).with_classes(6).predict_proba(faces)
    columns = {name: seven[:, index] for index, name in enumerate(vocabulary(7))}
    columns["anger"] = columns["anger"] + columns.pop("disgust")
    for index, name in enumerate(vocabulary(6)):
        np.testing.assert_allclose(six[:, index], columns[name], atol=1e-6)


def test_eight_are_ten_renormalised(tiny_model: Path, faces: NDArray[np.uint8]) -> None:
    ten = OnnxClassifier(tiny_model).with_classes(10).predict_proba(faces)
    eight = OnnxClassifier(tiny_model).with_classes(8).predict_proba(faces)
    np.testing.assert_allclose(eight, ten[:, :8] / ten[:, :8].sum(axis=1, keepdims=True), atol=1e-6)


def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature(
    tiny_model: Path, faces: NDArray[np.uint8]
) -> None:
    classifier = OnnxClassifier(tiny_model).with_classes(10)
    scaled = classifier.logits(faces)[0]["votes"].astype(np.float64) / classifier.head.temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    np.testing.assert_allclose(classifier.predict_proba(faces), powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
    assert classifier.head.temperature != 1


@pytest.mark.parametrize("batch_size", [1, 3, 32, 1000])
def test_the_batch_size_changes_nothing(tiny_model: Path, faces: NDArray[np.uint8], batch_size: int) -> None:
    expected = OnnxClassifier(tiny_model).predict_proba(faces)
    found = OnnxClassifier(ClassifierOptions(tiny_model, batch_size=batch_size)).predict_proba(faces)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_order_and_the_batch_do_not_change_a_result(tiny_model: Path, faces: NDArray[np.uint8]) -> None:
    classifier = OnnxClassifier(tiny_model)
    order = np.random.default_rng(0).permutation(len(faces))
    np.testing.assert_allclose(
        classifier.predict_proba(faces[order]), classifier.predict_proba(faces)[order], atol=1e-6
    )


def test_faces_of_any_form(tiny_model: Path, faces: NDArray[np.uint8]) -> None:
    classifier = OnnxClassifier(tiny_model)
    colour = np.repeat(faces[..., None], 3, axis=3)
    np.testing.assert_allclose(classifier.predict_proba(colour), classifier.predict_proba(faces), atol=1e-6)
    mixed = [faces[0], colour[1], faces[2][:30], colour[3][:, :17], np.kron(faces[4], np.ones((3, 3), np.uint8))]
    found = classifier.predict_proba(mixed)
    assert found.shape == (5, 8)
    np.testing.assert_allclose(found[[0, 1, 4]], classifier.predict_proba(faces[[0, 1, 4]]), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_no_faces(tiny_model: Path, size: int) -> None:
    classifier = OnnxClassifier(tiny_model).with_classes(size)
    assert classifier.predict_proba([]).shape == (0, size)
    assert classifier(np.empty((0, 48, 48), np.uint8)) == []
    assert {name: logits.shape for name, logits in classifier.logits([])[0].items()} == {
        "votes": (0, 10),
        "fer2013": (0, 7),
    }


def test_expressions_are_the_rows(tiny_model: Path, faces: NDArray[np.uint8]) -> None:
    classifier = OnnxClassifier(tiny_model).with_classes(7)
    rows = classifier.predict_proba(faces)
    expressions = classifier(faces)
    for row, expression in zip(rows, expressions, strict=True):
        np.testing.assert_array_equal(expression.probabilities, row)
        assert expression.emotion == vocabulary(7)[int(row.argmax())]
        assert expression.uncertain == (row.max() < classifier.head.threshold)


@pytest.mark.parametrize(("abstain", "uncertain"), [(0.0, False), (1.0, True)])
def test_abstaining_can_be_set(tiny_model: Path, faces: NDArray[np.uint8], abstain: float, uncertain: bool) -> None:
    found = OnnxClassifier(ClassifierOptions(tiny_model, abstain=abstain))(faces)
    assert {expression.uncertain for expression in found} == {uncertain}
    assert OnnxClassifier(tiny_model).threshold == OnnxClassifier(tiny_model).head.threshold > 0


def test_emotions_may_be_named(tiny_model: Path, faces: NDArray[np.uint8]) -> None:
    pair = OnnxClassifier(tiny_model).with_classes(("happiness", "neutral"))
    assert pair.head.name == "fer2013"  # the smaller of the two that know them
    seven = OnnxClassifier(tiny_model).with_classes(7).predict_proba(faces)
    columns = [vocabulary(7).index("happiness"), vocabulary(7).index("neutral")]
    expected = seven[:, columns]
    found = pair.predict_proba(faces)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)
    assert OnnxClassifier(tiny_model).with_classes("model").emotions == vocabulary(10)


# --- what a model cannot tell


def with_heads(path: Path, target: Path, *names: str) -> Path:
    """The model with these heads alone."""
    graph = onnx.load(path)
    old = info_in({item.key: item.value for item in graph.metadata_props}, str(path))
    assert old is not None
    kept = [output for output in graph.graph.output if output.name in names]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    info = replace(old, outputs=tuple(head for head in old.heads if head.name in names))
    helper.set_model_props(graph, {METADATA_KEY: info.to_json()})
    onnx.save(graph, target)
    return target


def test_classes_that_no_head_knows(tiny_model: Path, tmp_path: Path) -> None:
    labels = with_heads(tiny_model, tmp_path / "labels.onnx", "fer2013")
    assert OnnxClassifier(labels).with_classes(6).head.name == "fer2013"
    for size in (8, 10):
        with pytest.raises(ConfigError, match=f"the model 'tiny' cannot tell these {size} emotions apart") as caught:
            OnnxClassifier(labels).with_classes(size)
        assert "its heads have 7" in caught.value.hint
    with pytest.raises(ConfigError, match="'boredom' is not an emotion"):
        OnnxClassifier(tiny_model).with_classes(("happiness", "boredom"))


def test_the_votes_head_alone_serves_all(tiny_model: Path, tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    votes = with_heads(tiny_model, tmp_path / "votes.onnx", "votes")
    ten = OnnxClassifier(votes).with_classes(10).predict_proba(faces)
    seven = OnnxClassifier(votes).with_classes(7).predict_proba(faces)
    np.testing.assert_allclose(seven, ten[:, :7] / ten[:, :7].sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 5, 9, 11, -8])
def test_an_unknown_vocabulary_is_refused(tiny_model: Path, size: int) -> None:
    with pytest.raises(ConfigError, match=f"no vocabulary of {size} emotions"):
        OnnxClassifier(tiny_model).with_classes(size)


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no model 'nobody'"):
        OnnxClassifier("nobody")
    (tmp_path / "words.onnx").write_text("words", encoding="utf-8")
    with pytest.raises(WeightsError, match="is not an ONNX network"):
        OnnxClassifier(tmp_path / "words.onnx")


def test_the_head_that_fits_best(tiny_model: Path) -> None:
    info = OnnxClassifier(tiny_model).info
    assert head_for(info, ("contempt",)).name == "votes"
    assert head_for(info, ("fear",)).name == "fer2013"
    assert head_for(replace(info, outputs=info.heads[::-1]), ("fear",)).name == "fer2013"


def test_features_are_those_of_the_images_without_augmentation(faces: NDArray[np.uint8]) -> None:
    classifier = OnnxClassifier("mien-s")
    assert classifier.info.features is not None
    found = classifier.features(faces)
    assert found.shape == (len(faces), classifier.info.features.size)
    assert found.dtype == np.float32
    assert found.std(axis=0).max() > 0
    flipped = OnnxClassifier(ClassifierOptions("mien-s", tta="flip", batch_size=7))
    np.testing.assert_allclose(flipped.features(faces), found, atol=1e-4)
    assert classifier.features([]).shape == (0, found.shape[1])
    both = load_classifier("mien-s,mien-m")
    assert both.features(faces).shape[1] > found.shape[1]
    np.testing.assert_allclose(both.features(faces)[:, : found.shape[1]], found, atol=1e-4)


def test_a_model_without_features_says_so(tiny_model: Path, tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    heads = with_heads(tiny_model, tmp_path / "labels.onnx", "fer2013")
    with pytest.raises(ConfigError, match=r"the model 'tiny' does not give features \(export it again"):
        OnnxClassifier(heads).features(faces)
