"""Faces on their side and upside down."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.faces import detectors
from mien.faces import rotations as turns
from mien.faces.detectors import Detections


class Corner:
    """Finds, in any image, one box 20x10 at (3, 4) with its five points: as an upright face would be found."""

    name = "corner"
    mean_landmarks = np.full((5, 2), 0.5, np.float32)

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        score = 0.9 if image[8, 12, 0] == 255 else 0.6
        landmarks = np.array([[[5, 6], [20, 6], [12.5, 8.5], [7, 11], [18, 11]]], np.float32)
        return Detections(np.array([[3, 4, 23, 14]], np.float32), np.array([score], np.float32), landmarks)


@pytest.mark.parametrize("quarters", range(4))
def test_findings_are_turned_back(quarters: int) -> None:
    upright = np.zeros((60, 90, 3), np.uint8)
    upright[8, 12] = 255
    turned = np.ascontiguousarray(np.rot90(upright, -quarters))  # to the right, so that it must be turned left
    found = turns.detect(Corner(), turned, min_score=0.8)
    assert len(found) == 1
    assert found.landmarks is not None
    x, y = found.landmarks[0, 2]
    assert turned[int(y), int(x), 0] == 255  # the nose lies on the pixel that marks it
    x0, y0, x1, y1 = found.boxes[0]
    assert x0 < x < x1
    assert y0 < y < y1
    assert sorted([x1 - x0, y1 - y0]) == [10, 20]


@pytest.mark.parametrize("quarters", range(4))
def test_a_real_face_whichever_way_up(astronaut: NDArray[np.uint8], quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(astronaut, quarters))
    found = turns.detect(detectors.load(), turned)
    assert found.landmarks is not None
    best = int(found.scores.argmax())
    right_eye, left_eye, nose, right_mouth, left_mouth = found.landmarks[best]
    down = (right_mouth + left_mouth) / 2 - (right_eye + left_eye) / 2
    expected = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), quarters) @ np.array([0, 1.0])
    assert down @ expected > 0.9 * np.linalg.norm(down)
    assert nose.min() > 0


def test_one_face_stays_one(astronaut: NDArray[np.uint8]) -> None:
    """Four looks find more that is none; more is asked of what is not upright."""
    assert len(turns.detect(detectors.load(), astronaut)) == 1
