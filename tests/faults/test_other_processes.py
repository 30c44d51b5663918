"""An analyzer goes to another process: made from its options, and from ready objects if these can be pickled."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mien
from mien.expression import OnnxClassifier, load_classifier
from mien.expression.base import ClassifierOptions
from mien.faces import detectors
from mien.faces.detectors import Detections, DetectorOptions
from mien.media import read_image


class LeftHalf:
    """A detector of a user's own: the left half of the image is a face."""

    name = "left-half"
    mean_landmarks = np.array(((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.3, 0.75), (0.7, 0.75)), np.float32)

    def __init__(self, score: float) -> None:
        self.score = score

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        height, width = image.shape[:2]
        return Detections(np.array([[0, 0, width / 2, height]], np.float32), np.array([self.score], np.float32))


def test_an_analyzer_works_in_a_process_that_was_started_anew(astronaut: Path) -> None:
    analyzer = mien.Analyzer(detector=DetectorOptions(min_score=0.6), classifier="mien-s", emotions=7)
    expected = analyzer.analyze(astronaut).as_dict()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        # The method carries its analyzer along; the result comes back.
        results = list(pool.map(analyzer.analyze, [astronaut, str(astronaut)]))
    assert [result.as_dict() for result in results] == [expected, expected]


def test_the_default_goes_along_with_its_network_for_videos(astronaut: Path) -> None:
    analyzer = mien.Analyzer()
    frame = mien.Frame(read_image(astronaut), "clip", 0, 0.0)
    copy = pickle.loads(pickle.dumps(analyzer))
    for source in (astronaut, frame):
        assert copy.analyze(source).as_dict() == analyzer.analyze(source).as_dict()
    assert analyzer.video_classifier.name == "mien-m-int8"
    assert analyzer.analyze(astronaut).as_dict() != analyzer.analyze(frame).as_dict()


@pytest.mark.parametrize("name", ["mien", "hog", "whole-image"])
def test_ready_detectors_of_mien_can_be_pickled(astronaut: Path, name: str) -> None:
    if name == "hog":
        pytest.importorskip("dlib")
    analyzer = mien.Analyzer(detector=detectors.load(DetectorOptions(name, min_score=0.6)))
    copy = pickle.loads(pickle.dumps(analyzer))
    assert copy.detector.name == name
    assert copy.analyze(astronaut).as_dict() == analyzer.analyze(astronaut).as_dict()


@pytest.mark.parametrize(
    "options",
    [ClassifierOptions("mien-s", emotions=7, tta="flip"), ClassifierOptions("mien-s,mien-m-int8", vote="hard")],
)
def test_ready_classifiers_can_be_pickled(astronaut: Path, options: ClassifierOptions) -> None:
    classifier = load_classifier(options).with_classes(6)
    analyzer = mien.Analyzer(classifier=classifier)
    copy = pickle.loads(pickle.dumps(analyzer))
    assert copy.emotions == classifier.emotions
    assert copy.analyze(astronaut).as_dict() == analyzer.analyze(astronaut).as_dict()


def test_a_pickle_needs_no_file_of_its_model(tmp_path: Path, astronaut: Path) -> None:
    from mien.assets.store import model_bytes

    path = tmp_path / "모델.onnx"
    path.write_bytes(model_bytes("mien-s"))
    pickled = pickle.dumps(OnnxClassifier(ClassifierOptions(path, prior="auto")))
    path.unlink()
    copy = mien.Analyzer(classifier=pickle.loads(pickled))
    expected = mien.Analyzer(classifier="mien-s").analyze(astronaut)
    assert copy.analyze(astronaut).as_dict() == expected.as_dict()


def test_objects_of_a_users_own_are_pickled_themselves(astronaut: Path) -> None:
    copy = pickle.loads(pickle.dumps(mien.Analyzer(detector=LeftHalf(0.75))))
    (face,) = copy.analyze(astronaut)
    assert face.score == 0.75
    assert face.box[2] == 256


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(mien.Analyzer(smoother=lambda: None))  # type: ignore[arg-type,return-value]
