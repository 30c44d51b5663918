"""Finding and cropping in one place: the same crops for every caller, and detectors whose boxes are the crops."""

import numpy as np
import pytest
from numpy.typing import NDArray

import mien
from mien.assets.manifest import shipped_models
from mien.errors import ConfigError
from mien.faces.align import Aligner
from mien.faces.crop import crop_face, landmark_points
from mien.faces.detectors import Detections, DetectorOptions, load

SPEC = next(iter(shipped_models().values())).crop_spec
SMALL = SPEC.resized(24)


class Square:
    """A detector that finds one face of given landmarks, or none, in its box."""

    name = "square"
    mean_landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]], np.float32)

    def __init__(self, landmarks: NDArray[np.float32] | None = None) -> None:
        self._landmarks = landmarks

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        box = np.array([[100, 50, 200, 150]], np.float32)
        return Detections(box, np.array([0.6], np.float32), self._landmarks).at_least(min_score)


def test_the_crops_are_those_of_the_analyzer_and_of_the_parts(astronaut: NDArray[np.uint8]) -> None:
    aligned = Aligner("mien", [SPEC, SMALL]).align(astronaut)
    (face,) = aligned.faces
    (reference,) = mien.analyze(astronaut, classifier="mien-m")
    assert np.array_equal(face.box, reference.box)
    assert face.landmarks is not None
    for crops, spec in zip(aligned.crops, (SPEC, SMALL), strict=True):
        assert np.array_equal(crops[0], crop_face(astronaut, face.landmarks, spec))
    (expression,) = mien.Analyzer(classifier="mien-m").classifier(aligned.crops[0])
    assert reference.expression is not None
    np.testing.assert_array_equal(expression.probabilities, reference.expression.probabilities)


def test_other_crop_specs_for_one_call(astronaut: NDArray[np.uint8]) -> None:
    aligner, both = Aligner("mien", [SPEC]), Aligner("mien", [SPEC, SMALL]).align(astronaut)
    (small,) = aligner.crop(astronaut, both.faces, [SMALL])
    np.testing.assert_array_equal(small, both.crops[1])
    (own,) = aligner.crop(astronaut, both.faces)
    np.testing.assert_array_equal(own, both.crops[0])


def test_without_landmarks_their_mean_place_in_the_box_counts(astronaut: NDArray[np.uint8]) -> None:
    crops = Aligner(Square(), [SPEC], align=False).align(astronaut).crops
    points = landmark_points(np.array([100, 50, 200, 150], np.float32), None, Square.mean_landmarks)
    assert np.array_equal(crops[0][0], crop_face(astronaut, points, SPEC))
    given = np.array([[[120, 90], [180, 90], [150, 110], [130, 130], [170, 130]]], np.float32)
    by_landmarks = Aligner(Square(given), [SPEC], align=False).align(astronaut).crops
    assert np.array_equal(by_landmarks[0][0], crop_face(astronaut, given[0], SPEC))


def test_landmarks_are_found_again_where_the_face_is_sure(astronaut: NDArray[np.uint8]) -> None:
    (face,) = mien.analyze(astronaut)
    assert face.landmarks is not None
    eyes = float(np.linalg.norm(face.landmarks[0] - face.landmarks[1]))
    rough = (face.landmarks + np.array([eyes, -eyes]) / 6).astype(np.float32)
    (found,) = Aligner(Square(rough[None]), [SPEC]).align(astronaut).faces
    assert found.landmarks is not None
    assert np.linalg.norm(found.landmarks - face.landmarks, axis=1).max() < 0.05 * eyes
    (unsure,) = Aligner(Square(rough[None]), [SPEC]).align(np.full_like(astronaut, 90)).faces
    assert unsure.landmarks is not None
    assert np.array_equal(unsure.landmarks, rough)


def test_a_detector_without_landmarks_is_aligned_as_well(astronaut: NDArray[np.uint8]) -> None:
    (face,) = mien.analyze(astronaut)
    assert face.landmarks is not None
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)

    class Boxes(Square):
        def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
            box = np.array([[*(1.5 * low - 0.5 * high), *(1.5 * high - 0.5 * low)]], np.float32)
            return Detections(box, np.array([0.6], np.float32))

    (found,) = Aligner(Boxes(), [SPEC]).align(astronaut).faces
    assert found.landmarks is not None
    eyes = float(np.linalg.norm(face.landmarks[0] - face.landmarks[1]))
    assert np.linalg.norm(found.landmarks - face.landmarks, axis=1).max() < 0.05 * eyes


