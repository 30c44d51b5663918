"""The points' scheme and the measures: known numbers for a face whose points are known, wherever it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.face_points import face_points, placed

from mien.faces.keypoints import MIRRORED, five_of
from mien.faces.measures import measures_of

UPRIGHT = face_points(eyes=0.3, mouth=0.2, brows=0.5, smile=1.0)
OUTER = 1.36  # distance of the outer eye corners of a drawn face


def test_the_measures_of_a_known_face() -> None:
    found = measures_of(UPRIGHT)
    assert found.right_eye_openness == pytest.approx(0.3)
    assert found.left_eye_openness == pytest.approx(0.3)
    assert found.brow_height == pytest.approx(0.5 / OUTER)
    assert found.mouth_opening == pytest.approx(0.2 / OUTER)
    assert found.smile_width == pytest.approx(1 / OUTER)
    assert found.iris_x == pytest.approx(0)
    assert found.iris_y == pytest.approx(0)


@given(st.floats(5, 300), st.floats(-180, 180), st.floats(-500, 500), st.floats(-500, 500), st.floats(-40, 40))
def test_they_do_not_depend_on_size_place_and_roll(scale: float, turn: float, x: float, y: float, yaw: float) -> None:
    known = measures_of(UPRIGHT, yaw)
    found = measures_of(placed(UPRIGHT, scale=scale, turn=turn, at=(x, y)), yaw)
    for name in known.__slots__:
        assert getattr(found, name) == pytest.approx(getattr(known, name), abs=1e-6)


def test_a_turned_head_keeps_its_heights() -> None:
    narrow = UPRIGHT * (np.cos(np.radians(30)), 1)  # what a yaw of 30 degrees does to a flat face
    assert measures_of(narrow, 30).mouth_opening == pytest.approx(measures_of(UPRIGHT).mouth_opening)
    assert measures_of(narrow, -30).brow_height == pytest.approx(measures_of(UPRIGHT).brow_height)
    assert measures_of(narrow, 30).smile_width == pytest.approx(measures_of(UPRIGHT).smile_width)


def test_irises_follow_the_gaze() -> None:
    looking = UPRIGHT.copy()
    looking[68:] += (0.09, -0.036)  # to the right of the image, and up
    found = measures_of(looking)
    assert found.iris_x == pytest.approx(0.25)
    assert found.iris_y == pytest.approx(0.1)
    without = measures_of(looking[:68])
    assert (without.iris_x, without.iris_y) == (None, None)


def test_mirroring_twice_changes_nothing_and_exchanges_the_eyes() -> None:
    assert sorted(MIRRORED) == list(range(70))
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(70))
    mirrored = (UPRIGHT * (-1, 1))[MIRRORED]
    np.testing.assert_allclose(mirrored, UPRIGHT, atol=1e-9)  # the drawn face is symmetrical
    winking = face_points()
    winking[[37, 38]] += (0, 0.03)
    one, other = measures_of(winking), measures_of((winking * (-1, 1))[MIRRORED])
    assert one.right_eye_openness == pytest.approx(other.left_eye_openness)
    assert one.right_eye_openness < one.left_eye_openness


def test_five_landmarks_of_the_dense_points() -> None:
    expected = [[-0.5, 0], [0.5, 0], [0, 0.62], [-0.5, 1.05], [0.5, 1.05]]
    np.testing.assert_allclose(five_of(UPRIGHT), expected, atol=1e-6)
    many = np.stack([UPRIGHT, UPRIGHT + 3])
    assert five_of(many).shape == (2, 5, 2)
    np.testing.assert_allclose(five_of(many)[1], five_of(UPRIGHT) + 3, atol=1e-5)


def test_points_that_coincide_are_measured_without_an_error() -> None:
    found = measures_of(np.zeros((70, 2)))
    assert all(np.isfinite(getattr(found, name)) for name in found.__slots__)
