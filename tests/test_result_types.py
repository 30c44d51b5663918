"""The types that carry results: validated when they are made; the messages name the expected and the actual shape."""

import copy
import dataclasses
import json
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import Expression, Face, Frame, FrameResult, emotions
from mien.results import Affect, Measures

EIGHT = emotions.vocabulary(8)
BOX = np.array([1, 2, 30, 40], np.float32)
IMAGE = np.zeros((4, 4, 3), np.uint8)


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


def test_an_expression_is_a_mapping() -> None:
    expression = _expression()
    assert isinstance(expression, Mapping)
    assert list(expression) == list(expression.keys()) == list(EIGHT)
    assert len(expression) == 8
    assert dict(expression) == dict(expression.items()) == expression.as_dict()
    assert sum(expression.values()) == pytest.approx(1)
    assert max(expression, key=expression.__getitem__) == "happiness"


@pytest.mark.parametrize("name", ["happiness", "happy", "Joy"])
def test_every_way_to_read_an_expression_accepts_aliases(name: str) -> None:
    expression = _expression()
    assert name in expression
    assert expression[name] == expression.get(name) == pytest.approx(0.6)


@pytest.mark.parametrize("name", ["envy", "", 0, None])
def test_an_expression_has_no_other_keys(name: object) -> None:
    expression = _expression()
    assert name not in expression
    assert expression.get(name) is None  # type: ignore[call-overload]
    assert expression.get(name, 0.25) == 0.25  # type: ignore[call-overload]


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
        ({"track": -1}, "track: expected a whole number from 0, got -1"),
        ({"track": 1.5}, "track: expected a whole number from 0, got 1.5"),
    ],
)
def test_the_error_of_a_face_names_expected_and_actual(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Face(**({"box": BOX, "score": 0.5} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": -3}, "index: expected a whole number from 0, got -3"),
        ({"index": 1.5}, "index: expected a whole number from 0, got 1.5"),
        ({"index": True}, "index: expected a whole number from 0, got True"),
        ({"index": "3"}, "index: expected a whole number from 0, got '3'"),
        ({"index": math.inf}, "index: expected a whole number from 0, got inf"),
        ({"timestamp": math.nan}, "timestamp: expected a number of seconds, or None for an image, got nan"),
        ({"timestamp": "0:01"}, "timestamp: expected a number of seconds, or None for an image, got '0:01'"),
        ({"source": None}, "source: expected text or a path, got None"),
        ({"source": 0}, "source: expected text or a path, got 0; for a camera write 'camera:0'"),
    ],
)
def test_what_a_frame_cannot_have(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Frame(IMAGE, **change)  # type: ignore[arg-type]
    renamed = {"frame" if name == "index" else name: value for name, value in change.items()}
    with pytest.raises(ValueError, match=message.replace("index", "frame")):
        FrameResult(**({"source": "a.png"} | renamed))  # type: ignore[arg-type]


def test_numbers_of_numpy_and_paths_become_plain_types() -> None:
    frame = Frame(IMAGE, Path("clips") / "c.mp4", np.int64(3), np.float32(0.5))  # type: ignore[arg-type]
    assert (frame.source, frame.index, frame.timestamp) == (str(Path("clips") / "c.mp4"), 3, 0.5)
    affect = Affect(*np.array([0.5, -0.25, 0.5, 0], np.float32))
    expression = Expression(np.eye(8, dtype=np.float32)[0], EIGHT, np.bool_(True), affect)  # type: ignore[arg-type]
    face = Face(BOX, np.float32(0.5), track=np.int64(2), expression=expression)  # type: ignore[arg-type]
    result = FrameResult(
        Path("c.mp4"),  # type: ignore[arg-type]
        np.int64(3),  # type: ignore[arg-type]
        np.float64(0.5),
        np.uint16(4),  # type: ignore[arg-type]
        np.uint16(4),  # type: ignore[arg-type]
        [face],  # type: ignore[arg-type]
    )
    plain = json.loads(json.dumps(result.as_dict()))
    assert [plain[name] for name in ("source", "frame", "timestamp", "width")] == ["c.mp4", 3, 0.5, 4]
    (shown,) = plain["faces"]
    assert [shown[name] for name in ("score", "track", "uncertain")] == [0.5, 2, True]
    assert shown["affect"]["arousal"] == -0.25
    assert {type(value) for value in (frame.index, result.frame, face.track, result.width)} == {int}
    assert {type(value) for value in (frame.timestamp, result.timestamp, face.score, affect.valence)} == {float}
    assert result.faces == (face,)


def test_results_cannot_be_changed() -> None:
    face = Face(BOX, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.score = 0.7  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        face.box[0] = 3
    BOX_COPY = BOX.copy()
    assert (face.box == BOX_COPY).all()


def _everything() -> FrameResult:
    expression = dataclasses.replace(_expression(), affect=Affect.of(0.5, 0.25))
    face = Face(
        BOX,
        0.9,
        np.arange(10, dtype=np.float32).reshape(5, 2),
        keypoints=np.arange(4, dtype=np.float32).reshape(2, 2),
        keypoint_scheme="pair",
        pose=np.array([1, 2, 3], np.float32),
        expression=expression,
        smoothed=expression,
    )
    return FrameResult("a.png", width=4, height=4, faces=(face, Face(BOX, 0.8)), image=IMAGE.copy())


COPIES: dict[str, Callable[[FrameResult], FrameResult]] = {
    "pickle": lambda result: pickle.loads(pickle.dumps(result)),
    "an older pickle": lambda result: pickle.loads(pickle.dumps(result, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_equal_and_read_only(name: str) -> None:
    result = _everything()
    other = COPIES[name](result)
    assert other == result
    assert hash(other) == hash(result)
    assert len({other, result, *other, *result}) == 3
    assert other[0].expression is not None
    assert other[0].expression == result[0].expression
    for array in (
        other[0].box,
        other[0].landmarks,
        other[0].keypoints,
        other[0].pose,
        other[0].expression.probabilities,
    ):
        assert array is not None
        assert not array.flags.writeable
    assert other.image is not None
    assert other.image.flags.writeable  # pixels are the caller's


def test_results_that_differ_are_not_equal() -> None:
    result = _everything()
    face, plain = result
    assert face.expression is not None
    expression = face.expression
    for other in (
        dataclasses.replace(expression, uncertain=True),
        dataclasses.replace(expression, affect=None),
        dataclasses.replace(expression, emotions=expression.emotions[::-1]),
        dataclasses.replace(expression, probabilities=expression.probabilities[::-1]),
        dict(expression),
    ):
        assert expression != other
    for changed in ({"box": BOX + 1}, {"pose": None}, {"smoothed": None}, {"track": 1}):
        assert dataclasses.replace(face, **changed) != face
    assert plain != face
    assert dataclasses.replace(result, source="b.png") != result
    assert dataclasses.replace(result, faces=(face,)) != result
    assert dataclasses.replace(result, image=None) == result  # as for frames, pixels do not count


def test_equal_results_have_equal_hashes() -> None:
    """Both zeros are equal, although their bytes differ."""
    zero, minus = (Face(np.array([x, x, 3, 4], np.float32), 0.5) for x in (0.0, -0.0))
    assert zero == minus
    assert hash(zero) == hash(minus)


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
    assert list(plain["faces"][1]) == list(plain["faces"][0])
    for face, shown in zip(faces, plain["faces"], strict=True):
        for name in ("emotion", "confidence", "uncertain", "emotions", "affect"):
            assert getattr(face, name) == shown[name]
            assert (shown[name] is None) == (face.expression is None or name == "affect")


def of_a_video() -> Face:
    points = np.arange(20, dtype=np.float32).reshape(10, 2)
    smoothed = Expression(np.full(8, 1 / 8, np.float32), EIGHT, uncertain=True)
    return Face(BOX, 0.9, keypoints=points, keypoint_scheme="ten", track=3, expression=_expression(), smoothed=smoothed)


def test_results_are_read_from_their_json() -> None:
    affect = Affect(0.5, -0.25, 0.5, 0)
    measured = replace(
        of_a_video(),
        landmarks=np.eye(5, 2, dtype=np.float32),
        pose=np.array([1, 2, 3]),
        measures=Measures(1, 1, 0, 0, 1),
    )
    dimensions = replace(of_a_video(), expression=replace(_expression(), affect=affect), smoothed=None)
    faces = (of_a_video(), measured, dimensions, Face(BOX, 0.25))
    for result in (FrameResult("a.mp4", 3, 0.5, 40, 30, faces), FrameResult("b.png", error="damaged", note="cut")):
        assert FrameResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    with pytest.raises(KeyError, match="frame"):
        FrameResult.from_dict({"source": "a.png"})


def test_a_result_is_a_sequence_of_faces() -> None:
    face, other = of_a_video(), Face(BOX, 0.25)
    result = FrameResult("a.mp4", faces=(face, other))
    assert isinstance(result, Sequence)
    assert (result.index(other), result.count(face), list(reversed(result))) == (1, 1, [other, face])
    with pytest.raises(ValueError, match="faces: expected faces, got int"):
        FrameResult("a.mp4", faces=(1,))  # type: ignore[arg-type]


def test_an_expression_has_each_name_once() -> None:
    expression = Expression([0.5, 0.5], ["a", "b"])  # type: ignore[arg-type]
    assert expression.emotions == ("a", "b")
    assert hash(expression) == hash(Expression(np.full(2, 0.5, np.float32), ("a", "b")))
    with pytest.raises(ValueError, match="emotions: expected each name once, got a, a"):
        Expression(np.full(2, 0.5, np.float32), ("a", "a"))


def test_a_face_of_a_video_has_its_track_keypoints_and_both_expressions() -> None:
    face = of_a_video()
    points = face.keypoints
    assert points is not None
    assert face.emotion == "happiness"  # of the model, not of the smoother
    plain = json.loads(json.dumps(face.as_dict()))
    assert plain["track"] == 3
    assert plain["keypoint_scheme"] == "ten"
    assert plain["keypoints"] == points.tolist()
    assert plain["smoothed"]["anger"] == pytest.approx(1 / 8)
    assert (plain["smoothed_uncertain"], plain["uncertain"]) == (True, False)
    assert plain["emotions"]["anger"] == pytest.approx(0.1)


def test_a_notebook_shows_a_table_and_escapes_names() -> None:
    shown = Expression(np.array([0.9, 0.1], np.float32), ("happiness", "sadness"), uncertain=True)
    face = Face(np.array([10, 20, 30, 40]), 0.75, track=2, expression=shown)
    html = FrameResult("<b>.jpg", width=100, height=50, faces=(face, Face(np.array([0, 0, 5, 5]), 0.5)))._repr_html_()
    assert "&lt;b&gt;.jpg · 100 x 50" in html
    assert "<td>2</td><td>10, 20, 30, 40</td><td>0.75</td><td>happiness?</td><td>90%</td>" in html
    assert "<td></td><td>0, 0, 5, 5</td><td>0.50</td><td></td><td></td>" in html
    assert "no face" in FrameResult("a.jpg", width=1, height=1)._repr_html_()
    assert "no face" not in FrameResult("a.jpg", error="is damaged")._repr_html_()
