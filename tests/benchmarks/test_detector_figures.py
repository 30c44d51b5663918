"""The comparison of detectors: the copies it is made on, and the sizes it parts."""

import itertools

import numpy as np
import pytest
from benchmarks.detectors import SIZES
from benchmarks.face_copies import COPIES, shrunk_to, turned
from tests.face_images import drawn_image

from mien.datasets.face_images import FaceImage
from mien.evaluation.detection import sides


@pytest.fixture
def image() -> FaceImage:
    return drawn_image(np.random.default_rng(4), 2)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_keeps_faces_and_points_together(image: FaceImage, name: str) -> None:
    copy = COPIES[name](image)
    assert copy.image.dtype == np.uint8
    assert copy.boxes.shape == (2, 4)
    middles = copy.landmarks.mean(axis=1)
    assert (middles > copy.boxes[:, :2]).all()
    assert (middles < copy.boxes[:, 2:]).all()
    assert np.array_equal(COPIES[name](image).image, copy.image)


def test_a_shrunk_face_has_the_size_asked_for(image: FaceImage) -> None:
    assert max(sides(shrunk_to(image, 20).boxes)) == pytest.approx(20, abs=1)
    assert shrunk_to(image, 500).image.shape == image.image.shape


def test_turning_back_is_no_turn(image: FaceImage) -> None:
    copy = turned(turned(image, 30), -30)
    shift = (np.array(copy.image.shape[1::-1]) - image.image.shape[1::-1]) / 2
    assert np.allclose(copy.landmarks - shift, image.landmarks, atol=1e-6)


def test_masks_hide_mouths_and_leave_eyes(image: FaceImage) -> None:
    copy = COPIES["masked"](image)
    changed = (copy.image != image.image).any(axis=2)
    for points in image.landmarks.round().astype(int):
        for x, y in points[3:]:
            assert changed[y, x]
        for x, y in points[:2]:
            assert not changed[y, x]


def test_the_sizes_leave_no_gap() -> None:
    edges = list(SIZES.values())
    assert edges[0][0] == 10
    assert all(one[1] == other[0] for one, other in itertools.pairwise(edges))
