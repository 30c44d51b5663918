"""YuNet: its landmarks, its scores, and what is no YuNet."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.assets.download import remote_weights
from mien.errors import UnsupportedError, WeightsError
from mien.faces.detectors import DetectorOptions, load
from mien.results import LANDMARKS

ROOT = Path(__file__).parents[2]
OLD = tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 10)
needs_new = pytest.mark.skipif(OLD, reason="OpenCV before 4.10 does not run YuNet")


@pytest.fixture(scope="session")
def weights() -> Path:
    path = ROOT.parent / "shared" / "weights" / "yunet_n_640_640.onnx"
    if not path.exists():
        pytest.skip("needs ../shared/weights")
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load(DetectorOptions("yunet", weights=path))
    assert "\n" not in str(caught.value)
    assert str(path) in caught.value.message
    return str(caught.value)


@needs_new
@pytest.mark.real_data
@pytest.mark.parametrize("mirrored", [False, True])
def test_landmarks_are_the_subjects_right_first(weights: Path, astronaut: NDArray[np.uint8], mirrored: bool) -> None:
    image = np.ascontiguousarray(astronaut[:, ::-1]) if mirrored else astronaut
    found = load(DetectorOptions("yunet", weights=weights)).detect(image)
    assert found.landmarks is not None
    points = dict(zip(LANDMARKS, found.landmarks[0], strict=True))
    x0, y0, x1, y1 = found.boxes[0]
    assert x0 < points["right_eye"][0] < points["nose"][0] < points["left_eye"][0] < x1
    assert points["right_mouth"][0] < points["left_mouth"][0]
    assert y0 < points["left_eye"][1] < points["nose"][1] < points["left_mouth"][1] < y1
    eyes = np.array([[204, 104], [247, 105]], float)  # seen in the portrait
    expected = (512, 0) + eyes[::-1] * (-1, 1) if mirrored else eyes
    assert np.abs(found.landmarks[0, :2] - expected).max() < 5


@needs_new
@pytest.mark.real_data
def test_landmarks_follow_the_size_of_the_image(weights: Path, astronaut: NDArray[np.uint8]) -> None:
    detector = load(DetectorOptions("yunet", weights=weights))
    small = detector.detect(astronaut)
    large = detector.detect(np.asarray(cv2.resize(astronaut, None, fx=3.1, fy=3.1), np.uint8))
    assert small.landmarks is not None
    assert large.landmarks is not None
    assert np.abs(large.landmarks / 3.1 - small.landmarks).mean() < 4  # of 42 between the eyes


@needs_new
@pytest.mark.real_data
def test_a_score_of_half_is_the_operating_point(weights: Path, astronaut: NDArray[np.uint8]) -> None:
    """The score of the portrait by OpenCV itself, mapped by hand."""
    network = cv2.FaceDetectorYN.create(str(weights), "", astronaut.shape[1::-1], 0.6)
    _, rows = network.detect(astronaut[..., ::-1].copy())
    found = load(DetectorOptions("yunet", weights=weights)).detect(astronaut)
    assert found.scores[0] == pytest.approx(0.5 + 0.5 * (rows[0, 14] - 0.6) / 0.4, abs=1e-5)


@needs_new
def test_another_network_is_refused() -> None:
    wrong = ROOT / "src" / "mien" / "assets" / "mien-s.onnx"
    assert "is not YuNet: its outputs are features, fer2013, votes, expected cls, obj, bbox and kps" in refused(wrong)


@needs_new
def test_a_file_that_is_not_a_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_text("<html>log in first</html>")
    assert "is not an ONNX network" in refused(path)
    path.write_bytes(b"")
    assert "yunet.onnx" in refused(path)
    assert "cannot be read" in refused(tmp_path)
    assert "no such weights" in refused(tmp_path / "nothing.onnx")


@needs_new
@pytest.mark.real_data
def test_a_half_downloaded_network_is_refused(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_bytes(weights.read_bytes()[:200_000])
    assert "is not an ONNX network" in refused(path)


@needs_new
@pytest.mark.real_data
def test_fetched_weights_are_found_and_checked(weights: Path, cache: Path, astronaut: NDArray[np.uint8]) -> None:
    with pytest.raises(WeightsError, match="the weights 'yunet' have not been fetched") as caught:
        load("yunet")
    assert caught.value.hint.startswith("mien models fetch yunet; ")
    (file,) = remote_weights("yunet").files
    path = cache / "yunet" / file.name
    assert f"{path} (sha256 {file.sha256})" in caught.value.hint

    path.parent.mkdir(parents=True)
    path.write_bytes(weights.read_bytes())  # by hand, as the hint says
    assert len(load("yunet").detect(astronaut)) == 1

    path.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="is damaged or was replaced") as caught:
        load("yunet")
    assert caught.value.hint == "mien models fetch yunet"


@needs_new
@pytest.mark.real_data
def test_the_weights_have_the_hash_of_the_table(weights: Path) -> None:
    (file,) = remote_weights("yunet").files
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == file.sha256
    assert weights.stat().st_size == file.size


@pytest.mark.skipif(not OLD, reason="OpenCV runs YuNet")
def test_an_older_opencv_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"needs OpenCV 4\.10 or newer, found"):
        load("yunet")
