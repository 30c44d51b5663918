"""Training scenes: what stands in them is where the labels say."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from mien.datasets.face_images import FaceImage
from mien.training.cover_shapes import FACE
from mien.training.detection.occlusion import cover
from mien.training.detection.recipe import SceneRecipe
from mien.training.detection.scenes import Pool, compose, pool, pyramid

COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0], [0, 250, 250]])
# Nothing but geometry: colours stay as they are.
PLAIN = {"covered": 0, "grey": 0, "relit": 0, "dark": 0, "blurred": 0, "noisy": 0, "compressed": 0, "empty": 0}


def marked(side: int = 120) -> FaceImage:
    """A grey image whose five landmarks are spots of five colours."""
    image = np.full((160, 200, 3), 128, np.uint8)
    box = np.array([[50, 20, 50 + side, 20 + side]], float)
    points = (FACE * 0.3 + (0.5, 0.35)) * side + box[0, :2]
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(image, (round(x - 0.5), round(y - 0.5)), 6, colour.tolist(), -1)
    return FaceImage(image=image, boxes=box, landmarks=points[None], ignore=np.empty((0, 4)))


def only(image: FaceImage) -> Pool:
    return pool([pyramid(image)], SceneRecipe())


def spot(image: NDArray[np.uint8], box: NDArray[np.float32], colour: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Middle x, y of the pixels of about that colour in the box."""
    x0, y0, x1, y1 = box.astype(int)
    near = np.abs(image[y0:y1, x0:x1].astype(int) - colour).max(axis=2) < 70
    rows, columns = np.nonzero(near)
    return None if len(rows) < 12 else np.array([columns.mean() + x0 + 0.5, rows.mean() + y0 + 0.5])


@pytest.mark.parametrize("seed", range(12))
def test_landmarks_follow_turns_scales_and_mirrors(seed: int) -> None:
    recipe = SceneRecipe.model_validate(PLAIN | {"grids": {1: 1.0}, "turned": 1.0, "turn": 180.0, "smallest": 90.0})
    scene = compose(only(marked()), 320, recipe, np.random.default_rng(seed))
    seen = 0
    for points, box in zip(scene.landmarks, scene.boxes, strict=True):
        assert (box >= 0).all()
        assert (box <= 320).all()
        # The subject's right and left change places in a mirrored face, and so do the colours of its spots.
        for order in ([0, 1, 2, 3, 4], [1, 0, 2, 4, 3]):
            places = [spot(scene.image, box, COLOURS[index]) for index in order]
            known = [(place, point) for place, point in zip(places, points, strict=True) if place is not None]
            inside = [pair for pair in known if ((pair[1] > 15) & (pair[1] < 305)).all()]
            if inside and all(np.abs(place - point).max() < 2.5 for place, point in inside):
                seen += len(inside)
                break
        else:
            pytest.fail(f"no order of the spots fits the landmarks {points.tolist()}")
    assert seen >= 2 or not len(scene.boxes)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_any_scene_is_well_formed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = pool([pyramid(marked(40)), pyramid(marked()), pyramid(empty())], SceneRecipe())
    scene = compose(images, 128, SceneRecipe(), rng)
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.uint8
    assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()
    assert ((scene.boxes >= 0) & (scene.boxes <= 128)).all()
    assert scene.landmarks.shape == (len(scene.boxes), 5, 2)
    assert (np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1) >= 64).all()


def empty() -> FaceImage:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    return FaceImage(noise, np.empty((0, 4)), np.empty((0, 5, 2)), np.empty((0, 4)))


