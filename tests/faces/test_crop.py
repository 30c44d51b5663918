from time import process_time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mien.assets.manifest import CropSpec
from mien.faces.crop import crop_face, landmark_points, similarity

POINTS = np.array([[15, 19], [33, 19], [24, 28], [17, 36], [31, 36]], np.float32)
TEMPLATE = CropSpec(48, POINTS)

angles = st.floats(-np.pi, np.pi)
places = st.floats(-500, 500)
five_points = arrays(np.float64, (5, 2), elements=st.floats(-100, 100, width=32))


def turned(scale: float, angle: float) -> NDArray[np.float64]:
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def distance(matrix: NDArray[np.float64], source: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float(((source @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum())


class TestSimilarity:
    @settings(deadline=None)
    @given(st.floats(0.01, 100), angles, places, places)
    def test_a_known_one_is_recovered(self, scale: float, angle: float, x: float, y: float) -> None:
        linear = turned(scale, angle)
        found = similarity(POINTS, POINTS @ linear.T + (x, y))
        assert np.allclose(found, np.column_stack([linear, (x, y)]), atol=1e-4 * max(scale, 1))

    @settings(deadline=None)
    @given(five_points, five_points)
    def test_it_is_the_least_squares_solution(self, source: NDArray[np.float64], target: NDArray[np.float64]) -> None:
        """Without mirroring the problem is linear in (a, b, x, y), so lstsq solves it in another way."""
        try:
            found = similarity(source, target)
        except ValueError:
            return
        x, y, one, none = *source.T, np.ones(5), np.zeros(5)
        system = np.vstack([np.column_stack([x, -y, one, none]), np.column_stack([y, x, none, one])])
        (a, b, *shift), *_ = np.linalg.lstsq(system, target.T.ravel(), rcond=None)
        best = np.array([[a, -b, shift[0]], [b, a, shift[1]]])
        assert distance(found, source, target) <= distance(best, source, target) * (1 + 1e-6) + 1e-6

    @settings(deadline=None)
    @given(five_points)
    def test_it_never_mirrors(self, source: NDArray[np.float64]) -> None:
        try:
            found = similarity(source, POINTS * (-1, 1))
        except ValueError:
            return
        assert np.linalg.det(found[:, :2]) > 0

    @pytest.mark.parametrize("pair", [(np.ones((5, 2)), POINTS), (POINTS, np.zeros((5, 2)))])
    def test_points_that_all_coincide_are_refused(self, pair: tuple[NDArray[np.float64], ...]) -> None:
        with pytest.raises(ValueError, match="expected points that do not all coincide"):
            similarity(*pair)


class TestLandmarkPoints:
    box = np.array([10, 20, 50, 100], np.float32)
    mean_landmarks = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.6], [0.25, 0.75], [0.75, 0.75]], np.float32)

    def test_mean_landmarks_are_placed_in_the_box(self) -> None:
        points = landmark_points(self.box, None, self.mean_landmarks)
        assert points.tolist() == [[20, 60], [40, 60], [30, 68], [20, 80], [40, 80]]

    def test_landmarks_replace_mean_landmarks(self) -> None:
        assert np.array_equal(landmark_points(self.box, POINTS, self.mean_landmarks), POINTS)


