"""Faces on canvases: their place, and what a detector finds."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mien.assets.manifest import default_model, model_info
from mien.datasets.canvas import BORDERS, Border, find_and_crop, from_canvas, on_canvas, to_canvas
from mien.expression import OnnxClassifier
from mien.faces.align import Aligner


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", [2, 3.3, 8])
def test_the_face_lies_where_the_functions_say(border: Border, scale: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    face = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    canvas = on_canvas(face, scale, border)
    assert canvas.shape == (round(96 * scale), round(96 * scale), 3)
    (left, top), (right, bottom) = to_canvas(np.array([[0.0, 0], [48, 48]]), canvas).round().astype(int)
    back = cv2.resize(canvas[top:bottom, left:right, 0], (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(back.astype(int) - face)[2:-2, 2:-2].max() <= 4


def test_there_and_back_again() -> None:
    canvas = on_canvas(np.zeros((48, 48), np.uint8), 3.3)
    points = np.array([[15.0, 18.5], [33.0, 18.5]])
    assert np.allclose(from_canvas(to_canvas(points, canvas), canvas), points)


def test_colour_stays_colour() -> None:
    face = np.zeros((30, 20, 3), np.uint8)
    face[..., 0] = 200
    canvas = on_canvas(face, 2, "replicate")
    assert canvas.shape == (120, 100, 3)
    assert (canvas == (200, 0, 0)).all()


def test_a_face_is_found_and_grey_paper_is_not(astronaut: Path) -> None:
    image = np.asarray(Image.open(astronaut).convert("L"))
    face = np.asarray(cv2.resize(image[50:210, 145:305], (48, 48), interpolation=cv2.INTER_AREA), np.uint8)
    paper = np.full((48, 48), 128, np.uint8)
    info = model_info(default_model())
    crop_spec = info.crop_spec
    (crops,), found = find_and_crop([face, paper, face], Aligner(crop_specs=[crop_spec]))
    assert found.tolist() == [True, False, True]
    assert crops.shape == (3, crop_spec.size, crop_spec.size)
    assert np.array_equal(crops[0], crops[2])
    assert crops[0].std() > 20
    assert not crops[1].any()
    assert OnnxClassifier()(crops[:1])[0].emotion == "happiness"


def test_no_faces_at_all() -> None:
    (crops,), found = find_and_crop([], Aligner(crop_specs=[model_info(default_model()).crop_spec]))
    assert crops.shape == (0, 48, 48)
    assert found.shape == (0,)
    (colours,), _ = find_and_crop([], Aligner(crop_specs=[model_info(default_model()).crop_spec.resized(24)]))
    assert colours.shape == (0, 24, 24, 3)
