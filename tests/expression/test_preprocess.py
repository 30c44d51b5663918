"""Faces in the form that a network wants, whatever form they come in."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.assets.manifest import InputSpec
from mien.expression.preprocess import fitted, normalised

GREY = InputSpec(48, "grey", (0.4,), (0.2,))
RGB = InputSpec(48, "rgb", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@given(height=st.integers(1, 130), width=st.integers(1, 130), colour=st.booleans(), spec=st.sampled_from([GREY, RGB]))
def test_any_size_and_channels(height: int, width: int, colour: bool, spec: InputSpec) -> None:
    found = fitted([noise(height, width, 3) if colour else noise(height, width)], spec)
    assert found.shape == (1, spec.depth, 48, 48)
    assert found.dtype == np.uint8


def test_an_image_of_the_right_size_is_not_changed() -> None:
    grey, colour = noise(48, 48), noise(48, 48, 3)
    np.testing.assert_array_equal(fitted([grey], GREY)[0, 0], grey)
    np.testing.assert_array_equal(fitted([colour], RGB)[0], colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(fitted([grey], RGB)[0], np.repeat(grey[None], 3, axis=0))


def test_colour_becomes_grey_by_its_brightness_in_the_order_rgb() -> None:
    red = np.zeros((48, 48, 3), np.uint8)
    red[..., 0] = 255
    assert np.unique(fitted([red], GREY)).tolist() == [76]  # 0.299 of 255; blue would give 29
    np.testing.assert_array_equal(fitted([np.repeat(noise(48, 48)[..., None], 3, axis=2)], GREY)[0, 0], noise(48, 48))


def test_squares_are_resized_by_area_down_and_smoothly_up() -> None:
    large, small = noise(96, 96), noise(24, 24)
    blocks = large.reshape(48, 2, 48, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(fitted([large], GREY)[0, 0], blocks, atol=0.51)
    np.testing.assert_array_equal(
        fitted([small], GREY)[0, 0], cv2.resize(small, (48, 48), interpolation=cv2.INTER_CUBIC)
    )


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("scale", [1, 2])
def test_an_image_that_is_not_square_is_padded_with_its_edges(upright: bool, scale: int) -> None:
    """Nothing is cut off and nothing stretched: a disc stays round, and the short sides repeat their last pixels."""
    image = np.full((48 * scale, 24 * scale), 200, np.uint8)
    cv2.circle(image, (12 * scale, 24 * scale), 8 * scale, 0, -1)
    image[:, 0 : 2 * scale], image[:, -2 * scale :] = 10, 90
    found = fitted([image if upright else np.ascontiguousarray(image.T)], GREY)[0, 0]
    found = found if upright else found.T
    assert (found[:, :12] == 10).all()
    assert (found[:, 36:] == 90).all()
    dark = found[:, 14:34] < 100
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    assert abs(rows.mean() - 24) <= 1


@pytest.mark.parametrize("shape", [(1, 1_000_000), (1_000_000, 1), (3, 40_000, 3)])
def test_a_long_thin_image_does_not_grow(shape: tuple[int, ...]) -> None:
    """Made square at its own size, the first would hold a million megapixels."""
    begun = time.process_time()
    assert fitted([np.full(shape, 7, np.uint8)], GREY).tolist() == np.full((1, 1, 48, 48), 7).tolist()
    assert time.process_time() - begun < 2


def test_one_pixel_fills_the_image() -> None:
    assert np.unique(fitted([np.full((1, 1), 9, np.uint8)], GREY)).tolist() == [9]


def test_no_images() -> None:
    assert fitted([], RGB).shape == (0, 3, 48, 48)
    assert normalised(fitted([], GREY), GREY).shape == (0, 1, 48, 48)


def test_the_given_images_are_not_changed() -> None:
    image = noise(30, 60, 3)
    before = image.copy()
    fitted([image], GREY)
    np.testing.assert_array_equal(image, before)


def test_images_of_several_sizes_go_into_one_batch() -> None:
    found = fitted([noise(10, 20), noise(60, 48, 3), noise(48, 48)], GREY)
    assert found.shape == (3, 1, 48, 48)
    np.testing.assert_array_equal(found[2, 0], noise(48, 48))


def test_normalising_is_by_channel() -> None:
    found = normalised(fitted([np.full((48, 48, 3), (0, 51, 255), np.uint8)], RGB), RGB)
    assert found.dtype == np.float32
    expected = [(0 - 0.4) / 0.1, (0.2 - 0.5) / 0.2, (1 - 0.6) / 0.3]
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-5)
    assert (found == found[:, :, :1, :1]).all()
