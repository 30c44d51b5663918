"""The methods that find keypoints: their registry, their options, and dlib's predictor where it is installed."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.analyzer import Analyzer, AnalyzerOptions, detect
from mien.errors import ConfigError, WeightsError
from mien.faces.detectors.hog import MEAN_LANDMARKS
from mien.faces.keypoints import COUNTS, POINTS_68
from mien.faces.landmarks import Found, LandmarkOptions, load, names, with_keypoints
from mien.results import Face

BOX = np.array([10, 20, 110, 140], np.float32)
FIVE = np.array([[[36, 66], [82, 66], [59, 92], [39, 110], [79, 110]]], np.float32)


class Fixed:
    """A method that finds the same points in every face, without a pose."""

    name = "fixed"
    scheme = POINTS_68

    def __call__(self, image: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Found:
        return Found(np.tile(np.linspace(0, 1, 136, dtype=np.float32).reshape(1, 68, 2), (len(boxes), 1, 1)))


def test_the_folder_is_the_list() -> None:
    assert names() == ("dlib", "mien")
    with pytest.raises(ConfigError, match="there is no method 'other' for keypoints"):
        LandmarkOptions("other")
    assert LandmarkOptions(weights="file.onnx").weights == Path("file.onnx")  # type: ignore[arg-type]


def test_faces_keep_what_they_have_and_get_points_and_measures() -> None:
    faces = (Face(BOX, 0.9, FIVE[0]), Face(BOX + 5, 0.8))
    image = np.zeros((200, 200, 3), np.uint8)
    first, second = with_keypoints(image, faces, np.concatenate([FIVE, FIVE]), Fixed())
    assert (first.score, second.score, first.keypoint_scheme) == (0.9, 0.8, POINTS_68)
    assert first.landmarks is not None
    assert first.keypoints is not None
    assert len(first.keypoints) == COUNTS[POINTS_68]
    assert (first.pose, second.pose) == (None, None)
    assert first.measures is not None
    assert first.measures.iris_x is None
    assert with_keypoints(image, (), FIVE[:0], Fixed()) == ()


def test_wrong_shapes_are_refused() -> None:
    points = np.zeros((2, 68, 2), np.float32)
    with pytest.raises(ValueError, match="pose: expected shape"):
        Found(points, np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="scores: expected finite numbers"):
        Found(points, None, np.array([0.5, np.nan], np.float32))


def test_weights_of_dlib_that_are_none_are_named(tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    missing = tmp_path / "nothing.dat"
    with pytest.raises(WeightsError, match=r"nothing\.dat: no such weights file") as caught:
        load(LandmarkOptions("dlib", missing))
    assert "300-W, excludes commercial use" in str(caught.value.hint)
    broken = tmp_path / "broken.dat"
    broken.write_bytes(b"no predictor")
    with pytest.raises(WeightsError, match="is not a shape predictor of dlib"):
        Analyzer(AnalyzerOptions(landmarks=LandmarkOptions("dlib", broken)), keypoints=True)


def test_dlib_gets_a_box_like_those_of_its_own_detector(tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib")
    file = _trained_predictor(dlib, tmp_path)
    landmarker = load(LandmarkOptions("dlib", file))
    image = np.random.default_rng(0).integers(0, 255, (160, 160, 3)).astype(np.uint8)
    at = np.array(MEAN_LANDMARKS, np.float32) * 80 + (40, 30)
    found = landmarker(image, BOX[None], at[None])
    assert found.points.shape == (1, 68, 2)
    # The predictor learned points at fixed places of its box, which is 80 pixels wide at (40, 30).
    np.testing.assert_allclose(found.points[0].mean(axis=0), [80, 70], atol=1.5)
    assert (found.pose, found.scores) == (None, None)


def _trained_predictor(dlib, folder: Path) -> Path:  # type: ignore[no-untyped-def]
    """A predictor of 68 points in a grid around the middle of a box, trained on noise."""
    rng, options = np.random.default_rng(0), dlib.shape_predictor_training_options()
    options.tree_depth, options.cascade_depth, options.num_trees_per_cascade_level = 1, 1, 2
    options.feature_pool_size, options.oversampling_amount, options.be_verbose = 20, 1, False
    images, objects = [], []
    for _ in range(4):
        images.append(rng.integers(0, 255, (100, 100, 3)).astype(np.uint8))
        places = [(10 + 5 * (number % 17), 20 + 20 * (number // 17)) for number in range(68)]
        box = dlib.rectangle(10, 10, 89, 89)
        objects.append([dlib.full_object_detection(box, [dlib.point(x, y) for x, y in places])])
    dlib.train_shape_predictor(images, objects, options).save(str(folder / "grid.dat"))
    return folder / "grid.dat"


def test_keypoints_of_an_image_without_a_face() -> None:
    assert detect(np.zeros((64, 64, 3), np.uint8), keypoints=True) == []
