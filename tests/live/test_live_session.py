"""The analysis of a live connection: tracks, smoothing, and settings that change between frames."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.videos import portrait

from mien import Analyzer
from mien.errors import InputError
from mien.results import Frame
from mien.server.live.session import LiveSession, LiveSettings


def jpeg(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=92)
    return data.getvalue()


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer()


@pytest.fixture
def session(analyzer: Analyzer) -> LiveSession:
    return LiveSession(analyzer)


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    photograph = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
    return [jpeg(pixels) for pixels in portrait(photograph, 6, width=320, step=4)]


def test_frames_of_a_camera_have_tracks_times_and_smoothing(session: LiveSession, frames: list[bytes]) -> None:
    results = [session.analyze(frame, number / 10) for number, frame in enumerate(frames)]
    assert [result.frame for result in results] == list(range(6))
    assert [result.timestamp for result in results] == pytest.approx([number / 10 for number in range(6)])
    assert {result.source for result in results} == {"camera"}
    assert [result[0].track for result in results] == [0] * 6
    assert all(result[0].smoothed is not None for result in results)
    assert results[5][0].box[0] - results[0][0].box[0] == pytest.approx(20, abs=4)


def test_a_video_is_classified_as_by_analyze(session: LiveSession, analyzer: Analyzer, frames: list[bytes]) -> None:
    """By one network, where two vote on a still image."""
    found = session.analyze(frames[0], 0.0)[0].expression
    video = [Frame(np.asarray(Image.open(io.BytesIO(frames[0]))), "camera", 0, 0.0)]
    expected = next(analyzer.stream(video, 0))[0].expression
    still = session.analyze(frames[0], 0.0, still=True)[0].expression
    assert found is not None
    assert expected is not None
    assert still is not None
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert (found.probabilities != still.probabilities).any()


def test_a_still_image_is_what_analyze_gives(session: LiveSession, analyzer: Analyzer, astronaut: Path) -> None:
    session.settings = session.settings.changed({"source": "photo.jpg"})
    found = session.analyze(astronaut.read_bytes(), 3.0, still=True)
    expected = analyzer.analyze(astronaut)
    assert found.as_dict() == expected.as_dict() | {"source": "photo.jpg"}
    assert found[0].track is None
    assert found.timestamp is None


def test_settings_change_between_frames_and_the_tracks_stay(analyzer: Analyzer, astronaut: Path) -> None:
    pixels = np.asarray(Image.open(astronaut).convert("RGB"))
    two = jpeg(np.concatenate([pixels, np.pad(pixels[::2, ::2], ((0, 256), (0, 0), (0, 0)))], axis=1))
    session = LiveSession(analyzer)
    both = session.analyze(two, 0.0)
    assert [face.keypoints is None for face in both] == [True, True]
    session.settings = LiveSettings(largest_only=True, keypoints=True)
    largest = session.analyze(two, 0.1)
    assert [face.track for face in largest] == [both[0].track]
    assert largest[0].keypoints is not None
    assert largest[0].pose is not None
    session.settings = LiveSettings()
    again = session.analyze(two, 0.2)
    assert [face.track for face in again] == [face.track for face in both]
    assert again[0].keypoints is None


def test_another_source_and_a_video_that_begins_again_get_new_tracks(session: LiveSession, frames: list[bytes]) -> None:
    session.settings = LiveSettings(source="clip.mp4")
    first = [session.analyze(frame, number / 10) for number, frame in enumerate(frames[:3])]
    assert [result.frame for result in first] == [0, 1, 2]
    assert session.analyze(frames[0], 0.0).frame == 0  # the video begins again
    session.settings = LiveSettings(source="other.mp4")
    other = session.analyze(frames[0], 9.0)
    assert (other.source, other.frame, other[0].track) == ("other.mp4", 0, 0)


def test_options_of_tracking_hold(frames: list[bytes]) -> None:
    from mien import AnalyzerOptions
    from mien.media.picking import TrackingOptions

    session = LiveSession(Analyzer(AnalyzerOptions(tracking=TrackingOptions(smooth=0))))
    assert session.analyze(frames[0], 0.0)[0].smoothed is None


@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff\xe0 cut"], ids=["empty", "text", "cut"])
def test_a_frame_that_cannot_be_read_does_not_end_the_session(
    session: LiveSession, frames: list[bytes], data: bytes
) -> None:
    session.analyze(frames[0], 0.0)
    with pytest.raises(InputError):
        session.analyze(data, 0.1)
    after = session.analyze(frames[1], 0.2)
    assert (after.frame, after[0].track) == (1, 0)


def test_an_unexpected_error_does_not_end_the_session(frames: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    analyzer = Analyzer()
    session = LiveSession(analyzer)
    session.analyze(frames[0], 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(analyzer.video_classifier, "logits", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.analyze(frames[1], 0.1)
    after = session.analyze(frames[2], 0.2)
    assert (len(after), after.timestamp, after[0].track) == (1, 0.2, 0)


@pytest.mark.parametrize("wrong", [{"largest_only": 1}, {"keypoints": "yes"}, {"source": None}, {"source": 3}])
def test_settings_of_other_types_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        LiveSettings().changed(wrong)


def test_settings_that_are_not_known_are_ignored() -> None:
    assert LiveSettings().changed({"type": "settings", "largest_only": True}) == LiveSettings(largest_only=True)
