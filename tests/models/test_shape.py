"""Shape features: the same for a face however it is moved, scaled or turned; different for another face."""

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from tests.face_points import face_points

from mien.faces.keypoints import MIRRORED
from mien.models.blocks.shape import COUNT, VALUES, shape_features

LOOKS = st.fixed_dictionaries(
    {
        "eyes": st.floats(0.05, 0.6),
        "mouth": st.floats(0.02, 0.9),
        "brows": st.floats(0.3, 0.8),
        "smile": st.floats(0.6, 1.5),
    }
)


def features(points: NDArray[np.floating]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = shape_features(torch.from_numpy(points.astype(np.float32))).numpy()
    return found


def turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


@settings(deadline=None, max_examples=60)
@given(
    look=LOOKS,
    scale=st.floats(5, 800),
    degrees=st.floats(-180, 180),
    shift=st.tuples(st.floats(-2000, 4000), st.floats(-2000, 4000)),
)
def test_shift_scale_and_roll_change_nothing(
    look: dict[str, float], scale: float, degrees: float, shift: tuple[float, float]
) -> None:
    points = face_points(**look)
    moved = turned(points, degrees) * scale + np.array(shift)
    np.testing.assert_allclose(features(moved), features(points), atol=2e-3 + 2e-3 * max(map(abs, shift)) / scale)


@settings(deadline=None, max_examples=30)
@given(look=LOOKS)
def test_their_own_scale_and_order(look: dict[str, float]) -> None:
    found = features(face_points(**look))
    assert found.shape == (COUNT, VALUES)
    np.testing.assert_allclose(found[:, :2].mean(axis=0), 0, atol=1e-5)  # the centroid is the origin
    np.testing.assert_allclose((found[:, 2] ** 2).mean(), 1, atol=1e-4)  # the unit
    np.testing.assert_allclose(np.hypot(found[:, 0], found[:, 1]), found[:, 2], atol=1e-5)
    np.testing.assert_allclose(found[:, 3:] * found[:, 2:3], found[:, :2], atol=1e-5)  # the angles
    np.testing.assert_allclose(found[42:48, 1].mean(), found[36:42, 1].mean(), atol=1e-5)  # the eyes are level


@settings(deadline=None, max_examples=30)
@given(look=LOOKS, degrees=st.floats(-60, 60))
def test_a_mirrored_face_has_mirrored_features(look: dict[str, float], degrees: float) -> None:
    points = turned(face_points(**look), degrees)
    mirrored = (points * [-1, 1])[MIRRORED]
    expected = features(points)[MIRRORED[:COUNT]] * np.array([-1, 1, 1, -1, 1], np.float32)
    # The angle of a point near the middle magnifies the rounding of its place.
    np.testing.assert_allclose(features(mirrored), expected, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(look=LOOKS)
def test_another_look_is_seen(look: dict[str, float]) -> None:
    other = look | {"mouth": look["mouth"] + 0.2}
    assert np.abs(features(face_points(**look)) - features(face_points(**other))).max() > 0.02


def test_unknown_points_become_zeros_and_leave_the_others_alone() -> None:
    points = np.stack([face_points(), face_points(mouth=0.7), np.full((70, 2), 5.0)])
    alone = features(points[1])
    points[0, 40] = np.nan
    found = features(points)
    assert not found[0].any()
    assert not found[2].any()  # all points coincide
    np.testing.assert_array_equal(found[1], alone)


def test_irises_and_leading_axes() -> None:
    points = np.tile(face_points(), (2, 3, 1, 1))
    moved = points.copy()
    moved[..., 68:, :] += 0.3  # the gaze is not part of the shape
    found = features(moved)
    assert found.shape == (2, 3, COUNT, VALUES)
    np.testing.assert_array_equal(found, features(points))
    np.testing.assert_array_equal(found[0, 0], features(points[0, 0]))
