"""Faces in long images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.faces import detectors
from mien.faces import tiling as strips
from mien.faces.detectors import Detections


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
    found = strips.detect(Spots(), image)
    assert sorted(map(tuple, found.boxes[:, :2].astype(int).tolist())) == sorted(corners)


def test_an_ordinary_picture_is_searched_once() -> None:
    spots = Spots()
    found = strips.detect(spots, _canvas(200, 300, [(30, 40)]))
    assert len(found) == 1
    assert spots.seen == [(200, 300)]


def test_the_default_detector_finds_a_face_in_a_long_image(astronaut: NDArray[np.uint8]) -> None:
    panorama = np.full((330, 16000, 3), 120, np.uint8)
    panorama[:, 4000:4512] = astronaut
    detector = detectors.load()
    assert len(detector.detect(panorama)) == 0  # shrunk, the face is lost
    (box,) = strips.detect(detector, panorama).boxes
    assert 4150 < box[0] < 4200