class TestCropFace:
    @settings(deadline=None)
    @given(st.floats(0.05, 6), angles, st.floats(100, 150), st.floats(100, 150))
    def test_every_pixel_comes_from_where_it_should(self, scale: float, angle: float, x: float, y: float) -> None:
        """Red grows with x and green with y, so that a crop's colours tell where its pixels come from."""
        grid = np.indices((256, 256), np.uint8)
        ramp = np.dstack([grid[1], grid[0], np.zeros_like(grid[0])])
        linear = turned(scale, angle)
        crop = crop_face(ramp, ((POINTS - 24) @ linear.T + (x, y)).astype(np.float32), TEMPLATE)
        rows, columns = np.indices((48, 48)) + 0.5
        expected = np.stack([columns - 24, rows - 24], axis=-1) @ linear.T + (x, y)
        inside = ((expected > 2 + scale) & (expected < 254 - scale)).all(axis=-1)
        found = crop[..., :2][inside] + 0.5  # the colour of pixel i is i, its centre lies at i + 0.5
        assert np.abs(found - expected[inside]).max(initial=0) < 1.6

    def test_a_face_that_is_aligned_already_is_not_changed(self, astronaut: NDArray[np.uint8]) -> None:
        face = cv2.resize(astronaut[30:230, 120:320], (48, 48), interpolation=cv2.INTER_AREA)
        crop = crop_face(np.asarray(face, np.uint8), POINTS, TEMPLATE)
        assert np.abs(crop.astype(int) - face)[1:-1, 1:-1].mean() < 4

    def test_shrinking_does_not_alias(self) -> None:
        board = (np.indices((1000, 1000)).sum(axis=0) % 2 * 255).astype(np.uint8)
        crop = crop_face(np.dstack([board] * 3), POINTS * 17 + 80, TEMPLATE)
        assert np.abs(crop.astype(int) - 127).max() < 12

    @pytest.mark.parametrize("width", [4, 40, 400, 4000])
    def test_faces_of_any_size_are_cropped_fast(self, width: int) -> None:
        image = np.full((3000, 4000, 3), 90, np.uint8)
        start = process_time()
        crop = crop_face(image, POINTS * np.float32(width / 48), TEMPLATE)
        assert process_time() - start < 0.5
        assert crop.shape == (48, 48, 3)
        assert crop.dtype == np.uint8
        assert (crop == 90).all()

    @pytest.mark.parametrize("shift", [(-40, 0), (30, 30), (-5000, 0), (0, 9000)])
    def test_outside_the_image_its_outermost_pixels_are_repeated(self, shift: tuple[int, int]) -> None:
        image = np.full((60, 60, 3), (200, 100, 50), np.uint8)
        crop = crop_face(image, POINTS + np.array(shift, np.float32), TEMPLATE)
        assert (crop == (200, 100, 50)).all()

    def test_a_face_in_a_very_long_panorama_is_cropped(self) -> None:
        image = np.full((4, 40_000, 3), 9, np.uint8)
        assert (crop_face(image, POINTS + np.float32(39_000), TEMPLATE) == 9).all()

    @pytest.mark.parametrize("size", [1, 48, 64, 224])
    def test_the_crop_spec_sets_the_size(self, size: int, astronaut: NDArray[np.uint8]) -> None:
        crop_spec = CropSpec(size, POINTS * np.float32(size / 48))
        assert crop_face(astronaut, POINTS * 4 + 100, crop_spec).shape == (size, size, 3)

    def test_other_shapes_and_types_are_refused(self, astronaut: NDArray[np.uint8]) -> None:
        with pytest.raises(ValueError, match="uint8 RGB"):
            crop_face((astronaut / 255).astype(np.float32), POINTS, TEMPLATE)
        with pytest.raises(ValueError, match=r"points: expected \(5, 2\) finite numbers, got \(4, 2\)"):
            crop_face(astronaut, POINTS[:4], TEMPLATE)
        with pytest.raises(ValueError, match="points: expected"):
            crop_face(astronaut, POINTS * np.float32(np.nan), TEMPLATE)
        with pytest.raises(ValueError, match="size: expected"):
            CropSpec(0, POINTS)

    def test_a_grey_crop_is_the_luminance_of_the_one_in_colour(self, astronaut: NDArray[np.uint8]) -> None:
        points = POINTS * 4 + 100
        grey = crop_face(astronaut, points, CropSpec(48, POINTS, grey=True))
        luminance = cv2.cvtColor(crop_face(astronaut, points, TEMPLATE), cv2.COLOR_RGB2GRAY)
        assert grey.shape == (48, 48)
        assert np.abs(grey.astype(int) - luminance).max() <= 2
