"""Faces whose places are known: classified as those that the detector finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from mien.media import read_image
from mien.results import Face


@pytest.fixture(scope="module")
def image(astronaut: Path) -> np.ndarray:
    return read_image(astronaut)


def test_the_faces_of_detect_get_the_expressions_of_analyze(image: np.ndarray) -> None:
    whole = mien.analyze(image)
    found = mien.classify(image, mien.detect(image))
    assert len(found) == 1
    assert found[0].score == whole[0].score
    np.testing.assert_array_equal(found[0].box, whole[0].box)
    assert found[0].emotion == whole[0].emotion == "happiness"
    one, other = (result[0].expression for result in (found, whole))
    assert one
    assert other
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.02)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("shift", [-0.14, 0.0, 0.14])
def test_a_box_may_be_rough(image: np.ndarray, scale: float, shift: float) -> None:
    face = mien.analyze(image)[0]
    x0, y0, x1, y1 = face.box.tolist()
    middle, size = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0])
    start, end = middle + shift * size - scale * size / 2, middle + shift * size + scale * size / 2
    (found,) = mien.classify(image, [[*start, *end]])
    np.testing.assert_allclose(found.box, [*start, *end], atol=1e-3)
    eyes = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
    assert np.linalg.norm(found.landmarks - face.landmarks, axis=1).mean() < 0.06 * eyes
    assert found.emotion == "happiness"


def test_the_order_and_all_that_a_face_has_are_kept(astronaut: Path, image: np.ndarray) -> None:
    near, far = Face(np.array([180, 54, 271, 178]), 0.9, track=7), Face(np.array([150, 30, 300, 200]), 0.4, track=3)
    result = mien.classify(astronaut, [near, far], emotions=7, keypoints=True)
    assert result.source == str(astronaut)
    assert (result.width, result.height) == (512, 512)
    assert [face.track for face in result] == [7, 3]
    assert [face.score for face in result] == pytest.approx([0.9, 0.4])
    assert all(face.expression and len(face.expression) == 7 and face.keypoints is not None for face in result)
    frame = mien.Frame(image, "camera", 4, 1.5)
    timed = mien.classify(frame, [near])
    assert (timed.source, timed.frame, timed.timestamp) == ("camera", 4, 1.5)


def test_one_box_an_array_and_none(image: np.ndarray) -> None:
    assert len(mien.classify(image, [180, 54, 271, 178])) == 1
    assert len(mien.classify(image, np.array([[180, 54, 271, 178]] * 3))) == 3
    assert len(mien.classify(image, [])) == len(mien.classify(image, np.zeros((0, 4)))) == 0


def test_an_analyzer_of_crops_classifies_what_is_in_the_box(image: np.ndarray) -> None:
    analyzer = mien.Analyzer(detector="whole-image", classifier="mien-s")
    assert analyzer.classify(image, [[180, 54, 271, 178]])[0].emotion == "happiness"


@pytest.mark.parametrize(
    ("faces", "kind", "message"),
    [
        ("x", TypeError, "expected faces, or boxes of four numbers, got str"),
        ([{"box": [1, 2, 3, 4]}], TypeError, "of four numbers, got list"),
        ([[1, 2, 3]], ValueError, r"got an array \(1, 3\)"),
        ([[180, 54, 91, 124]], ValueError, r"box 0: .* \[x, y, x \+ width, y \+ height\], .*\[left, top"),
        ([[1, 2, 3, float("nan")]], ValueError, "box 0: expected numbers"),
        (None, ValueError, "got None"),
        ([[180, 54, 271, 178, 0.9]], ValueError, r"boxes\[:, :4\]"),
        ((0.35, 0.1, 0.53, 0.35), ValueError, "box 0: .* multiply x by the width of the image"),
        ([[180, 54, 271, 178], [600, 600, 700, 700]], ValueError, "box 1: .* outside the image of 512 x 512"),
    ],
)
def test_what_is_no_place_is_refused(image: np.ndarray, faces: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mien.classify(image, faces)


def test_other_arguments_say_what_to_write(image: np.ndarray) -> None:
    with pytest.raises(TypeError, match="no detector runs"):
        mien.classify(image, [], detector="hog")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write classify\(image, faces=boxes\)"):
        mien.classify(image)
    with pytest.raises(TypeError, match="write faces="):
        mien.classify(image, boxes=[])  # type: ignore[arg-type]
    analyzer = mien.Analyzer(classifier="mien-s")
    with pytest.raises(TypeError, match="write faces="):
        analyzer.classify(image, boxes=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write classify\(image, faces=boxes\)"):
        mien.analyze(image, boxes=[[1, 2, 3, 4]])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="classify takes one image, got list"):
        mien.classify([image], [])  # type: ignore[arg-type]
