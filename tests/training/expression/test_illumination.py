"""Illumination: one function by numpy for reading and by torch for training, and what it takes away."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.expression.preprocess import normalised
from mien.training import load_recipe
from mien.training.expression.augmentation import normalise_illumination

SPEC = InputSpec(12, "grey", (0.0,), (1.0,), "plane")


def read(images: np.ndarray) -> np.ndarray:
    depth = images.shape[1]
    channels = "grey" if depth == 1 else "rgb"
    return normalised(images, InputSpec(images.shape[2], channels, (0.0,) * depth, (1.0,) * depth, "plane"))  # type: ignore[arg-type]


@given(images=arrays(np.uint8, st.sampled_from([(2, 1, 12, 12), (1, 3, 9, 7), (3, 1, 2, 2)])))
def test_training_and_reading_level_alike(images: np.ndarray) -> None:
    found = normalise_illumination(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(found, read(images), atol=2e-3)


def face(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (1, 1, 24, 24)).astype(np.uint8)


def test_a_levelled_picture_has_no_mean_no_slope_and_unit_variance() -> None:
    found = read(face())[0, 0]
    down, across = np.mgrid[-1:1:24j, -1:1:24j]
    for pattern in (np.ones_like(down), down, across):
        assert abs((found * pattern).mean()) < 1e-5
    assert found.std() == pytest.approx(1, abs=1e-4)


def test_light_and_contrast_do_not_matter() -> None:
    plain = face()
    np.testing.assert_allclose(read(plain), read((plain // 2 * 2 // 2 + 30).astype(np.uint8)), atol=0.05)
    np.testing.assert_allclose(read(plain), read(plain + 40), atol=1e-6)  # equalisation knows the order alone


def test_a_plane_of_light_is_gone() -> None:
    across = np.tile(np.arange(24, dtype=np.uint8) * 10, (24, 1))[None, None]
    assert np.abs(read(across)).max() < 0.1
    assert float(normalise_illumination(torch.from_numpy(across).float() / 255).abs().max()) < 0.1


def test_one_grey_becomes_nothing() -> None:
    flat = np.full((2, 1, 16, 16), 77, np.uint8)
    assert np.abs(read(flat)).max() == 0
    assert float(normalise_illumination(torch.from_numpy(flat).float() / 255).abs().max()) < 1e-2


def test_mean_and_std_come_after() -> None:
    other = InputSpec(24, "grey", (0.5,), (2.0,), "plane")
    np.testing.assert_allclose(normalised(face(), other), (read(face()) - 0.5) / 2, atol=1e-6)


def test_a_levelling_that_is_none() -> None:
    with pytest.raises(ValueError, match="illumination: expected one of none, plane"):
        InputSpec(48, "grey", (0.5,), (0.5,), "flat")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"input\.illumination"):
        load_recipe("fourlayer", ["input.illumination=flat"])
