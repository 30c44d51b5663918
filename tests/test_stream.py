"""The stages of `Analyzer.stream`: order, batches and their delay, trackers and smoothers."""

import pickle
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mien
from mien.analyzer import AnalyzerOptions
from mien.errors import ConfigError
from mien.expression import ClassifierOptions
from mien.faces.detectors import Detections, DetectorOptions
from mien.media import read_image
from mien.results import Expression, Face, Frame, FrameResult

WAIT = 600.0  # seconds after which a test fails instead of waiting for ever; nothing depends on it


class Halves:
    """A detector that finds the left and the right half of every image."""

    name = "halves"
    mean_landmarks = None

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        height, width = image.shape[:2]
        boxes = np.array([[0, 0, width / 2, height], [width / 2, 0, width, height]], np.float32)
        return Detections(boxes, np.array([0.9, 0.8], np.float32))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"got ndarray; write Frame\(array, 'camera', index, seconds\)"),
        ("clip.mp4", r"got str; for files write stream\(mien\.media\.open_frames\(\[PATH\]\)\)"),
        (7, "got int; analyze takes images of other kinds"),
    ],
)
def test_what_is_no_frame_is_named_after_the_results_before_it(item: object, message: str) -> None:
    results = mien.Analyzer(detector=Halves()).stream([Frame(np.zeros((8, 8, 3), np.uint8)), item])  # type: ignore[list-item]
    assert next(results).width == 8
    with pytest.raises(TypeError, match=f"stream takes Frames, {message}"):
        next(results)


class CountingTracker:
    """Gives the faces of each frame the tracks 0, 1, ...; its state is the list of the frames it saw."""

    made: list["CountingTracker"]

    def __init__(self) -> None:
        self.frames: list[int] = []
        type(self).made.append(self)

    def needs_detection(self, frame: Frame) -> bool:
        return True

    def update(self, frame: Frame, faces: tuple[Face, ...] | None) -> Sequence[Face]:
        assert faces is not None
        self.frames.append(frame.index)
        return [replace(face, track=number) for number, face in enumerate(faces)]


class MeanOfNeighbours:
    """Smooths with the frame before and the frame after, so that it is one frame late."""

    def __init__(self) -> None:
        self._window: list[FrameResult] = []

    def update(self, result: FrameResult) -> Iterable[FrameResult]:
        self._window = [*self._window, result][-3:]
        if len(self._window) > 1:
            yield self._smooth(self._window[-2], self._window)

    def flush(self) -> Iterable[FrameResult]:
        if self._window:
            yield self._smooth(self._window[-1], self._window[-2:])

    @staticmethod
    def _smooth(result: FrameResult, window: Sequence[FrameResult]) -> FrameResult:
        faces = []
        for face in result:
            same = [each.expression for other in window for each in other if each.track == face.track]
            known = [each for each in same if each is not None]
            mean = np.mean([each.probabilities for each in known], axis=0)
            faces.append(replace(face, smoothed=Expression(mean, known[0].emotions)))
        return replace(result, faces=tuple(faces))


@pytest.fixture(autouse=True)
def _trackers() -> None:
    CountingTracker.made = []


@pytest.fixture(scope="module")
def crops() -> mien.Analyzer:
    return mien.Analyzer(detector="whole-image")


def frames(source: str, count: int, seed: int = 0) -> Iterator[Frame]:
    rng = np.random.default_rng(seed)
    for index in range(count):
        yield Frame(rng.integers(0, 256, (48, 96, 3), np.uint8), source, index, timestamp=index / 25)


def fields(results: Iterable[FrameResult]) -> list[tuple[str, int]]:
    return [(result.source, result.frame) for result in results]


# --- delay


def test_with_a_delay_of_0_every_frame_is_analyzed_at_once(crops: mien.Analyzer) -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames("camera", 5):
            taken += 1
            yield frame

    results = crops.stream(counted(), max_delay=0)
    assert [(result.frame, taken) for result in results] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_a_result_does_not_wait_for_a_source_that_blocks(crops: mien.Analyzer) -> None:
    """The source gives its third frame only after the results of the first two were received."""
    received = threading.Event()

    def slow() -> Iterator[Frame]:
        first, second, third = frames("camera", 3)
        yield first
        yield second
        assert received.wait(WAIT)
        yield third

    results = crops.stream(slow(), max_delay=0.05)
    assert [next(results).frame, next(results).frame] == [0, 1]
    received.set()
    assert [result.frame for result in results] == [2]


