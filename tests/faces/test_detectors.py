"""What every detector must do, run over every name in the registry."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.faces.caffe_network import write_network

from mien.errors import ConfigError, UnsupportedError
from mien.expression import ClassifierOptions
from mien.faces.detectors import DEFAULT, Detections, Detector, DetectorOptions, as_options, load, names
from mien.faces.landmarks import LandmarkOptions

ASTRONAUT_FACE = (170, 65, 280, 205)


ROOT = Path(__file__).parents[2]
YUNET = ROOT.parent / "shared" / "weights" / "yunet_n_640_640.onnx"
ALL = [pytest.param(name, marks=[pytest.mark.real_data] if name == "yunet" else []) for name in names()]
# Without real weights the ssd runs a made-up network, which finds no faces (test_ssd.py shows what it finds). The
# whole-image detector does not search: it gives a face for every image.
SEARCHING = [each for each in ALL if each.values != ("whole-image",)]
KNOWS_FACES = [each for each in SEARCHING if each.values != ("ssd",)]


def made(name: str, folder: Path, **limits: Any) -> Detector:
    """The detector of that name, with weights where it needs some; skips where it cannot run."""
    weights = {"yunet": YUNET, "ssd": folder / "red.caffemodel"}.get(name)
    if name == "yunet" and not YUNET.exists():
        pytest.skip("needs ../shared/weights")
    if name == "ssd":
        write_network(folder)
    try:
        return load(DetectorOptions(name, weights=weights, **limits))
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=ALL)
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return made(request.param, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module", params=SEARCHING)
def searching(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """The detectors that search for faces."""
    return made(request.param, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module", params=KNOWS_FACES)
def face_detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """The detectors that search and have their real networks here."""
    return made(request.param, tmp_path_factory.mktemp("weights"))


def same(one: Detections, other: Detections) -> bool:
    return np.array_equal(one.boxes, other.boxes) and np.array_equal(one.scores, other.scores)


def iou(one: NDArray[np.float32], other: tuple[float, ...]) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.clip(high - low, 0, None).prod())
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return common / (sum(areas) - common)


def test_a_detector_describes_itself(detector: Detector) -> None:
    assert detector.name in names()
    mean_landmarks = detector.mean_landmarks
    if mean_landmarks is None:
        return  # its boxes are the crops
    right_eye, left_eye, nose, right_mouth, left_mouth = mean_landmarks
    assert mean_landmarks.dtype == np.float32
    assert (mean_landmarks > 0).all()
    assert (mean_landmarks < 1).all()
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_all_but_the_whole_image_search(searching: Detector) -> None:
    assert searching.mean_landmarks is not None


def test_a_real_face_is_found(face_detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    found = face_detector.detect(astronaut)
    assert len(found) >= 1
    best = int(found.scores.argmax())
    assert iou(found.boxes[best], ASTRONAUT_FACE) > 0.5
    assert found.scores[best] > 0.6


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_box_follows_the_size_of_the_image(
    face_detector: Detector, astronaut: NDArray[np.uint8], scale: float
) -> None:
    image = np.asarray(cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    found = face_detector.detect(image)
    best = int(found.scores.argmax())
    assert iou(found.boxes[best] / scale, ASTRONAUT_FACE) > 0.45


def test_a_face_that_fills_a_large_image_is_found(face_detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    close = astronaut[20:270, 90:340]
    found = face_detector.detect(np.asarray(cv2.resize(close, (3000, 3000), interpolation=cv2.INTER_CUBIC), np.uint8))
    assert max(iou(box / 12 + np.array([90, 20, 90, 20]), ASTRONAUT_FACE) for box in found.boxes) > 0.45


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (16, 16), (240, 320), (500, 8000)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_uniform_images_of_any_size_have_no_face(searching: Detector, height: int, width: int, level: int) -> None:
    found = searching.detect(np.full((height, width, 3), level, np.uint8))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_a_real_image_of_16_pixels_does_not_fail(detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    tiny = np.asarray(cv2.resize(astronaut, (16, 16), interpolation=cv2.INTER_AREA), np.uint8)
    found = detector.detect(tiny)
    assert found.boxes.shape == (len(found), 4)
    assert np.isfinite(found.boxes).all()


def test_a_face_at_the_border_does_not_fail(detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    for part in (astronaut[:, 200:], astronaut[100:], astronaut[:, :250], astronaut[:170]):
        found = detector.detect(part)  # a view of the image, not a copy of its own
        assert same(found, detector.detect(part.copy()))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty", "batch"],
)
def test_other_shapes_and_types_are_refused(detector: Detector, image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB, got"):
        detector.detect(image)


def test_the_same_image_gives_the_same_faces(detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    before = astronaut.copy()
    assert same(detector.detect(astronaut, min_score=0.2), detector.detect(astronaut, min_score=0.2))
    assert np.array_equal(astronaut, before)


def test_faces_come_largest_first(face_detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    half = np.asarray(cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    image = np.vstack([np.hstack([half, half]), astronaut])
    found = face_detector.detect(image)
    areas = np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1)
    assert len(found) >= 3
    assert (np.diff(areas) <= 0).all()


def test_a_higher_score_keeps_some_of_the_faces(face_detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    everything = face_detector.detect(astronaut, min_score=0)
    for min_score in (0.0, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0):
        assert same(face_detector.detect(astronaut, min_score=min_score), everything.at_least(min_score))
    assert len(everything.at_least(0.3)) >= 1
    assert len(everything.at_least(1)) == 0


def test_smaller_faces_are_left_out_on_request(
    face_detector: Detector, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    assert len(made(face_detector.name, tmp_path, min_face=300).detect(astronaut)) == 0
    assert len(made(face_detector.name, tmp_path, min_face=60).detect(astronaut)) >= 1


@pytest.mark.real_data
def test_faces_of_photographs_are_found(face_detector: Detector, face_data: Path) -> None:
    """A short form of the measurement in docs/design/geometry.json."""
    with (face_data / "labels.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["zip"] == "portraits.zip" and row["split"] == "valid"][:40]
    hits = []
    with zipfile.ZipFile(face_data / "portraits.zip") as archive:
        for row in rows:
            image = np.asarray(Image.open(io.BytesIO(archive.read(row["file"]))).convert("RGB"))
            boxes = face_detector.detect(image).boxes
            hits += [any(iou(box, face["box"]) > 0.4 for box in boxes) for face in row["faces"]]
    assert np.mean(hits) > 0.85


def test_the_default_comes_first() -> None:
    assert names()[0] == DEFAULT
    assert load().name == DEFAULT
    assert set(names()) == {path.stem.replace("_", "-") for path in _folder().glob("[!_]*.py")}


def _folder() -> Path:
    import mien.faces.detectors

    return Path(next(iter(mien.faces.detectors.__path__)))


def test_an_unknown_name_gives_an_error_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match=r"there is no detector 'retina'.*hog"):
        load("retina")


@pytest.mark.parametrize("name", ["hog", "haar", "whole-image"])
def test_weights_are_refused_by_detectors_that_have_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"the detector '{name}' does not use a weights file, got .*x.onnx"):
        load(DetectorOptions(name, weights=tmp_path / "x.onnx"))


@pytest.mark.parametrize("min_score", [-0.1, 1.5, float("nan")])
def test_a_score_is_between_0_and_1(min_score: float) -> None:
    with pytest.raises(ConfigError, match=r"min_score: expected a number 0-1"):
        DetectorOptions(min_score=min_score)


def test_a_name_is_text() -> None:
    with pytest.raises(ConfigError, match="name: expected the name of a detector, got None") as caught:
        DetectorOptions(name=None)  # type: ignore[arg-type]
    assert caught.value.hint == f"choose one of {', '.join(names())}"
    with pytest.raises(ConfigError, match=r"name: expected the name of a detector, .*weights=\.\.\."):
        DetectorOptions(Path("own.onnx"))  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["no", 0, None])
def test_any_rotation_is_true_or_false(given: Any) -> None:
    with pytest.raises(ConfigError, match=f"any_rotation: expected True or False, got {given!r}"):
        DetectorOptions(any_rotation=given)
    assert DetectorOptions(any_rotation=np.bool_(True)) == DetectorOptions(any_rotation=True)  # type: ignore[arg-type]


def test_weights_are_a_path_or_text_and_may_be_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    for given in ("~/x.onnx", Path("~/x.onnx"), tmp_path / "x.onnx"):
        assert DetectorOptions(weights=given).weights == tmp_path / "x.onnx"  # type: ignore[arg-type]
        assert as_options(given).weights == tmp_path / "x.onnx"
    with pytest.raises(ConfigError, match="weights: expected the path of a file, got 3"):
        DetectorOptions(weights=3)  # type: ignore[arg-type]
    home = Path("~/x.toml")
    assert LandmarkOptions(weights=home).weights == tmp_path / "x.toml"
    options = ClassifierOptions(prior=home, affect_table=home)
    assert (options.prior, options.affect_table) == (tmp_path / "x.toml",) * 2


@pytest.mark.parametrize("given", [True, 3.5, 0, -1])
def test_sides_are_whole_numbers_of_pixels(given: Any) -> None:
    for name in ("max_side", "min_face"):
        with pytest.raises(ConfigError, match=f"{name}: expected a whole number of pixels above 0"):
            DetectorOptions(**{name: given})


def test_options_are_made_from_names_and_files() -> None:
    base = DetectorOptions("hog", min_face=30)
    assert as_options("haar", base) == DetectorOptions("haar", min_face=30)
    assert as_options(base) is base
    assert as_options("own.onnx") == as_options(Path("own.onnx")) == DetectorOptions("mien", Path("own.onnx"))
    assert pickle.loads(pickle.dumps(base)) == base


class TestWholeImage:
    def test_the_box_is_the_image(self, astronaut: NDArray[np.uint8]) -> None:
        found = load("whole-image").detect(astronaut, min_score=1)
        assert found.boxes.tolist() == [[0, 0, 512, 330]]
        assert found.scores.tolist() == [1]
        assert found.landmarks is None

    @pytest.mark.parametrize("options", [{"max_side": 640}, {"min_face": 20}, {"any_rotation": True}])
    def test_options_of_a_search_are_refused(self, options: dict[str, Any]) -> None:
        message = f"{next(iter(options))}: has no effect with the detector 'whole-image'"
        with pytest.raises(ConfigError, match=message):
            load(DetectorOptions("whole-image", **options))


class TestDetections:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 9, 9], [0, 0, 4, 4]], np.float32)
    scores = np.array([0.9, 0.2, 0.5], np.float32)

    def test_shapes_are_checked_by_name(self) -> None:
        with pytest.raises(ValueError, match=r"boxes: expected shape \(3, 4\), got \(4, 3\)"):
            Detections(self.boxes.T, self.scores)
        with pytest.raises(ValueError, match=r"scores: expected shape \(3,\), got \(3, 1\)"):
            Detections(self.boxes, self.scores[:, None])
        with pytest.raises(ValueError, match=r"landmarks: expected shape \(3, 5, 2\), got \(3, 10\)"):
            Detections(self.boxes, self.scores, np.zeros((3, 10), np.float32))

    def test_values_are_checked(self) -> None:
        with pytest.raises(ValueError, match="scores: expected numbers 0-1"):
            Detections(self.boxes, self.scores + 1)
        with pytest.raises(ValueError, match="boxes: expected finite numbers"):
            Detections(self.boxes * np.float32(np.nan), self.scores)
        with pytest.raises(ValueError, match="boxes: expected x0 < x1"):
            Detections(self.boxes[:, ::-1], self.scores)

    def test_they_cannot_be_changed(self) -> None:
        found = Detections(self.boxes, self.scores)
        with pytest.raises(ValueError, match="read-only"):
            found.boxes[0] = 0

    def test_at_least_filters_and_sorts_all_fields(self) -> None:
        landmarks = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
        kept = Detections(self.boxes, self.scores, landmarks).at_least(0.5)
        assert kept.boxes.tolist() == [[0, 0, 4, 4], [0, 0, 2, 2]]
        assert kept.scores.tolist() == [0.5, np.float32(0.9)]
        assert kept.landmarks is not None
        assert np.array_equal(kept.landmarks, landmarks[[2, 0]])

    def test_empty_detections(self) -> None:
        assert len(Detections.empty().at_least(0.5)) == 0
        nothing = np.array(list(np.empty((0, 4))))  # as in a program of one's own: its shape is lost
        for found in (Detections(nothing, nothing), Detections([], [], [])):  # type: ignore[arg-type]
            assert (found.boxes.shape, found.scores.shape, len(found)) == ((0, 4), (0,), 0)
