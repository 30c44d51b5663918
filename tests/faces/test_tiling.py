"""Faces in long images, on their side and upside down."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.faces import detectors
from mien.faces.detectors import Detections
from mien.faces.tiling import find


class Spots:
    """Finds bright 20x20 squares, as long as the image is no longer than 400 px, as a detector that shrinks would."""

    name = "spots"
    mean_landmarks = np.full((5, 2), 0.5, np.float32)

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        self.seen.append(image.shape[:2])
        if max(image.shape[:2]) > 400:
            return Detections.empty()
        corners = np.argwhere(image[:-19, :-19, 0] == 255)
        whole = [(y, x) for y, x in corners if (image[y : y + 20, x : x + 20] > 0).all()]
        boxes = np.array([[x, y, x + 20, y + 20] for y, x in whole], np.float32).reshape(-1, 4)
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32))


def _canvas(height: int, width: int, corners: list[tuple[int, int]]) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in corners:
        image[y : y + 20, x : x + 20] = 254
        image[y, x] = 255
    return image


@pytest.mark.parametrize("upright", [False, True])
def test_every_face_of_a_panorama_is_found_once(upright: bool) -> None:
    corners = [(0, 10), (95, 40), (190, 70), (333, 5), (1480, 80)]
    image = _canvas(100, 1500, corners)
    if upright:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
        corners = [(y, x) for x, y in corners]
    found = find(Spots(), image)
    assert sorted(map(tuple, found.boxes[:, :2].astype(int).tolist())) == sorted(corners)


def test_an_ordinary_image_is_searched_once() -> None:
    spots = Spots()
    found = find(spots, _canvas(200, 300, [(30, 40)]))
    assert len(found) == 1
    assert spots.seen == [(200, 300)]


def test_the_default_detector_finds_a_face_in_a_long_image(astronaut: NDArray[np.uint8]) -> None:
    panorama = np.full((330, 16000, 3), 120, np.uint8)
    panorama[:, 4000:4512] = astronaut
    detector = detectors.load()
    assert len(detector.detect(panorama)) == 0  # shrunk, the face is lost
    (box,) = find(detector, panorama).boxes
    assert 4150 < box[0] < 4200


class Corner:
    """Finds, in any image, one box 20x10 at (3, 4) with its five points: as an upright face would be found."""

    name = "corner"
    mean_landmarks = np.full((5, 2), 0.5, np.float32)

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        score = 0.9 if image[8, 12, 0] == 255 else 0.6
        landmarks = np.array([[[5, 6], [20, 6], [12.5, 8.5], [7, 11], [18, 11]]], np.float32)
        return Detections(np.array([[3, 4, 23, 14]], np.float32), np.array([score], np.float32), landmarks)


@pytest.mark.parametrize("quarters", range(4))
def test_detections_are_rotated_back(quarters: int) -> None:
    upright = np.zeros((60, 90, 3), np.uint8)
    upright[8, 12] = 255
    rotated = np.ascontiguousarray(np.rot90(upright, -quarters))  # to the right, so the search must rotate it left
    found = find(Corner(), rotated, min_score=0.8, any_rotation=True)
    assert len(found) == 1
    assert found.landmarks is not None
    x, y = found.landmarks[0, 2]
    assert rotated[int(y), int(x), 0] == 255  # the nose lies on the pixel that marks it
    x0, y0, x1, y1 = found.boxes[0]
    assert x0 < x < x1
    assert y0 < y < y1
    assert sorted([x1 - x0, y1 - y0]) == [10, 20]


@pytest.mark.parametrize("quarters", range(4))
def test_a_real_face_is_found_in_any_orientation(astronaut: NDArray[np.uint8], quarters: int) -> None:
    rotated = np.ascontiguousarray(np.rot90(astronaut, quarters))
    found = find(detectors.load(), rotated, any_rotation=True)
    assert found.landmarks is not None
    best = int(found.scores.argmax())
    right_eye, left_eye, nose, right_mouth, left_mouth = found.landmarks[best]
    down = (right_mouth + left_mouth) / 2 - (right_eye + left_eye) / 2
    expected = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), quarters) @ np.array([0, 1.0])
    assert down @ expected > 0.9 * np.linalg.norm(down)
    assert nose.min() > 0


def test_a_face_found_in_several_orientations_is_one_face(astronaut: NDArray[np.uint8]) -> None:
    """Four searches find more false alarms, so the score of a face that is not upright must be higher."""
    assert len(find(detectors.load(), astronaut, any_rotation=True)) == 1


@pytest.mark.parametrize("any_rotation", [False, True])
def test_a_detector_that_does_not_search_runs_once_on_the_whole_image(any_rotation: bool) -> None:
    found = find(detectors.load("whole-image"), np.zeros((30, 400, 3), np.uint8), any_rotation=any_rotation)
    assert found.boxes.tolist() == [[0, 0, 400, 30]]
