"""mien's own detector: landmarks, crowds, sizes, and what is no detector."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mien.assets.manifest import FOLDER, METADATA_KEY, info_in, model_info
from mien.assets.signature import Detections
from mien.assets.store import open_model
from mien.errors import WeightsError
from mien.faces.detectors import DetectorOptions, load
from mien.faces.detectors.mien import MienDetector, grid
from mien.results import LANDMARKS

EYES = np.array([[204, 104], [247, 105]], float)  # seen in the portrait


@pytest.fixture(scope="module")
def detector() -> MienDetector:
    found = load("mien")
    assert isinstance(found, MienDetector)
    return found


@pytest.mark.parametrize("mirrored", [False, True])
def test_landmarks_are_the_subjects_right_first(
    detector: MienDetector, astronaut: NDArray[np.uint8], mirrored: bool
) -> None:
    image = np.ascontiguousarray(astronaut[:, ::-1]) if mirrored else astronaut
    found = detector.detect(image)
    assert found.landmarks is not None
    points = dict(zip(LANDMARKS, found.landmarks[0], strict=True))
    assert points["right_eye"][0] < points["nose"][0] < points["left_eye"][0]
    assert points["right_mouth"][0] < points["left_mouth"][0]
    assert points["left_eye"][1] < points["nose"][1] < points["left_mouth"][1]
    expected = (512, 0) + EYES[::-1] * (-1, 1) if mirrored else EYES
    assert np.abs(found.landmarks[0, :2] - expected).max() < 6


@pytest.mark.parametrize(("degrees", "near"), [(-45, 25), (-25, 9), (25, 9), (45, 25)])
def test_rotated_faces_are_found_with_rotated_landmarks(
    detector: MienDetector, astronaut: NDArray[np.uint8], degrees: float, near: float
) -> None:
    matrix = cv2.getRotationMatrix2D((225, 135), degrees, 1)
    turned = np.asarray(cv2.warpAffine(astronaut, matrix, (512, 330), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    found = detector.detect(turned)
    assert len(found) >= 1
    assert found.landmarks is not None
    expected = EYES @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(found.landmarks[0, :2] - expected).max() < near


def test_two_hundred_faces_in_one_frame(detector: MienDetector, astronaut: NDArray[np.uint8]) -> None:
    face = cv2.resize(astronaut[40:240, 125:325], (60, 60), interpolation=cv2.INTER_AREA)
    crowd = np.tile(face, (10, 20, 1))  # 600x1200
    found = load(DetectorOptions(max_side=1200)).detect(np.asarray(crowd, np.uint8))
    assert len(found) >= 195
    assert len(np.unique((found.boxes[:, :2] + found.boxes[:, 2:]) // 120, axis=0)) == len(found)


def test_the_size_of_the_search_can_be_set(astronaut: NDArray[np.uint8]) -> None:
    sheet = np.full((1500, 2000, 3), 90, np.uint8)
    face = cv2.resize(astronaut[40:240, 125:325], (50, 50), interpolation=cv2.INTER_AREA)
    sheet[700:750, 900:950] = face  # its face has some 30 px: 10 where the image is searched at 640
    found = load(DetectorOptions(max_side=2000)).detect(sheet)
    assert len(found) == 1
    assert 890 < found.boxes[0, 0] < 930
    assert len(load(DetectorOptions(max_side=2000, min_face=60)).detect(sheet)) == 0


def test_small_images_are_searched_enlarged(astronaut: NDArray[np.uint8]) -> None:
    detector = load("mien")
    assert isinstance(detector, MienDetector)
    assert detector.scale((240, 320, 3)) == 2  # to 640, at most twice
    assert detector.scale((336, 448, 3)) == pytest.approx(640 / 448)
    assert detector.scale((100, 100, 3)) == 2
    assert detector.scale((480, 640, 3)) == 1
    assert detector.scale((3000, 4000, 3)) == pytest.approx(0.16)
    smaller, larger = (load(DetectorOptions(max_side=side)) for side in (300, 2000))
    assert isinstance(smaller, MienDetector)
    assert isinstance(larger, MienDetector)
    assert smaller.scale((336, 448, 3)) == pytest.approx(300 / 448)
    assert larger.scale((336, 448, 3)) == pytest.approx(640 / 448)
    assert larger.scale((1000, 1000, 3)) == 1
    small = cv2.resize(astronaut, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    found = detector.detect(np.asarray(small, np.uint8))
    assert found.landmarks is not None
    assert np.abs(found.landmarks[0, :2] / 0.3 - EYES).max() < 8


def test_scores_are_calibrated_by_size() -> None:
    output = Detections(operating_point=0.9, by_size=((10.0, 0.2), (40.0, 0.4)))
    scores = output.calibrated(np.array([0.2, 0.4, 0.3, 0.1, 0.2, 1.0]), np.array([5.0, 100, 20, 10, 40, 40]))
    assert scores.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.25, 1.0])
    plain = Detections(operating_point=0.8).calibrated(np.array([0.8, 0.4, 0.9]), np.array([5.0, 50, 500]))
    assert plain.tolist() == pytest.approx([0.5, 0.25, 0.75])


@pytest.mark.parametrize("by_size", [((10, 0.0),), ((10, 1.0),), ((20, 0.5), (10, 0.5)), ((0, 0.5),), ((9, 0.5),) * 2])
def test_wrong_operating_points_by_size_are_refused(by_size: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="by_size"):
        Detections(by_size=by_size)


def test_cells_have_the_order_of_the_network() -> None:
    centres, strides = grid(64, 96)
    assert strides.tolist() == [8] * 96 + [16] * 24 + [32] * 6
    assert centres[0].tolist() == [4, 4]
    assert centres[1].tolist() == [12, 4]
    assert centres[96].tolist() == [8, 8]
    assert centres[-1].tolist() == [80, 48]


class TestWeights:
    def test_the_shipped_file_is_small_and_names_its_origin(self) -> None:
        info, session = open_model(task="detection")
        assert (FOLDER / info.file).stat().st_size <= 1_000_000
        assert info.licence
        assert info.data
        own = info_in(session.metadata, "the file")
        assert own is not None
        assert own.scores == info.scores
        assert own.detections == info.detections

    def test_another_file_can_be_given(self, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
        copy = tmp_path / "own.onnx"
        copy.write_bytes((FOLDER / model_info("mien-detector").file).read_bytes())
        found = load(DetectorOptions(weights=copy)).detect(astronaut)
        assert np.array_equal(found.boxes, load("mien").detect(astronaut).boxes)

    def test_a_file_that_is_not_a_detector_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="is a model for expression, expected one for detection"):
            load(DetectorOptions(weights=FOLDER / "mien-s.onnx"))
        with pytest.raises(WeightsError, match="no such weights"):
            load(DetectorOptions(weights=tmp_path / "none.onnx"))
        model = onnx.load(FOLDER / "mien-s.onnx")
        right = model_info("mien-detector").to_json()
        for text, reason in ('{"format": 1, "nonsense": 1}', "is wrong"), (right, "the network's inputs are"):
            onnx.helper.set_model_props(model, {METADATA_KEY: text})
            (tmp_path / "swapped.onnx").write_bytes(model.SerializeToString())
            with pytest.raises(WeightsError, match=reason):
                load(DetectorOptions(weights=tmp_path / "swapped.onnx"))

    @pytest.mark.parametrize("point", [0, 1, -0.5, float("nan")])
    def test_an_operating_point_lies_between_0_and_1(self, point: float) -> None:
        with pytest.raises(ValueError, match="operating_point"):
            Detections(operating_point=point)
