"""Vocabularies and their mappings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien import emotions
from mien.errors import ConfigError

SIZES = tuple(emotions.VOCABULARIES)


def _probabilities(size: int) -> st.SearchStrategy[np.ndarray]:
    values = hnp.arrays(np.float32, (3, size), elements=st.floats(0.015625, 1, width=32))
    return values.map(lambda array: array / array.sum(axis=1, keepdims=True))


def test_there_is_one_order() -> None:
    for names in emotions.VOCABULARIES.values():
        assert [name for name in emotions.ALL if name in names] == list(names)


def test_the_vocabularies_are_the_fields() -> None:
    assert emotions.vocabulary(7) == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert set(emotions.vocabulary(7)) - set(emotions.vocabulary(6)) == {"disgust"}
    assert set(emotions.vocabulary(8)) - set(emotions.vocabulary(7)) == {"contempt"}
    assert emotions.vocabulary(10)[8:] == ("unknown", "not_a_face")


def test_an_unknown_size_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="6, 7, 8, 10"):
        emotions.vocabulary(9)


@pytest.mark.parametrize(("text", "noun"), [("Happy", "happiness"), (" NF ", "not_a_face"), ("anger", "anger")])
def test_aliases(text: str, noun: str) -> None:
    assert emotions.parse(text) == noun


def test_every_alias_leads_to_an_emotion() -> None:
    assert set(emotions.ALIASES.values()) <= set(emotions.ALL)
    assert not set(emotions.ALIASES) & set(emotions.ALL)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'envy' is not an emotion"):
        emotions.parse("envy")


@given(st.sampled_from(SIZES), st.sampled_from(SIZES), st.data())
def test_converted_rows_sum_to_one(source: int, target: int, data: st.DataObject) -> None:
    known, wanted = emotions.vocabulary(source), emotions.vocabulary(target)
    found = emotions.convert(data.draw(_probabilities(source)), known, wanted)
    assert found.shape == (3, target)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@given(_probabilities(7))
def test_six_joins_disgust_to_anger(seven: np.ndarray) -> None:
    six = emotions.convert(seven, emotions.vocabulary(7), emotions.vocabulary(6))
    np.testing.assert_allclose(six[:, 0], seven[:, 0] + seven[:, 1], atol=1e-6)
    np.testing.assert_allclose(six[:, 1:], seven[:, 2:], atol=1e-6)


@given(_probabilities(10))
def test_eight_leaves_two_out_and_keeps_the_ratios(ten: np.ndarray) -> None:
    eight = emotions.convert(ten, emotions.ALL, emotions.vocabulary(8))
    np.testing.assert_allclose(eight, ten[:, :8] / ten[:, :8].sum(axis=1, keepdims=True), rtol=1e-4)


def test_a_row_without_known_classes_becomes_uniform() -> None:
    ten = np.eye(10, dtype=np.float32)[[9]]
    np.testing.assert_allclose(emotions.convert(ten, emotions.ALL, emotions.vocabulary(8)), 1 / 8)


def test_the_same_vocabulary_is_passed_through() -> None:
    seven = np.full((2, 7), 1 / 7, np.float32)
    assert emotions.convert(seven, emotions.vocabulary(7), emotions.vocabulary(7)) is seven


@pytest.mark.parametrize("number", ["0", " 7 ", "8", "-1", "03x", "3.0", "²"])
def test_numbers_are_not_names(number: str) -> None:
    with pytest.raises(ConfigError, match="is not an emotion"):
        emotions.parse(number)