def test_the_same_seed_gives_the_same_scene() -> None:
    images = pool([pyramid(marked()), pyramid(empty())], SceneRecipe())
    one, other = (compose(images, 96, SceneRecipe(), np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.boxes, other.boxes)


def test_a_turned_box_is_that_of_the_ellipse() -> None:
    recipe = SceneRecipe.model_validate(PLAIN | {"grids": {1: 1.0}, "turned": 1.0, "turn": 45.0, "smallest": 100.0})
    squares = 0
    for seed in range(40):
        scene = compose(only(marked()), 448, recipe, np.random.default_rng(seed))
        for box in scene.boxes:
            if (box > 0).all() and (box < 448).all():  # not cut
                wide, high = box[2:] - box[:2]
                assert wide == pytest.approx(high, rel=1e-3)  # a circle stays one, whatever its turn
                squares += 1
    assert squares >= 10


def test_a_face_nobody_can_see_is_to_be_ignored() -> None:
    dim = marked()
    dim.image[:] = 3
    recipe = SceneRecipe.model_validate(PLAIN | {"grids": {1: 1.0}})
    for seed in range(5):
        scene = compose(only(dim), 128, recipe, np.random.default_rng(seed))
        assert len(scene.boxes) == 0
        assert len(scene.ignore) >= 1


@pytest.mark.parametrize("seed", range(12))
def test_a_whole_image_keeps_its_scale_and_its_labels(seed: int) -> None:
    recipe = SceneRecipe.model_validate(PLAIN | {"whole": 1.0, "zoom": (1.3, 1.3), "tilt": 0.0})
    scene = compose(only(marked(60)), 192, recipe, np.random.default_rng(seed))
    for points, box in zip(scene.landmarks, scene.boxes, strict=True):
        uncut = (box > 0).all() and (box < 192).all()
        assert not uncut or box[2] - box[0] == pytest.approx(60 * 1.3, abs=0.1)
        for order in ([0, 1, 2, 3, 4], [1, 0, 2, 4, 3]):
            places = [spot(scene.image, box, COLOURS[index]) for index in order]
            inside = [
                (place, point)
                for place, point in zip(places, points, strict=True)
                if place is not None and ((point > 10) & (point < 182)).all()
            ]
            if all(np.abs(place - point).max() < 2.5 for place, point in inside):
                break
        else:
            pytest.fail(f"no order of the spots fits the landmarks {points.tolist()}")
    assert len(scene.boxes) + len(scene.ignore) <= 1


def test_whole_images_show_mistakes_and_fill_the_scene() -> None:
    image = replace(empty(), image=np.full((400, 400, 3), 200, np.uint8), mistakes=np.array([[300.0, 40, 340, 80]]))
    image.image[40:80, 300:340] = (250, 0, 0)
    recipe = SceneRecipe.model_validate(PLAIN | {"whole": 1.0, "zoom": (1.0, 1.0), "focus": 1.0, "tilt": 0.0})
    images = pool([pyramid(marked()), pyramid(image)], recipe.model_copy(update={"hard": 1e6}))
    assert images.whole.tolist() == [1, 1 + 1e6]
    for seed in range(6):
        scene = compose(images, 128, recipe, np.random.default_rng(seed))
        assert (np.abs(scene.image.astype(int) - (250, 0, 0)).max(axis=2) < 30).any()
        assert scene.image.min(axis=2).max() >= 190  # the rest is the image: grey, not the black around it
        assert (scene.image.max(axis=2) > 100).all()
        assert not len(scene.boxes)


def test_a_small_image_is_enlarged_to_fill_most_of_the_scene() -> None:
    recipe = SceneRecipe.model_validate(PLAIN | {"whole": 1.0, "zoom": (0.5, 0.5), "tilt": 0.0})
    scene = compose(only(marked()), 320, recipe, np.random.default_rng(0))  # an image of 160 x 200
    painted = (scene.image.max(axis=2) > 0).any(axis=0).sum(), (scene.image.max(axis=2) > 0).any(axis=1).sum()
    assert max(painted) == pytest.approx(0.75 * 320, abs=2)


def test_scores_of_a_teacher_stay_with_their_faces() -> None:
    image = replace(marked(40), scores=np.array([0.7]))
    for recipe in (SceneRecipe(), SceneRecipe(whole=1.0)):
        scores = [compose(only(image), 128, recipe, np.random.default_rng(seed)) for seed in range(8)]
        assert any(len(scene.boxes) for scene in scores)
        for scene in scores:
            assert scene.scores.tolist() == pytest.approx([0.7] * len(scene.boxes))
    scene = compose(only(marked(90)), 128, SceneRecipe(whole=1.0), np.random.default_rng(1))
    assert len(scene.scores) == len(scene.boxes)
    assert np.isnan(scene.scores).all()


@pytest.mark.parametrize("zoom", [(0, 1), (2, 1), (-1, 2)])
def test_the_zoom_is_a_range(zoom: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="the smaller one first"):
        SceneRecipe(zoom=zoom)


def test_pictures_with_small_faces_are_favoured() -> None:
    settings = SceneRecipe(favoured=9.0)
    images = pool([pyramid(marked(20)), pyramid(marked())], settings)
    assert images.chances.tolist() == [9, 10]
    with pytest.raises(ValueError, match="expected some with faces"):
        pool([pyramid(empty())], settings)


@pytest.mark.parametrize(
    "wrong", [{"sizes": {250: 1.0}}, {"sizes": {}}, {"grids": {0: 1.0}}, {"grids": {2: 0.0}}, {"flipp": 1}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SceneRecipe.model_validate(wrong)


@pytest.mark.parametrize("seed", range(24))
def test_a_cover_hides_a_part_of_the_face_and_little_else(seed: int) -> None:
    image = marked()
    before = image.image.copy()
    cover(image.image, image.landmarks[0], np.random.default_rng(seed))
    changed = (image.image != before).any(axis=2)
    x0, y0, x1, y1 = image.boxes[0].astype(int)
    assert 0.01 < changed[y0:y1, x0:x1].mean() < 0.9
    far = changed.copy()
    far[max(0, y0 - 30) : y1 + 40, max(0, x0 - 40) : x1 + 40] = False
    assert far.mean() < 0.05


def test_covers_are_harmless_where_the_face_is_cut_off() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    for seed in range(20):
        cover(image, FACE * 300 - 200, np.random.default_rng(seed))