def test_without_a_delay_a_batch_is_filled(crops: mien.Analyzer) -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames("video", 100):
            taken += 1
            yield frame

    assert next(crops.stream(counted())).frame == 0
    assert taken == crops.options.classifier.batch_size


def test_the_delay_counts_from_the_arrival_of_the_frame() -> None:
    """While one frame is analyzed others arrive; they are not analyzed later than their delay allows.

    Every detection takes longer than the delay, so no frame may wait for another one.
    """

    class Slow(Halves):
        def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
            time.sleep(0.03)
            return super().detect(image)

    analyzer = mien.Analyzer(detector=Slow())
    seen: list[int] = []

    def fast() -> Iterator[Frame]:
        for frame in frames("camera", 6):
            seen.append(frame.index)
            yield frame

    for result in analyzer.stream(fast(), max_delay=0.01):
        # The reader thread is at most three frames ahead: two in its queue and one in its hand.
        assert len(seen) <= result.frame + 5


def test_a_delay_does_not_change_results(astronaut: Path) -> None:
    pixels = read_image(astronaut)
    analyzer = mien.Analyzer()
    source = [Frame(np.ascontiguousarray(np.roll(pixels, 3 * i, axis=1)), "video", i) for i in range(7)]
    expected = list(analyzer.stream(source))
    for delay in (0, 1e-6, 0.02, 30):
        found = list(analyzer.stream(source, max_delay=delay))
        assert fields(found) == fields(expected)
        for one, other in zip(found, expected, strict=True):
            for face, reference in zip(one, other, strict=True):
                assert np.array_equal(face.box, reference.box)
                assert face.expression is not None
                assert reference.expression is not None
                np.testing.assert_allclose(face.expression.probabilities, reference.expression.probabilities, atol=1e-5)


def test_leaving_a_stream_early_closes_its_source(crops: mien.Analyzer) -> None:
    closed = threading.Event()

    def endless() -> Iterator[Frame]:
        try:
            index = 0
            while True:
                yield Frame(np.zeros((48, 48, 3), np.uint8), "camera", index)
                index += 1
        finally:
            closed.set()

    results = crops.stream(endless(), max_delay=0.01)
    next(results)
    results.close()
    assert closed.wait(WAIT)


@pytest.mark.parametrize("max_delay", [None, 0, 0.01])
def test_what_a_source_raises_comes_after_the_results_before_it(crops: mien.Analyzer, max_delay: float | None) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames("camera", 2)
        raise OSError("the cable is out")

    results = crops.stream(broken(), max_delay)
    assert [next(results).frame, next(results).frame] == [0, 1]
    with pytest.raises(OSError, match="the cable is out"):
        next(results)


@pytest.mark.parametrize("max_delay", [-1, float("nan")])
def test_a_delay_below_0_is_refused_at_once(crops: mien.Analyzer, max_delay: float) -> None:
    with pytest.raises(ConfigError, match="max_delay: expected a number of seconds from 0"):
        crops.stream([], max_delay)


@pytest.mark.parametrize("max_delay", [None, 0, 0.01])
def test_an_empty_source(crops: mien.Analyzer, max_delay: float | None) -> None:
    assert list(crops.stream([], max_delay)) == []


# --- trackers and smoothers


def test_every_source_has_its_own_tracker() -> None:
    analyzer = mien.Analyzer(detector=Halves(), tracker=CountingTracker)
    source = [*frames("a.mp4", 3), *frames("b.mp4", 2)]
    results = list(analyzer.stream(source))
    assert [[face.track for face in result] for result in results] == [[0, 1]] * 5
    assert all(face.expression is not None for result in results for face in result)
    assert [tracker.frames for tracker in CountingTracker.made] == [[0, 1, 2], [0, 1]]


def test_frames_with_a_time_alone_are_one_recording() -> None:
    analyzer = mien.Analyzer(detector=Halves(), tracker=CountingTracker)
    timed = [replace(frame, index=0) for frame in [*frames("camera", 3), *frames("camera", 2)]]
    list(analyzer.stream(timed))
    assert [tracker.frames for tracker in CountingTracker.made] == [[0, 0, 0], [0, 0]]  # the time began again
    both = mien.Analyzer(detector=Halves())
    found, expected = (list(both.stream(given)) for given in (timed[:3], frames("camera", 3)))
    assert [result.faces for result in found] == [result.faces for result in expected]


