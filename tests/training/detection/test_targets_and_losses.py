"""Which cell answers for which face, and what it is told."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mien.faces.detectors.mien import grid
from mien.training.detection.data import FREE, IGNORED, assign, batch_of
from mien.training.detection.module import (
    box_iou,
    decoded,
    generalised_iou,
    landmark_loss,
    score_loss,
)
from mien.training.detection.scenes import Scene

CENTRES, STRIDES = grid(256, 256)
NONE = np.empty((0, 4), np.float32)


def box(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]], np.float32)


@given(st.floats(9, 250), st.floats(20, 236), st.floats(20, 236))
def test_every_face_has_cells_near_its_middle(side: float, x: float, y: float) -> None:
    face = assign(box(x, y, side), NONE, CENTRES, STRIDES)
    mine = face == 0
    assert mine.any()
    away = np.abs(CENTRES[mine] - (x, y)).max(axis=1)
    assert (away <= np.maximum(0.5 * STRIDES[mine], 0.3 * side) + 1e-3).all()


@pytest.mark.parametrize(("side", "strides"), [(12, {8}), (45, {8, 16}), (70, {16}), (110, {16, 32}), (200, {32})])
def test_strides_answer_for_their_sizes(side: float, strides: set[int]) -> None:
    face = assign(box(128, 128, side), NONE, CENTRES, STRIDES)
    assert set(STRIDES[face == 0].astype(int).tolist()) == strides


def test_the_smaller_of_two_faces_has_the_cell() -> None:
    boxes = np.concatenate([box(128, 128, 45), box(128, 128, 20)])
    face = assign(boxes, NONE, CENTRES, STRIDES)
    middle = np.abs(CENTRES - 128).max(axis=1) <= 4
    assert (face[middle & (STRIDES == 8)] == 1).all()


def test_boxes_to_ignore_are_left_out_but_faces_in_them_are_not() -> None:
    face = assign(box(60, 60, 30), np.array([[0, 0, 120, 120]], np.float32), CENTRES, STRIDES)
    assert (face == 0).any()
    outside = (CENTRES > 120).any(axis=1)
    assert (face[outside] == FREE).all()
    assert (face[~outside] != FREE).all()
    assert (assign(NONE, NONE, CENTRES, STRIDES) == FREE).all()


def test_a_size_between_two_ranges_is_spared() -> None:
    face = assign(box(128, 128, 60), NONE, CENTRES, STRIDES)
    assert (face[STRIDES == 8] == IGNORED).any()


def test_batches_keep_faces_and_cells_together() -> None:
    def scene(*faces: np.ndarray) -> Scene:
        boxes = np.concatenate([*faces, NONE])
        landmarks = np.repeat(boxes[:, None, :2], 5, axis=1)
        return Scene(np.zeros((256, 256, 3), np.uint8), boxes, landmarks, NONE)

    batch = batch_of([scene(box(50, 50, 30)), scene(), scene(box(200, 200, 30), box(100, 50, 100))])
    assert batch.images.shape == (3, 3, 256, 256)
    assert batch.counted.shape == (3, len(CENTRES))
    assert set(batch.rows.tolist()) == {0, 2}
    middles = (batch.boxes[:, :2] + batch.boxes[:, 2:]) / 2
    away = (torch.from_numpy(CENTRES)[batch.cells] - middles).abs().max()
    assert float(away) <= 30
    assert torch.equal(batch.landmarks[:, 0], batch.boxes[:, :2])


def test_decoding_is_in_units_of_the_stride() -> None:
    rows = torch.zeros(2, 15)
    rows[1, 1:3] = torch.tensor([0.5, -0.5])
    rows[1, 3:5] = torch.log(torch.tensor([2.0, 4.0]))
    rows[1, 5:7] = 1.0
    boxes, landmarks = decoded(rows, torch.tensor([[4.0, 4.0], [16.0, 16.0]]), torch.tensor([8.0, 32.0]))
    assert boxes[0].tolist() == [0, 0, 8, 8]
    assert boxes[1].tolist() == pytest.approx([0, -64, 64, 64])
    assert landmarks[1, 0].tolist() == [48, 48]
    assert landmarks[1, 4].tolist() == [16, 16]


def test_overlap_of_partners() -> None:
    one, other = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
    far = torch.tensor([[90.0, 0, 100, 10]])
    assert float(box_iou(one, other)[0]) == pytest.approx(1 / 3)
    assert float(generalised_iou(one, one)) == pytest.approx(1)
    assert float(generalised_iou(one, far)) < float(generalised_iou(one, torch.tensor([[20.0, 0, 30, 10]]))) < 0


def test_the_score_loss_is_least_at_the_target() -> None:
    target = torch.full((101,), 0.7)
    probability = torch.linspace(0.01, 0.99, 101)
    losses = score_loss(torch.logit(probability), target)
    assert float(probability[losses.argmin()]) == pytest.approx(0.7, abs=0.01)
    assert float(losses.min()) >= 0


def test_landmarks_that_are_not_known_teach_nothing() -> None:
    found = torch.rand(2, 5, 2, requires_grad=True)
    known = torch.rand(2, 5, 2)
    known[0] = float("nan")
    boxes = torch.tensor([[0.0, 0, 1, 1]] * 2)
    landmark_loss(found, known, boxes).backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    assert not found.grad[0].any()
    assert found.grad[1].any()
    nothing = landmark_loss(found, torch.full((2, 5, 2), float("nan")), boxes)
    assert float(nothing) == 0
