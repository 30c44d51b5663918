"""Softmax: against torch, and what must hold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mien.expression import softmax

logits_like = hnp.arrays(np.float32, (3, 7), elements=st.floats(-1e4, 1e4, width=32))


@given(logits_like, st.floats(0.05, 20))
def test_softmax_is_a_distribution_equal_to_that_of_torch(logits: NDArray[np.float32], temperature: float) -> None:
    before = logits.copy()
    probabilities = softmax(logits, temperature)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    expected = torch.softmax(torch.from_numpy(logits).double() / temperature, dim=1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)
    np.testing.assert_array_equal(logits, before)


def test_it_takes_one_face_and_a_batch() -> None:
    logits = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(softmax(logits), softmax(logits[None])[0])
    np.testing.assert_allclose(softmax(logits), torch.from_numpy(logits).softmax(dim=0).numpy(), rtol=1e-6)


def test_a_high_temperature_flattens_and_a_low_one_sharpens() -> None:
    logits = np.array([1, 2, 4], np.float32)
    assert softmax(logits, 3)[2] < softmax(logits)[2] < softmax(logits, 0.5)[2]


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_a_temperature_must_be_above_0(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        softmax(np.zeros(3, np.float32), temperature)