@pytest.mark.parametrize("keep_images", [False, True])
@pytest.mark.parametrize("max_delay", [None, 0, 0.5, "analyze"])
def test_a_source_may_overwrite_its_pixels(max_delay: float | str | None, keep_images: bool) -> None:
    """As cameras do that fill one array."""
    analyzer = mien.Analyzer(AnalyzerOptions(keep_images=keep_images), detector="whole-image")

    def overwritten() -> Iterator[Frame]:
        pixels = np.zeros((48, 96, 3), np.uint8)
        for frame in frames("camera", 5):
            pixels[:] = frame.image
            yield replace(frame, image=pixels)
        pixels[:] = 0

    def analyzed(source: Iterator[Frame]) -> list[FrameResult]:
        if max_delay == "analyze":
            return list(analyzer.analyze(source))
        assert not isinstance(max_delay, str)
        return list(analyzer.stream(source, max_delay))

    expected, found = analyzed(frames("camera", 5)), analyzed(overwritten())
    assert found == expected
    for result, frame in zip(found, frames("camera", 5), strict=True):
        if keep_images:
            assert result.image is not None
            if max_delay != 0:
                np.testing.assert_array_equal(result.image, frame.image)


@pytest.mark.parametrize("maker", ["tracker", "smoother"])
def test_what_makes_a_stage_is_a_class(maker: str) -> None:
    with pytest.raises(TypeError, match=f"^{maker}: expected a class or a function that makes one, got MeanOfN"):
        mien.Analyzer(detector=Halves(), **{maker: MeanOfNeighbours()})  # type: ignore[arg-type]


@pytest.mark.parametrize("found", [(np.zeros((0, 4)), np.zeros(0)), [], None])
def test_what_a_detector_must_return_is_said(found: object) -> None:
    class Other(Halves):
        mean_landmarks = np.full((5, 2), 0.5, np.float32)  # type: ignore[assignment]

        def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
            return found  # type: ignore[return-value]

    with pytest.raises(TypeError, match=rf"expected Detections from detect\(\), got {type(found).__name__}; return"):
        mien.Analyzer(detector=Other()).analyze(np.zeros((48, 48, 3), np.uint8))


def test_images_in_memory_are_different_sources() -> None:
    analyzer = mien.Analyzer(detector=Halves(), tracker=CountingTracker)
    analyzer.analyze([np.zeros((48, 48, 3), np.uint8)] * 3)
    assert [tracker.frames for tracker in CountingTracker.made] == [[0], [0], [0]]


def test_a_tracker_may_leave_out_and_add_faces(crops: mien.Analyzer) -> None:
    class Strict:
        def needs_detection(self, frame: Frame) -> bool:
            return True

        def update(self, frame: Frame, faces: tuple[Face, ...] | None) -> Sequence[Face]:
            assert faces is not None
            return faces[:1] if frame.index else [*faces, Face(np.array([10, 10, 40, 40], np.float32), 0.5)]

    analyzer = mien.Analyzer(detector=Halves(), classifier=crops.classifier, tracker=Strict)
    results = list(analyzer.stream(frames("a.mp4", 2)))
    assert [len(result) for result in results] == [3, 1]
    assert all(face.expression is not None for result in results for face in result)


def test_the_detector_runs_only_where_the_tracker_needs_it(crops: mien.Analyzer) -> None:
    class Counting(Halves):
        runs = 0

        def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
            self.runs += 1
            return super().detect(image)

    class EveryThird:
        def __init__(self) -> None:
            self.known: tuple[Face, ...] = ()

        def needs_detection(self, frame: Frame) -> bool:
            return frame.index % 3 == 0

        def update(self, frame: Frame, faces: tuple[Face, ...] | None) -> Sequence[Face]:
            assert (faces is None) == (frame.index % 3 != 0)
            self.known = self.known if faces is None else faces
            return self.known

    detector = Counting()
    analyzer = mien.Analyzer(detector=detector, classifier=crops.classifier, tracker=EveryThird)
    results = list(analyzer.stream(frames("a.mp4", 7)))
    assert [len(result) for result in results] == [2] * 7
    assert all(face.expression is not None for result in results for face in result)
    assert detector.runs == 3


def test_only_the_largest_face_is_kept_and_classified(crops: mien.Analyzer) -> None:
    class Uneven(Halves):
        def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
            boxes = np.array([[0, 0, 20, 20], [30, 0, 90, 48], [0, 20, 30, 48]], np.float32)
            return Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32))

    options = AnalyzerOptions(largest_only=True)
    analyzer = mien.Analyzer(options, detector=Uneven(), classifier=crops.classifier)
    results = list(analyzer.stream(frames("a.mp4", 3)))
    assert [[face.box.tolist() for face in result] for result in results] == [[[30, 0, 90, 48]]] * 3
    assert all(result[0].expression is not None for result in results)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize("max_delay", [None, 0])
