"""Smoothing along a track: less flicker, raw probabilities unchanged, a stated delay, each result once and in order."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from mien.analyzer import Analyzer
from mien.errors import ConfigError
from mien.expression.smoothing import TrackSmoother
from mien.faces.tracking import FaceTracker
from mien.media import read_image
from mien.results import Expression, Face, Frame, FrameResult

EMOTIONS = mien.emotions.vocabulary(8)


def result(index: int, probabilities: dict[int, float], *, step: float = 0.04, error: str | None = None) -> FrameResult:
    """A frame in which each track shows happiness with a probability, else neutral."""
    faces = []
    for track, happiness in probabilities.items():
        row = np.zeros(8, np.float32)
        row[EMOTIONS.index("happiness")], row[EMOTIONS.index("neutral")] = happiness, 1 - happiness
        faces.append(Face(np.array([0, 0, 50, 50]), 0.9, track=track, expression=Expression(row, EMOTIONS)))
    return FrameResult("clip.mp4", index, index * step, 640, 480, tuple(faces), error=error)


def smoothed(smoother: TrackSmoother, results: list[FrameResult]) -> list[FrameResult]:
    done = [each for one in results for each in smoother.update(one)]
    return done + list(smoother.flush())


def test_flicker_on_a_still_noisy_face_is_at_least_halved(astronaut: Path) -> None:
    """A dim, noisy camera in front of a face that does not move."""
    face = cv2.resize(read_image(astronaut)[70:205, 160:295], (64, 64), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(3)

    def frames() -> Iterator[Frame]:
        for index in range(75):
            noisy = 60 + 0.1 * face + rng.normal(0, 13, face.shape)
            yield Frame(np.clip(noisy, 0, 255).astype(np.uint8), "camera", index, index / 25)

    analyzer = Analyzer(detector="whole-image", tracker=lambda: FaceTracker(1), smoother=TrackSmoother)
    faces = [found[0] for found in analyzer.stream(frames())]
    assert {face.track for face in faces} == {0}

    def changes(labels: list[str | None]) -> int:
        return sum(one != other for one, other in pairwise(labels))

    raw = changes([face.emotion for face in faces])
    calm = changes([face.smoothed.emotion if face.smoothed else None for face in faces])
    assert raw >= 8, "the clip must be hard enough to flicker"
    assert calm <= raw / 2


@pytest.mark.parametrize("delay", [None, 0.0, 0.6])
def test_where_the_times_fall_smoothing_starts_again(delay: float | None) -> None:
    first = [result(index, {0: 1.0}) for index in range(250, 270)]
    second = [result(index, {0: 0.0}) for index in range(20)]
    smoother = TrackSmoother(delay=delay)
    done = smoothed(smoother, first + second)
    assert [each.frame for each in done] == [each.frame for each in first + second]
    shares = [each[0].smoothed.probabilities[EMOTIONS.index("happiness")] for each in done if each[0].smoothed]
    assert shares == pytest.approx([1.0] * 20 + [0.0] * 20)


def test_the_raw_probabilities_stay(astronaut: Path) -> None:
    results = [result(index, {0: index % 2}) for index in range(20)]
    for before, after in zip(results, smoothed(TrackSmoother(), results), strict=True):
        assert before[0].expression is after[0].expression
        assert after[0].smoothed is not None
    middle = smoothed(TrackSmoother(), results)[10][0].smoothed
    assert middle is not None
    assert middle["happiness"] == pytest.approx(0.5, abs=0.08)
    assert middle.probabilities.sum() == pytest.approx(1)


def test_a_result_waits_for_the_delay_and_no_longer() -> None:
    smoother = TrackSmoother(0.4, delay=0.12)  # three frames of 0.04 s
    given = [len(list(smoother.update(result(index, {0: 0.5})))) for index in range(6)]
    assert given == [0, 0, 0, 1, 1, 1]
    assert len(list(smoother.flush())) == 3


def test_without_delay_every_result_comes_at_once() -> None:
    smoother = TrackSmoother(0.4, delay=0.0)
    for index in range(5):
        (only,) = smoother.update(result(index, {0: float(index >= 2)}))
        assert only.frame == index
    assert only[0].smoothed is not None
    assert 0.5 < only[0].smoothed["happiness"] < 1


def test_a_symmetric_window_shows_a_change_at_its_time() -> None:
    results = [result(index, {0: float(index >= 50)}) for index in range(100)]
    labels = [found[0].smoothed.emotion for found in smoothed(TrackSmoother(), results) if found[0].smoothed]
    assert abs(labels.index("happiness") - 50) <= 1
    assert labels[60:] == ["happiness"] * 40


def test_tracks_do_not_mix_and_gaps_do_not_matter() -> None:
    results = [result(index, {0: 0.9, 1: 0.1} if index % 3 else {1: 0.1}) for index in range(30)]
    for found in smoothed(TrackSmoother(), results):
        for face in found:
            assert face.smoothed is not None
            assert face.smoothed["happiness"] == pytest.approx(0.9 if face.track == 0 else 0.1, abs=1e-5)


def test_errors_and_frames_without_faces_keep_their_place() -> None:
    results = [result(0, {0: 1}), result(1, {}), result(2, {}, error="cannot be read"), result(3, {0: 1})]
    done = smoothed(TrackSmoother(), results)
    assert [each.frame for each in done] == [0, 1, 2, 3]
    assert done[2].error == "cannot be read"


def test_faces_without_a_track_pass_unchanged() -> None:
    plain = FrameResult("a.jpg", faces=(Face(np.array([0, 0, 9, 9]), 0.9),))
    (only,) = smoothed(TrackSmoother(), [plain])
    assert only[0].smoothed is None


def test_frame_times_of_a_variable_rate_weigh_as_they_are() -> None:
    """One old frame with another expression, at the edge of the window, hardly counts."""
    times = [0.0, 0.28, 0.29, 0.30, 0.31, 0.32]
    results = [
        FrameResult("v", number, time, 9, 9, result(0, {0: float(number == 0)}).faces)
        for number, time in enumerate(times)
    ]
    last = smoothed(TrackSmoother(0.6), results)[3][0].smoothed
    assert last is not None
    assert last["happiness"] < 0.01


def test_uncertainty_follows_the_threshold() -> None:
    found = smoothed(TrackSmoother(threshold=0.8), [result(index, {0: index % 2}) for index in range(20)])
    assert found[10][0].smoothed is not None
    assert found[10][0].smoothed.uncertain


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_window_that_cannot_be(seconds: float) -> None:
    with pytest.raises(ConfigError, match="smooth: expected seconds above 0"):
        TrackSmoother(seconds)


@pytest.mark.parametrize("delay", [-0.1, 0.7, float("nan")])
def test_a_delay_outside_the_window(delay: float) -> None:
    with pytest.raises(ConfigError, match=r"delay: expected seconds from 0 to 0\.6"):
        TrackSmoother(0.6, delay)
