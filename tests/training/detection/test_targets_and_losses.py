"""Which cell answers for which face, and what it is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mien.faces.detectors.mien import grid
from mien.training import load_recipe
from mien.training.detection.data import FREE, IGNORED, Batch, assign, batch_of, candidates
from mien.training.detection.module import (
    DetectorModule,
    box_iou,
    chosen,
    decoded,
    generalised_iou,
    landmark_loss,
    score_loss,
)
from mien.training.detection.recipe import AssignmentRecipe, DetectorRecipe
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


def test_a_ring_around_the_cells_of_a_face_is_left_out() -> None:
    # The middle of a face of 14 px lies 1 px beside the border of two cells of stride 8: it is in one of them alone.
    plain = assign(box(129, 132, 14), NONE, CENTRES, STRIDES)
    ringed = assign(box(129, 132, 14), NONE, CENTRES, STRIDES, AssignmentRecipe(ring=0.5))
    assert (plain == 0).sum() == (ringed == 0).sum() == 1
    spared = (plain == FREE) & (ringed == IGNORED)
    assert (np.abs(CENTRES[spared] - (129, 132)).max(axis=1) <= 8).all()
    assert spared.any()
    assert (STRIDES[spared] == 8).all()
    wide = assign(box(129, 132, 14), NONE, CENTRES, STRIDES, AssignmentRecipe(reach=1.0))
    assert (wide == 0).sum() > 1
    assert (np.abs(CENTRES[wide == 0] - (129, 132)).max(axis=1) <= 8).all()


@given(st.floats(9, 250), st.floats(20, 236), st.floats(20, 236))
def test_every_face_has_candidates_of_strides_that_fit(side: float, x: float, y: float) -> None:
    faces, cells = candidates(np.concatenate([box(x, y, side), box(128, 128, 60)]), CENTRES, STRIDES)
    assert set(faces.tolist()) == {0, 1}
    away = np.abs(CENTRES[cells[faces == 0]] - (x, y)).max(axis=1)
    assert (away <= np.maximum(side, STRIDES[cells[faces == 0]]) / 2 + 1e-3).all()
    assert set(STRIDES[cells[faces == 1]].tolist()) == {8, 16}  # 60 px: within the slack of stride 8


def pairs(faces: list[int], cells: list[int]) -> Batch:
    """Candidates in one scene of 50 cells."""
    count = len(faces)
    return Batch(
        images=torch.zeros(1, 3, 32, 32),
        counted=torch.ones(1, 50, dtype=torch.bool),
        rows=torch.zeros(count, dtype=torch.int64),
        cells=torch.tensor(cells),
        faces=torch.tensor(faces),
        boxes=torch.zeros(count, 4),
        landmarks=torch.zeros(count, 5, 2),
        scores=torch.full((count,), float("nan")),
        natural=torch.tensor([True]),
    )


def test_dynamic_assignment_takes_the_best_cells_of_each_face() -> None:
    batch = pairs([0, 0, 0, 0, 1, 1], [1, 2, 3, 4, 10, 11])
    overlap = torch.tensor([0.9, 0.8, 0.5, 0.1, 0.2, 0.1])
    used = chosen(batch, overlap, torch.full((6,), 0.5))
    # IoUs sum to 2.3: two cells for the first face; to 0.3: one, the least, for the second.
    assert used.tolist() == [True, True, False, False, True, False]
    sure = chosen(batch, overlap, torch.tensor([0.01, 0.9, 0.9, 0.1, 0.1, 0.9]))
    assert sure.tolist() == [False, True, True, False, False, True]


def test_a_cell_serves_one_face() -> None:
    batch = pairs([0, 1, 1], [7, 7, 8])
    used = chosen(batch, torch.tensor([0.6, 0.9, 0.3]), torch.full((3,), 0.5))
    assert used.tolist() == [False, True, False]


def test_targets_mix_the_overlap_and_the_teachers_score() -> None:
    settings = ["loss.quality=0.4", "loss.teacher=0.5"]
    module = DetectorModule(load_recipe("detector-from-scratch", settings).model_dump(mode="json"))
    target = module._quality(torch.tensor([1.0, 0.5, 0.5]), torch.tensor([0.8, 0.6, float("nan")]))
    assert target.tolist() == pytest.approx([0.9, 0.7, 0.8])


@pytest.mark.parametrize("name", ["size", "dynamic"])
def test_losses_have_gradients_with_either_assignment(name: str) -> None:
    scenes = [scene(box(50, 50, 30), box(150, 120, 90)), scene()]
    settings = [f"assignment.name='{name}'", "model.options={stem=[4, 8], widths=[8, 8, 8], depths=[1, 1, 1], neck=8}"]
    recipe = load_recipe("detector-from-scratch", settings)
    assert isinstance(recipe, DetectorRecipe)
    module = DetectorModule(recipe.model_dump(mode="json"))
    loss, _ = module.training_step(batch_of(scenes, recipe.assignment))
    loss.backward()  # type: ignore[no-untyped-call]
    heads = [weight.grad for name, weight in module.network.named_parameters() if name.startswith("heads.")]
    assert all(grad is not None and bool(torch.isfinite(grad).all()) and bool(grad.any()) for grad in heads)
    empty, _ = module.training_step(batch_of([scene(), scene()], recipe.assignment))
    assert float(empty.detach()) > 0


def test_candidates_in_a_box_to_ignore_are_no_background() -> None:
    covered = scene(box(60, 60, 30))
    covered = replace(covered, ignore=np.array([[0, 0, 120, 120]], np.float32))
    batch = batch_of([covered], AssignmentRecipe(name="dynamic"))
    inside = torch.from_numpy((CENTRES <= 120).all(axis=1))
    assert not batch.counted[0, inside].any()
    assert batch.counted[0, ~inside].all()
    assert len(batch.cells) > 0


def scene(*faces: np.ndarray) -> Scene:
    boxes = np.concatenate([*faces, NONE])
    landmarks = np.repeat(boxes[:, None, :2], 5, axis=1)
    return Scene(np.zeros((256, 256, 3), np.uint8), boxes, landmarks, NONE, np.full(len(boxes), np.nan, np.float32))


def test_batches_keep_faces_and_cells_together() -> None:
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
