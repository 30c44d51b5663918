"""What callers write by mistake: every call of an analyzer says what to write instead."""

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from mien.analyzer import Analyzer, analyze, detect
from mien.assets.session import Session, cores, shared_session
from mien.assets.store import model_bytes
from mien.errors import ConfigError, InputError
from mien.expression import OnnxClassifier
from mien.expression.base import Classifier
from mien.faces import detectors
from mien.media import open_frames, read_image

grey = np.zeros((48, 48), np.uint8)


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(classifier="mien-s")


def called(name: str, made: Analyzer) -> Callable[..., Any]:
    calls: dict[str, Callable[..., Any]] = {
        "analyze": analyze,
        "detect": detect,
        "Analyzer": lambda _, **parts: Analyzer(**parts),
        "Analyzer.analyze": made.analyze,
    }
    return calls[name]


@pytest.mark.parametrize(
    ("call", "argument", "instead"),
    [
        ("Analyzer", "model", "write classifier='mien-s'"),
        ("Analyzer", "tta", r"write classifier=ClassifierOptions\(tta=...\)"),
        ("Analyzer", "min_face", r"write detector=DetectorOptions\(min_face=...\)"),
        ("Analyzer", "fps", r"write analyze\(..., video=VideoOptions\(fps=...\)\)"),
        ("Analyzer", "largest_only", r"write options=AnalyzerOptions\(largest_only=...\)"),
        ("Analyzer.analyze", "emotions", r"give it to the analyzer: Analyzer\(emotions=...\)"),
        ("Analyzer.analyze", "model", r"write Analyzer\(classifier='mien-s'\), for example"),
        ("Analyzer.analyze", "tta", r"write Analyzer\(classifier=ClassifierOptions\(tta=...\)\)"),
        ("Analyzer.analyze", "fps", r"write video=VideoOptions\(fps=...\)"),
        ("detect", "min_face", r"write detector=DetectorOptions\(min_face=...\)"),
        ("detect", "emotions", "detect only finds faces; use analyze"),
        ("detect", "model", "detect only finds faces; use analyze"),
    ],
)
def test_an_argument_of_another_place(call: str, argument: str, instead: str, analyzer: Analyzer) -> None:
    with pytest.raises(TypeError, match=f"^{call} has no argument '{argument}'; {instead}"):
        called(call, analyzer)(grey, **{argument: 1})


@pytest.mark.parametrize("call", ["analyze", "Analyzer", "Analyzer.analyze", "detect"])
def test_an_argument_that_is_nowhere(call: str, analyzer: Analyzer) -> None:
    with pytest.raises(TypeError, match=f"^{call} has no argument 'colour'$"):
        called(call, analyzer)(grey, colour=1)


@pytest.mark.parametrize("call", ["analyze", "Analyzer"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"classifier": 3}, "classifier: expected a name, a file or ClassifierOptions, or a ready object, got int"),
        (
            {"classifier": iter(["mien-s"])},
            "got list_iterator, which has no crop_specs and no emotions and no __call__",
        ),
        ({"classifier": OnnxClassifier}, r"got the class OnnxClassifier; write OnnxClassifier\(\)"),
        ({"detector": 3}, "detector: expected a name, a file or DetectorOptions, or a ready object, got int"),
        (
            {"detector": {"name": "mien"}},
            "detector: expected a name, .* got dict, which has no mean_landmarks and no detect",
        ),
        ({"detector": mien.DetectorOptions}, r"got the class DetectorOptions; write DetectorOptions\(\)"),
    ],
)
def test_what_is_no_detector_and_no_classifier(
    call: str, parts: dict[str, Any], message: str, analyzer: Analyzer
) -> None:
    with pytest.raises(TypeError, match=message):
        called(call, analyzer)(grey, **parts)


def test_a_detector_that_cannot_serve_detect() -> None:
    with pytest.raises(TypeError, match="detector: expected a name, a file or DetectorOptions"):
        detect(grey, detector=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("video", "images", "message"),
    [
        ({"fps": 5}, "a.mp4", r"video: expected VideoOptions, got dict; write VideoOptions\(\*\*video\)"),
        (5, "a.mp4", "video: expected VideoOptions, got int"),
        (mien.VideoOptions(fps=5), ["a.mp4"], "video: is for one path or address, got list"),
        (mien.VideoOptions(fps=5), grey, "video: is for one path or address, got ndarray"),
    ],
)
def test_options_of_a_video(video: Any, images: Any, message: str, analyzer: Analyzer) -> None:
    for call in (analyze, analyzer.analyze):
        with pytest.raises(TypeError, match=message):
            call(images, video=video)


def test_what_to_do_on_errors_is_checked_for_one_image_too(astronaut: Path, analyzer: Analyzer) -> None:
    with pytest.raises(ConfigError, match="on_error: there is no 'ignore'"):
        analyzer.analyze(astronaut, on_error="ignore")  # type: ignore[call-overload]


@pytest.mark.parametrize("source", ["nothing.mp4", "camera:99"])
def test_a_source_that_cannot_be_opened_raises(source: str, analyzer: Analyzer) -> None:
    """Options of the video change nothing about that."""
    with pytest.raises(InputError, match=r"does not exist|cannot be opened"):
        next(analyzer.analyze(source, video=mien.VideoOptions(fps=5)))
    results = analyzer.analyze(open_frames([source]))  # a source of several may go on
    assert [result.error is None for result in results] == [False]