def test_the_face_in_a_known_box_is_cropped(astronaut: NDArray[np.uint8]) -> None:
    aligner = Aligner("mien", [SPEC])
    half = astronaut[::2, ::2]
    both = np.vstack([np.hstack([half, half]), astronaut])
    faces = sorted(aligner.find(both), key=lambda face: float(face.box[0]))
    left, right = faces[0], faces[-1]
    for face in (left, right):
        crops = aligner.nearest(both, face.box + 3)
        assert crops is not None
        assert np.array_equal(crops[0], aligner.crop(both, aligner.refined(both, [face]))[0][0])
    assert aligner.nearest(both, np.array([0, 0, 30, 30], np.float32)) is None
    assert aligner.nearest(np.zeros((64, 64, 3), np.uint8), left.box) is None


def test_the_score_of_the_options_or_of_the_call_counts(astronaut: NDArray[np.uint8]) -> None:
    assert len(Aligner(Square()).find(astronaut)) == 1
    assert Aligner(Square(), options=DetectorOptions(min_score=0.7)).find(astronaut) == ()
    assert len(Aligner(Square(), options=DetectorOptions(min_score=0.7)).find(astronaut, min_score=0.5)) == 1
    assert Aligner(DetectorOptions(min_score=1)).find(astronaut) == ()


def test_long_images_and_rotations_are_searched(astronaut: NDArray[np.uint8]) -> None:
    panorama = np.full((330, 16000, 3), 120, np.uint8)
    panorama[:, 4000:4512] = astronaut
    assert len(Aligner().find(panorama)) == 1
    upside_down = np.ascontiguousarray(np.rot90(astronaut, 2))
    face = Aligner(DetectorOptions(any_rotation=True)).find(upside_down)[0]
    assert face.landmarks is not None
    assert face.landmarks[0, 1] > face.landmarks[3, 1]  # the eye is below the mouth


def test_the_crops_of_the_largest_face(astronaut: NDArray[np.uint8]) -> None:
    aligner = Aligner("mien", [SPEC, SMALL])
    half = astronaut[::2, ::2]
    both = np.vstack([np.hstack([half, half]), astronaut])
    assert len(aligner.find(both)) == 3
    largest = aligner.largest(both)
    assert largest is not None
    # The model reads grey; crops of another size, which are kept, have colours.
    assert [crop.shape for crop in largest] == [(48, 48), (24, 24, 3)]
    expected = aligner.align(both)
    assert np.array_equal(largest[0], expected.crops[0][0])
    assert aligner.largest(np.zeros((64, 64, 3), np.uint8)) is None


def test_no_faces_have_no_crops() -> None:
    aligned = Aligner("mien", [SPEC]).align(np.zeros((64, 64, 3), np.uint8))
    assert aligned.faces == ()
    assert [len(crops) for crops in aligned.crops] == [0]


class TestBoxesThatAreCrops:
    def test_the_whole_image_is_its_own_crop(self, astronaut: NDArray[np.uint8]) -> None:
        for specs in ([], [SPEC], [SPEC, SMALL]):
            aligner = Aligner("whole-image", specs)
            assert aligner.boxes_are_crops
            aligned = aligner.align(astronaut)
            assert aligned.faces[0].box.tolist() == [0, 0, 512, 330]
            ((crop,),) = aligned.crops
            assert np.array_equal(crop, astronaut)
            assert crop.base is not None  # a view, not a copy

    def test_a_box_is_cut_to_the_image(self) -> None:
        class Corner(Square):
            mean_landmarks = None  # type: ignore[assignment]

            def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
                boxes = np.array([[-5, -5, 3.4, 2.6], [90, 90, 120, 120], [200, 200, 300, 300]], np.float32)
                return Detections(boxes, np.ones(3, np.float32))

        (crops,) = Aligner(Corner()).align(np.zeros((100, 100, 3), np.uint8)).crops
        assert [crop.shape[:2] for crop in crops] == [(3, 3), (10, 10), (1, 1)]


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no detector 'nose'"):
        Aligner("nose")
    with pytest.raises(ConfigError, match="'whole-image', which does not search"):
        Aligner(DetectorOptions("whole-image", any_rotation=True))


def test_a_crop_spec_does_not_belong_to_a_detector(astronaut: NDArray[np.uint8]) -> None:
    spec = SPEC.resized(10)
    ready = load()
    one, other = Aligner(ready, [spec]), Aligner(ready)
    assert other.align(astronaut).crops == ()
    assert one.align(astronaut).crops[0][0].shape == (10, 10, 3)
