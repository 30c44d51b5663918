"""The types that carry results: validated when they are made; the messages name the expected and the actual shape."""

import dataclasses
import json

import numpy as np
import pytest

from mien import Expression, Face, Frame, FrameResult, emotions

EIGHT = emotions.vocabulary(8)
BOX = np.array([1, 2, 30, 40], np.float32)


def _expression() -> Expression:
    return Expression(np.array([0.1, 0, 0, 0.6, 0.1, 0.1, 0.1, 0], np.float32), EIGHT)


def test_an_expression_is_read_by_name() -> None:
    expression = _expression()
    assert expression.emotion == "happiness"
    assert expression.confidence == pytest.approx(0.6)
    assert expression["anger"] == pytest.approx(0.1)
    assert list(expression.as_dict()) == list(EIGHT)
    with pytest.raises(KeyError, match="envy"):
        expression["envy"]


@pytest.mark.parametrize(
    "values", [np.ones(7) / 7, np.full(8, 0.2), np.array([1.5, -0.5, *[0] * 6]), np.full(8, np.nan)]
)
def test_wrong_probabilities_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        Expression(values.astype(np.float32), EIGHT)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
    ],
)
def test_the_error_of_a_frame_names_expected_and_actual(image: np.ndarray, found: str) -> None:
    with pytest.raises(ValueError, match=f"expected .*uint8 RGB, got .*{found}"):
        Frame(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": np.zeros((4, 2))}, r"box: expected shape \(4,\), got \(4, 2\)"),
        ({"box": BOX[[2, 1, 0, 3]]}, "x0 < x1"),
        ({"box": BOX * np.nan}, "finite"),
        ({"score": 1.2}, "score: expected 0-1"),
        ({"landmarks": np.zeros((2, 5))}, r"landmarks: expected shape \(5, 2\)"),
        ({"keypoints": np.zeros((68, 3)), "keypoint_scheme": "300w-68"}, r"keypoints: expected shape \(N, 2\), got"),
        ({"keypoints": np.full((68, 2), np.nan), "keypoint_scheme": "300w-68"}, "keypoints: expected finite"),
        ({"keypoints": np.zeros((68, 2))}, "got keypoints without a scheme"),
        ({"keypoint_scheme": "300w-68"}, "got a scheme without keypoints"),
        ({"track": -1}, "track: expected a number from 0"),
    ],
)
def test_the_error_of_a_face_names_expected_and_actual(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Face(**({"box": BOX, "score": 0.5} | change))  # type: ignore[arg-type]


def test_results_cannot_be_changed() -> None:
    face = Face(BOX, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.score = 0.7  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        face.box[0] = 3
    BOX_COPY = BOX.copy()
    assert (face.box == BOX_COPY).all()


def test_a_result_is_a_sequence_of_faces_and_plain_json() -> None:
    faces = (Face(BOX, 0.9, np.zeros((5, 2), np.float32), expression=_expression()), Face(BOX, 0.8))
    result = FrameResult("a.png", width=50, height=60, faces=faces)
    assert len(result) == 2
    assert [face.emotion for face in result] == ["happiness", None]
    assert faces[1].confidence is None
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["faces"][0]["landmarks"]["right_eye"] == [0, 0]
    assert plain["faces"][0]["emotions"]["happiness"] == pytest.approx(0.6)
    assert plain["faces"][1]["landmarks"] is None
    assert plain["faces"][1]["keypoints"] is plain["faces"][1]["smoothed"] is None
    assert "emotion" not in plain["faces"][1]


def test_a_face_of_a_video_has_its_track_keypoints_and_both_expressions() -> None:
    points = np.arange(20, dtype=np.float32).reshape(10, 2)
    smoothed = Expression(np.full(8, 1 / 8, np.float32), EIGHT)
    face = Face(BOX, 0.9, keypoints=points, keypoint_scheme="ten", track=3, expression=_expression(), smoothed=smoothed)
    assert face.emotion == "happiness"  # of the model, not of the smoother
    plain = json.loads(json.dumps(face.as_dict()))
    assert plain["track"] == 3
    assert plain["keypoint_scheme"] == "ten"
    assert plain["keypoints"] == points.tolist()
    assert plain["smoothed"]["anger"] == pytest.approx(1 / 8)
    assert plain["emotions"]["anger"] == pytest.approx(0.1)