def test_names_of_classes_may_come_in_any_collection(astronaut: Path) -> None:
    pair = ("happiness", "sadness")
    expected = analyze(astronaut, classifier="mien-s", emotions=pair)[0].expression
    assert expected is not None
    for names in (set(pair), dict.fromkeys(pair).keys(), np.array(pair), ["happy", "sad"]):
        found = analyze(astronaut, classifier="mien-s", emotions=names)[0].expression
        assert found is not None
        assert found.as_dict() == pytest.approx(expected.as_dict())


def test_a_ready_detector_needs_no_hash(astronaut: Path) -> None:
    class Own:
        """One that is equal to others of its kind and so has no hash, as a dataclass."""

        mean_landmarks, name = detectors.load(mien.DetectorOptions()).mean_landmarks, "own"
        detect = staticmethod(detectors.load(mien.DetectorOptions()).detect)
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

    own: Any = Own()
    assert len(analyze(astronaut, detector=own, classifier="mien-s")) == 1
    assert len(detect(astronaut, detector=own)) == 1


def test_a_single_frame_is_an_image_whatever_its_time(astronaut: Path) -> None:
    """By the model of images, and without a track: there is nothing to follow."""
    pixels, made = read_image(astronaut), Analyzer()
    still, timed = made.analyze(pixels), made.analyze(mien.Frame(pixels, "camera", 7, 1.5))
    assert (timed.source, timed.frame, timed.timestamp) == ("camera", 7, 1.5)
    assert timed[0].track is None
    assert still[0].expression is not None
    assert timed[0].expression is not None
    np.testing.assert_array_equal(timed[0].expression.probabilities, still[0].expression.probabilities)


def test_one_path_is_not_many_letters(astronaut: Path) -> None:
    for path in (astronaut, str(astronaut)):
        assert open_frames(path).paths == (astronaut,)
        assert mien.media.find_images(path) == [astronaut]
        assert [frame.source for frame in mien.media.read_frames(path)] == [str(astronaut)]


def test_threads_share_the_networks_that_are_open(astronaut: Path) -> None:
    sessions: list[Session] = []

    def open_one() -> None:
        sessions.append(OnnxClassifier("mien-s").opened[1])

    threads = [threading.Thread(target=open_one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(session) for session in sessions}) == 1


def test_sessions_are_shared_by_content_and_threads() -> None:
    model = model_bytes("mien-s")
    one = shared_session(model, "a")
    assert shared_session(bytes(bytearray(model)), "a") is one
    assert (shared_session(model, "a", threads=2) is one) == (cores() == 1)  # no more than cores
    assert shared_session(model, "b") is not one


def test_a_classifier_of_ones_own_that_lacks_a_part_says_so(astronaut: Path) -> None:
    class Own(Classifier):
        name, input_size, tta, emotions, threshold = "own", 48, "none", ("calm", "not calm"), 0.0

    class Cropped(Own):
        crop_specs = ()

    own: Any = Own
    with pytest.raises(ConfigError, match=r"the classifier Own .*define crop_specs"):
        analyze(astronaut, classifier=own())
    own = Cropped
    with pytest.raises(ConfigError, match=r"the classifier Cropped has only its own classes .*define with_classes"):
        analyze(astronaut, classifier=own(), emotions=("calm", "happiness"))


def test_one_image_that_cannot_be_read_may_be_a_result(analyzer: Analyzer) -> None:
    with pytest.raises(InputError):
        analyzer.analyze("missing.jpg")
    result = analyzer.analyze("missing.jpg", on_error="result")
    assert (result.source, len(result)) == ("missing.jpg", 0)
    assert result.error == "'missing.jpg' does not exist"
    (result,) = analyze("missing.mp4", on_error="result", classifier="mien-s", video=mien.VideoOptions())
    assert result.error


def test_the_content_of_a_video_has_to_be_a_file(analyzer: Analyzer) -> None:
    content = b"\0\0\0\x18ftypmp42" + bytes(500)
    for given in (content, io.BytesIO(content)):
        with pytest.raises(InputError, match=r"not an image but a video .*NamedTemporaryFile"):
            analyzer.analyze(given)
        with pytest.raises(TypeError, match=r"video: is for one path or address.*NamedTemporaryFile"):
            analyzer.analyze(given, video=mien.VideoOptions(fps=2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, "for a camera write 'camera:0'"),
        (np.zeros((5, 48, 48), np.uint8), r"for a batch of grey images pass list\(batch\)"),
        (np.zeros((3, 48, 48), np.uint8), r"or for a batch of 3 grey images: list\(array\)"),
    ],
)
def test_what_was_meant_by_a_number_and_by_batches(analyzer: Analyzer, given: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        analyzer.analyze(given)


@pytest.mark.parametrize("name", ["faces_are_crops", "enforce_detection"])
def test_names_of_other_programs(name: str) -> None:
    with pytest.raises(TypeError, match="write detector='whole-image'"):
        called("analyze", Analyzer(classifier="mien-s"))(grey, **{name: True})


def test_the_probabilities_by_name_accept_aliases(astronaut: Path, analyzer: Analyzer) -> None:
    emotions = analyzer.analyze(astronaut)[0].emotions
    assert emotions is not None
    assert emotions["happy"] == emotions["happiness"]
    assert json.loads(json.dumps(emotions)) == emotions == dict(emotions)
    with pytest.raises(KeyError, match=r"nothing.*; this expression has anger"):
        emotions["nothing"]


def test_names_of_other_modules_are_told() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'annotate'; it is mien\.output\.annotate"):
        mien.annotate  # noqa: B018