def test_a_smoother_may_be_late_and_is_flushed_at_the_end_of_each_source(
    batch_size: int, max_delay: float | None
) -> None:
    analyzer = mien.Analyzer(
        detector=Halves(),
        classifier=ClassifierOptions(batch_size=batch_size),
        tracker=CountingTracker,
        smoother=MeanOfNeighbours,
    )
    source: list[Frame] = [*frames("a.mp4", 4), *frames("b.mp4", 1, seed=1), *frames("c.mp4", 3, seed=2)]
    results = list(analyzer.stream(source, max_delay))
    assert fields(results) == [(frame.source, frame.index) for frame in source]

    def raw(place: int, track: int = 0) -> NDArray[np.float32]:
        expression = results[place][track].expression
        assert expression is not None
        return expression.probabilities

    for place, window in {0: (0, 1), 1: (0, 1, 2), 3: (2, 3), 4: (4,), 5: (5, 6), 7: (6, 7)}.items():
        for track in (0, 1):
            smoothed = results[place][track].smoothed
            assert smoothed is not None
            expected = np.mean([raw(each, track) for each in window], axis=0)
            np.testing.assert_allclose(smoothed.probabilities, expected, atol=1e-6)


def test_errors_keep_their_place_before_a_smoother() -> None:
    analyzer = mien.Analyzer(detector=Halves(), smoother=MeanOfNeighbours)
    first, second = frames("a.mp4", 2)
    damaged = FrameResult("a.mp4", 1, error="damaged")
    source: list[Frame | FrameResult] = [
        first,
        damaged,
        replace(second, index=2),
        FrameResult("b.png", error="missing"),
        *frames("c.mp4", 1),
    ]
    results = list(analyzer.stream(source))
    assert fields(results) == [("a.mp4", 0), ("a.mp4", 1), ("a.mp4", 2), ("b.png", 0), ("c.mp4", 0)]
    assert [result.error for result in results] == [None, "damaged", None, "missing", None]


def test_memory_stays_flat_with_a_smoother_and_a_tracker() -> None:
    """No stage holds more frames than a batch and what the smoother looks ahead."""
    analyzer = mien.Analyzer(
        detector=Halves(),
        classifier=ClassifierOptions(batch_size=8),
        tracker=CountingTracker,
        smoother=MeanOfNeighbours,
    )
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames("video", 200):
            taken += 1
            yield frame

    for done, _ in enumerate(analyzer.stream(counted())):
        assert taken <= done + 8 + 1


# --- parts and pickles


def test_an_analyzer_made_from_options_can_be_pickled(astronaut: Path) -> None:
    options = AnalyzerOptions(DetectorOptions(min_score=0.6), ClassifierOptions("mien-s"), keep_images=True)
    analyzer = mien.Analyzer(options, emotions=("happiness", "anger"), tracker=CountingTracker)
    copy = pickle.loads(pickle.dumps(analyzer))
    assert copy.options == analyzer.options
    assert copy.emotions == ("happiness", "anger")
    found, expected = copy.analyze(astronaut), analyzer.analyze(astronaut)
    assert found.as_dict() == expected.as_dict()
    assert found[0].track == 0
    assert found.image is not None


def test_arguments_replace_parts_of_the_options() -> None:
    options = AnalyzerOptions(DetectorOptions("hog", min_score=0.7), ClassifierOptions(batch_size=4))
    analyzer = mien.Analyzer(options, detector="mien", classifier="mien-s", emotions=7)
    assert analyzer.options.detector == DetectorOptions("mien", min_score=0.7)
    assert analyzer.options.classifier == ClassifierOptions("mien-s", emotions=7, batch_size=4)
    assert mien.Analyzer(options, classifier="mien-m,mien-s").classifier.name == "mien-m + mien-s"


def test_an_analyzer_says_what_it_is_made_of(crops: mien.Analyzer) -> None:
    assert repr(crops).startswith("Analyzer(detector='whole-image', classifier='mien-x', emotions=('anger', ")


def test_ready_objects_are_used_as_they_are(crops: mien.Analyzer) -> None:
    detector = Halves()
    analyzer = mien.Analyzer(detector=detector, classifier=crops.classifier)
    assert analyzer.detector is detector
    assert analyzer.classifier is crops.classifier
    seven = mien.Analyzer(detector=detector, classifier=crops.classifier, emotions=7)
    assert seven.emotions == mien.emotions.vocabulary(7)
    (result,) = seven.stream(frames("a.mp4", 1))
    assert [face.box.tolist() for face in result] == [[0, 0, 48, 48], [48, 0, 96, 48]]
