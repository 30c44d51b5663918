"""Labels follow the crops through turns, scales, shifts and mirrors; the losses count what is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.face_points import drawn_face, face_points
from tests.face_points import placed as put

from mien.datasets.landmark_faces import DENSE, FIVE, NO_FACE
from mien.faces.keypoints import JAW, MIRRORED
from mien.models.landmarks.face_landmarks import Found
from mien.training.landmarks.data import Batch
from mien.training.landmarks.module import LandmarkModule, five_of
from mien.training.landmarks.placement import Placements, drawn, placed
from mien.training.recipe import load

SIDE, SIZE, ROOM = 128, 80, 1.5


def batch(count: int = 1, *, kind: int = DENSE, roll: float = 0.0) -> Batch:
    points = put(face_points(), scale=24, turn=roll, at=(64, 47))
    image = drawn_face((SIDE, SIDE), points, np.random.default_rng(0))
    known = torch.from_numpy(points / SIDE).float()[None].repeat(count, 1, 1)
    return Batch(
        crops=torch.from_numpy(image[None, None, :, :, 0]).repeat(count, 1, 1, 1),
        points=known,
        inside=torch.ones(count, 70),
        five=five_of(known),
        pose=torch.tensor([[10.0, -5.0, roll]]).repeat(count, 1),
        eye_distance=torch.full((count,), 1.36 * 24 / SIDE),
        kind=torch.full((count,), kind, dtype=torch.uint8),
        fer2013=torch.zeros(count, dtype=torch.bool),
    )


def one(mirror: float = 1.0, turn: float = 0.0, scale: float = 1.0, x: float = 0.0, y: float = 0.0) -> Placements:
    return Placements(
        torch.tensor([mirror]), torch.tensor([np.radians(turn)]).float(), torch.tensor([scale]), torch.tensor([[x, y]])
    )


@given(
    st.sampled_from([1.0, -1.0]),
    st.floats(-30, 30),
    st.floats(0.8, 1.25),
    st.floats(-0.08, 0.08),
    st.floats(-0.08, 0.08),
)
@settings(max_examples=40, deadline=None)
def test_irises_are_dark_where_the_points_say(mirror: float, turn: float, scale: float, x: float, y: float) -> None:
    crops = placed(batch(), one(mirror, turn, scale, x, y), SIZE, ROOM)
    image = crops.images[0, 0].numpy()
    places = crops.points[0].numpy() * SIZE
    bridge = places[28]
    bright = image[int(bridge[1]), int(bridge[0])]
    for iris in places[68:]:
        assert image[int(iris[1]), int(iris[0])] + 0.15 < bright
    assert places[68, 0] < places[69, 0]  # the right eye stays on the left, also in a mirrored face
    np.testing.assert_allclose(five_of(crops.points)[0], crops.five[0], atol=1e-5)
    apart = float(torch.linalg.vector_norm(crops.points[0, 45] - crops.points[0, 36]))
    assert apart == pytest.approx(float(crops.eye_distance[0]), rel=1e-3)


@given(st.floats(-30, 30), st.floats(-20, 20))
@settings(max_examples=30, deadline=None)
def test_the_roll_is_the_tilt_of_the_eyes(turn: float, roll: float) -> None:
    for mirror in (1.0, -1.0):
        crops = placed(batch(roll=roll), one(mirror, turn), SIZE, ROOM)
        across = crops.points[0, 45] - crops.points[0, 36]
        tilt = float(torch.rad2deg(torch.atan2(across[1], across[0])))
        assert float(crops.pose[0, 2]) == pytest.approx(tilt, abs=0.01)
        assert crops.pose[0, :2].tolist() == [mirror * 10, -5]


def test_mirroring_twice_gives_the_crop_again() -> None:
    plain, mirrored = (placed(batch(), one(mirror), SIZE, ROOM) for mirror in (1.0, -1.0))
    torch.testing.assert_close(mirrored.images.flip(3), plain.images, atol=1e-5, rtol=0)
    back = mirrored.points[:, MIRRORED.tolist()] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    torch.testing.assert_close(back, plain.points, atol=1e-5, rtol=0)


def test_random_placements_follow_the_recipe_and_the_seed() -> None:
    recipe = load("mien-landmarks", ["wide_share=0.0", "flip=0.0", "close.turn=5.0", "close.scale=0.1"])
    torch.manual_seed(0)
    found = drawn(4000, recipe)  # type: ignore[arg-type]
    assert found.mirror.min() == 1
    assert float(torch.rad2deg(found.turn).std()) == pytest.approx(5, rel=0.1)
    assert float(found.scale.log().std()) == pytest.approx(0.1, rel=0.1)
    torch.manual_seed(0)
    assert torch.equal(drawn(4000, recipe).shift, found.shift)  # type: ignore[arg-type]


def module(*settings: str) -> LandmarkModule:
    mean = (face_points() * 0.28 + (0.5, 0.3)).tolist()
    return LandmarkModule(load("mien-landmarks", settings).model_dump(mode="json"), mean, ROOM)


def losses(found_shift: float, *, kind: int = DENSE, logit: float = 0.0, part: slice = slice(None)) -> dict[str, float]:
    crops = placed(batch(2, kind=kind), Placements(*(torch.cat([each] * 2) for each in one())), SIZE, ROOM)
    points = crops.points.clone()
    points[:, part, 0] += found_shift * crops.eye_distance[:, None]
    found = Found(points, crops.pose.clone(), torch.full((2,), logit))
    return {name: float(value) for name, value in module()._losses(crops, found).items()}


def test_right_answers_cost_nothing() -> None:
    assert {name: value for name, value in losses(0.0).items() if value > 1e-5} == {"score": pytest.approx(np.log(2))}


def test_losses_are_in_eye_distances_and_the_jaw_counts_less() -> None:
    assert losses(0.1)["points"] == pytest.approx(0.096, abs=1e-3)
    jaw, rest = losses(0.1, part=JAW)["points"], losses(0.1, part=slice(17, 70))["points"]
    assert jaw / 17 < 0.5 * rest / 53
    assert losses(0.1)["openings"] < 1e-5  # a shift opens nothing
    assert losses(0.1, part=slice(61, 64))["openings"] > 0.01


def test_five_landmarks_teach_without_dense_ones_and_no_face_teaches_the_score_alone() -> None:
    found = losses(0.1, kind=FIVE)
    assert (found["points"], found["pose"]) == (0, 0)
    assert found["five"] > 0.05
    nothing = losses(0.1, kind=NO_FACE, logit=-8.0)
    assert [nothing[name] for name in ("points", "openings", "pose", "five")] == [0] * 4
    assert nothing["score"] < 0.001 < losses(0.0, kind=NO_FACE, logit=8.0)["score"]


def test_points_outside_the_image_do_not_count() -> None:
    crops = placed(batch(), one(), SIZE, ROOM)
    points = crops.points.clone()
    points[:, 8] += 0.5  # the chin is far off
    found = Found(points, crops.pose, torch.zeros(1))
    inside = crops.inside.clone()
    inside[:, 8] = 0
    assert float(module()._losses(crops, found)["points"]) > 0.01
    assert float(module()._losses(crops._replace(inside=inside), found)["points"]) < 1e-5
