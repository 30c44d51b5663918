"""Evaluation of detectors: matches with labels, counts, operating points."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.datasets.face_images import FaceImage
from mien.evaluation.detection import Tally, evaluate_detector, match, operating_point, operating_points, sides
from mien.faces.detectors import Detections

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]])


def labelled(*boxes: tuple[float, ...], ignore: tuple[tuple[float, ...], ...] = ()) -> FaceImage:
    corners = np.array(boxes, float).reshape(-1, 4)
    landmarks = corners[:, None, :2] + POINTS * (corners[:, None, 2:] - corners[:, None, :2])
    return FaceImage(
        image=np.zeros((100, 200, 3), np.uint8),
        boxes=corners,
        landmarks=landmarks,
        ignore=np.array(ignore, float).reshape(-1, 4),
        origin=("human",) * len(corners),
    )


def found(*rows: tuple[float, ...], shift: float = 0.0) -> Detections:
    """Rows of x0, y0, x1, y1, score; landmarks as in `image`, moved to the right by `shift`."""
    table = np.array(rows, float).reshape(-1, 5)
    landmarks = table[:, None, :2] + POINTS * (table[:, None, 2:4] - table[:, None, :2]) + (shift, 0)
    return Detections(table[:, :4], table[:, 4], landmarks)


def test_each_face_has_one_match_the_best_score_first() -> None:
    labels = labelled((0, 0, 40, 40), (100, 0, 140, 40))
    matches = match(found((2, 2, 42, 42, 0.6), (0, 0, 40, 40, 0.9), (150, 50, 190, 90, 0.8)), labels)
    assert matches.face.tolist() == [-1, 0, -1]
    assert matches.false_alarm.tolist() == [True, False, True]


def test_boxes_to_ignore_do_not_count() -> None:
    labels = labelled((0, 0, 40, 40), ignore=((100, 0, 150, 50),))
    tally = Tally()
    tally.add(found((105, 5, 145, 45, 0.9), (0, 0, 40, 40, 0.9)), labels)
    assert tally.precision() == (1, 1)
    assert tally.recall() == (1, 1)


def test_counts_by_size_and_score() -> None:
    tally = Tally()
    tally.add(
        found((0, 0, 30, 30, 0.6), (60, 0, 100, 40, 0.9), (0, 60, 8, 68, 0.9)),
        labelled((0, 0, 30, 30), (60, 0, 100, 40), (150, 50, 156, 56)),
    )
    assert tally.recall(20, 40) == (1, 1)
    assert tally.recall(40) == (1, 1)
    assert tally.recall(score=0.7) == (1, 2)  # a face under 10 px does not count
    assert tally.precision() == (2, 2)  # nor does a detection of that size
    assert tally.precision(20, 40, score=0.7) == (0, 0)


def test_recall_at_a_precision() -> None:
    tally = Tally(
        faces=[50.0] * 10,
        found=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, np.nan, np.nan],
        detections=[50.0] * 10,
        scores=[0.9, 0.8, 0.7, 0.65, 0.6, 0.5, 0.45, 0.4, 0.3, 0.2],
        correct=[True, True, True, False, True, True, False, True, True, True],
    )
    assert tally.recall_at(1.0) == (3, 10)
    assert tally.recall_at(0.8) == (8, 10)  # 8 of 10 at the lowest score
    assert tally.recall_at(0.83) == (5, 10)
    assert tally.recall_at(0.5, 100) == (0, 0)
    wrong = Tally(faces=[50.0], found=[np.nan], detections=[50.0], scores=[0.9], correct=[False])
    assert wrong.recall_at(0.97) == (0, 1)


def test_average_precision_is_the_area_under_the_curve() -> None:
    tally = Tally(
        faces=[50.0] * 5 + [15.0],
        found=[0.9, 0.7, 0.6, np.nan, np.nan, np.nan],
        detections=[50.0] * 4 + [15.0],
        scores=[0.9, 0.8, 0.7, 0.6, 0.99],
        correct=[True, False, True, True, False],
    )
    # Precisions 1, 2/3 and 3/4 at the hits; made monotonic 1, 3/4, 3/4; two of five faces are never found.
    assert tally.average_precision(40) == pytest.approx((1 + 0.75 + 0.75) / 5)
    assert tally.average_precision(10, 20) == 0
    assert np.isnan(tally.average_precision(20, 40))


def test_precision_at_a_recall_and_the_score_for_a_precision() -> None:
    tally = Tally(
        faces=[50.0] * 4,
        found=[0.9, 0.7, 0.4, np.nan],
        detections=[50.0] * 5,
        scores=[0.9, 0.8, 0.7, 0.5, 0.4],
        correct=[True, False, True, False, True],
    )
    assert tally.precision_at(0.25) == (1, 1)
    assert tally.precision_at(0.5) == (2, 3)
    assert tally.precision_at(0.6) == (3, 5)
    assert tally.precision_at(0.8) == (0, 0)  # never reached
    assert tally.score_at(0.6) == 0.4
    assert tally.score_at(0.66) == 0.7
    assert tally.score_at(1.0) == 0.9
    assert tally.score_at(1.0, 100) == np.inf


def test_equal_scores_pass_a_threshold_together() -> None:
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        tally = Tally(
            faces=[50.0] * 3,
            found=[0.9, 0.5, np.nan],
            detections=[50.0] * 4,
            scores=[[0.9, 0.5, 0.5, 0.5][place] for place in order],
            correct=[[True, True, False, False][place] for place in order],
        )
        assert tally.score_at(1.0) == 0.9
        assert tally.score_at(0.5) == 0.5
        assert tally.average_precision() == pytest.approx((1 + 0.5) / 3)
        assert operating_point(tally) == 0.5  # F1 4/7, at .9 2/4


def test_landmark_errors_are_in_eye_distances() -> None:
    tally = Tally()
    tally.add(found((0, 0, 50, 50, 0.9), shift=2.0), labelled((0, 0, 50, 50), (100, 0, 150, 50)))
    assert tally.landmark_errors().tolist() == [pytest.approx(2 / 20)]
    assert len(tally.landmark_errors(origin="teacher")) == 0
    assert len(tally.landmark_errors(60)) == 0


def test_a_detector_without_landmarks_has_no_errors() -> None:
    tally = Tally()
    tally.add(Detections(np.array([[0, 0, 40, 40]], np.float32), np.array([0.9], np.float32)), labelled((0, 0, 40, 40)))
    assert tally.recall() == (1, 1)
    assert len(tally.landmark_errors()) == 0


def test_the_operating_point_parts_right_from_wrong() -> None:
    rng = np.random.default_rng(0)
    tally = Tally(
        faces=[50.0] * 100,
        found=[0.9] * 100,
        detections=[50.0] * 200,
        scores=[*rng.uniform(0.6, 1, 100), *rng.uniform(0, 0.5, 100)],
        correct=[True] * 100 + [False] * 100,
    )
    assert 0.45 < operating_point(tally) < 0.65
    with pytest.raises(ValueError, match="expected faces"):
        operating_point(Tally())


def test_each_range_of_sizes_has_its_own_operating_point() -> None:
    rng = np.random.default_rng(0)
    sides, scores, correct, found = [], [], [], []
    for side, shift in ((15.0, 0.3), (80.0, 0.0)):  # scores of small faces, right and wrong, are lower by .3
        right, wrong = rng.uniform(0.7, 0.9, 200) - shift, rng.uniform(0.35, 0.75, 100) - shift
        sides += [side] * 300
        scores += [*right, *wrong]
        correct += [True] * 200 + [False] * 100
        found += right.tolist()
    tally = Tally(faces=[15.0] * 200 + [80.0] * 200, found=found, detections=sides, scores=scores, correct=correct)
    points = dict(operating_points(tally, 0.95))
    small, large = points.values()
    assert list(points) == pytest.approx([np.sqrt(10 * 22), np.sqrt(56 * 110)], abs=0.1)
    assert large - small == pytest.approx(0.3, abs=0.03)
    for (low, high), point in zip(((10, 22), (56, 110)), points.values(), strict=True):
        hits, taken = tally.precision(low, high, score=point)
        assert hits / taken >= 0.95
    assert operating_points(Tally(), 0.95) == ()


def test_an_operating_point_is_not_near_zero_without_false_alarms() -> None:
    scores = np.random.default_rng(0).uniform(0.6, 1, 200).tolist()
    tally = Tally(
        faces=[50.0] * 200,
        found=scores,
        detections=[50.0] * 205,
        scores=[*scores, 0.02, 0.02, 0.02, 0.02, 0.02],  # so few that the precision stays above .97
        correct=[True] * 200 + [False] * 5,
    )
    ((_, point),) = operating_points(tally, 0.97)
    assert 0.5 < point < 0.7


def test_judge_asks_the_detector_for_every_image() -> None:
    class Fixed:
        name = "fixed"
        mean_landmarks = np.full((5, 2), 0.5, np.float32)

        def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
            return found((0, 0, 40, 40, 0.9)).at_least(min_score)

    tally = evaluate_detector(Fixed(), [labelled((0, 0, 40, 40)), labelled((100, 0, 140, 40)), labelled()])
    assert tally.recall() == (1, 2)
    assert tally.precision() == (1, 3)


def test_sides_are_roots_of_areas() -> None:
    assert sides(np.array([[0, 0, 4, 9], [1, 1, 3, 3]], float)).tolist() == [6, 2]
