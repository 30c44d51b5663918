"""Networks that read keypoints and windows: what they get of faces in images and of tracks in videos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.moving import FRAMES, quick_model
from tests.videos import portrait, write_video
from typer.testing import CliRunner

from mien import Analyzer
from mien.cli import build_app
from mien.expression import OnnxClassifier
from mien.expression.observation import Observation, Windows, padded
from mien.faces.keypoints import COUNTS, MIRRORED, POINTS_68
from mien.media import VideoOptions
from mien.results import Face, FrameResult

COUNT = COUNTS[POINTS_68]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def clip(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine frames of a face that moves."""
    return write_video(tmp_path_factory.mktemp("moving") / "clip.mp4", portrait(astronaut, 9, width=320, step=4))


def face(track: int | None) -> Face:
    return Face(np.array([0, 0, 10, 10], np.float32), 1.0, track=track)


def points_of(result: FrameResult) -> NDArray[np.float32]:
    (found,) = result.faces
    assert found.keypoints is not None
    return found.keypoints[:COUNT]


def read(analyzer: Analyzer, clip: Path) -> list[FrameResult]:
    return list(analyzer.analyze(str(clip), video=VideoOptions()))


def probabilities(result: FrameResult) -> NDArray[np.float32]:
    (found,) = result.faces
    assert found.expression is not None
    return found.expression.probabilities


@pytest.mark.parametrize(
    ("given", "expected"), [([7], [7, 7, 7]), ([1, 2], [1, 1, 2]), ([1, 2, 3], [1, 2, 3]), ([*range(71)], [68, 69, 70])]
)
def test_a_window_begins_with_the_first_frame_where_there_are_too_few(given: list[int], expected: list[int]) -> None:
    assert padded(given, 3) == expected


def test_each_person_has_a_window_and_one_without_a_track_only_this_frame() -> None:
    windows = Windows(3)
    for number in range(5):
        crops = ([np.full((2, 2), 10 * number + row, np.uint8) for row in range(3)],)
        (seen,) = windows.update([face(4), face(None), face(9)], crops, None)
    values = [[int(image[0, 0]) for image in each.images] for each in seen]
    assert values == [[20, 30, 40], [41], [22, 32, 42]]


def test_persons_that_are_gone_are_dropped() -> None:
    windows = Windows(2)
    points = np.zeros((1, COUNT, 2), np.float32)
    windows.update([face(0)], (), points)
    for _ in range(300):
        windows.update([face(1)], (), points)
    ((seen,),) = windows.update([face(0)], (), points)
    assert len(seen) == 1
    assert seen.keypoints is not None


def test_views_of_a_window_are_mirrored_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 255, (2, 6, 6), dtype=np.uint8))
    points = rng.random((2, COUNT, 2)).astype(np.float32)
    plain, mirrored = Observation(images, points).augmented("flip", MIRRORED[:COUNT].tolist())
    assert plain.keypoints is points
    for number in range(2):
        np.testing.assert_array_equal(mirrored.images[number], images[number][:, ::-1])
        assert mirrored.keypoints is not None
        np.testing.assert_array_equal(mirrored.keypoints[number][0], points[number][16] * [-1, 1])
    assert len(Observation((), points).augmented("ten-crop", MIRRORED[:COUNT].tolist())) == 10


def test_a_track_in_a_video_is_read_through_a_sliding_window(clip: Path, base: Path) -> None:
    model = quick_model("landmark_lstm", base)
    results = read(Analyzer(classifier=model, keypoints=True), clip)
    assert len(results) == 9
    seen = np.stack([points_of(result) for result in results])
    classifier = OnnxClassifier(model)
    for number, result in enumerate(results):
        window = seen[max(0, number + 1 - FRAMES) : number + 1]
        expected = classifier.predict_proba([Observation((), window)])[0]
        np.testing.assert_allclose(probabilities(result), expected, atol=1e-5)
    assert np.ptp([probabilities(result)[0] for result in results]) > 0


def test_keypoints_are_found_for_the_network_without_being_asked_for(clip: Path, base: Path) -> None:
    model = quick_model("landmark_lstm", base)
    asked = [probabilities(each) for each in read(Analyzer(classifier=model, keypoints=True), clip)]
    plain = read(Analyzer(classifier=model), clip)
    np.testing.assert_allclose(np.stack([probabilities(each) for each in plain]), np.stack(asked), atol=1e-6)
    assert all(each.faces[0].keypoints is None for each in plain)


def test_a_still_image_fills_the_window(astronaut: Path, base: Path) -> None:
    model = quick_model("image_lstm", base)
    analyzer = Analyzer(classifier=model)
    image = np.asarray(Image.open(astronaut).convert("RGB"))
    (crop,) = analyzer._aligner.align(image).crops
    result = analyzer.analyze(image)
    expected = OnnxClassifier(model).predict_proba([Observation((crop[0],) * FRAMES)])[0]
    assert result.faces[0].expression is not None
    np.testing.assert_allclose(result.faces[0].expression.probabilities, expected, atol=1e-5)


def test_crops_are_read_with_the_points_that_are_found_in_them(astronaut: Path, base: Path) -> None:
    """The detector whole-image gives no landmarks: the landmark network starts from typical ones."""
    model = quick_model("landmark", base)
    image = np.asarray(Image.open(astronaut).convert("RGB"))
    (found,) = Analyzer(classifier=model).analyze(image).faces
    x0, y0, x1, y1 = found.box.astype(int)
    crop = np.ascontiguousarray(image[max(0, y0) : y1, max(0, x0) : x1])
    (inside,) = Analyzer(classifier=model, detector="whole-image").analyze(crop).faces
    assert found.expression is not None
    assert inside.expression is not None
    # One face, seen twice: about the same shape.
    np.testing.assert_allclose(inside.expression.probabilities, found.expression.probabilities, atol=0.05)


def test_the_command_reads_a_video_with_a_network_of_landmarks(clip: Path, base: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    model = quick_model("landmark_lstm", base)
    result = CliRunner().invoke(build_app(), ["analyze", str(clip), "--model", str(model), "--table", str(table)])
    assert result.exit_code == 0, result.output
    lines = table.read_text().splitlines()
    assert len(lines) == 1 + 9
    assert {"neutral", "surprise"} <= set(lines[0].split(","))
    assert "anger" not in lines[0].split(",")


def test_an_ensemble_of_networks_that_read_different_things(clip: Path, base: Path) -> None:
    members = [str(quick_model(name, base)) for name in ("image_lstm", "landmark_lstm", "landmark")]
    apart = [[probabilities(each) for each in read(Analyzer(classifier=model), clip)] for model in members]
    together = [probabilities(each) for each in read(Analyzer(classifier=",".join(members)), clip)]
    np.testing.assert_allclose(np.stack(together), np.mean(apart, axis=0), atol=1e-4)
