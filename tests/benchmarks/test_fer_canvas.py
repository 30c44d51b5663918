import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def canvas_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("fer_canvas")


@pytest.mark.parametrize("border", ["grey", "reflect", "replicate"])
@pytest.mark.parametrize("scale", [2, 3.3, 8])
def test_the_face_lies_where_the_functions_say(canvas_module: Any, border: str, scale: float) -> None:
    face = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8), (0, 0), 2)
    canvas = canvas_module.on_canvas(face, scale, border)
    assert canvas.shape == (round(96 * scale), round(96 * scale), 3)
    (left, top), (right, bottom) = canvas_module.to_canvas(np.array([[0, 0], [48, 48]]), canvas).round().astype(int)
    back = cv2.resize(canvas[top:bottom, left:right, 0], (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(back.astype(int) - face)[2:-2, 2:-2].max() <= 4


def test_there_and_back_again(canvas_module: Any) -> None:
    canvas = canvas_module.on_canvas(np.zeros((48, 48), np.uint8), 3.3)
    points = np.array([[15.0, 18.5], [33.0, 18.5]])
    assert np.allclose(canvas_module.from_canvas(canvas_module.to_canvas(points, canvas), canvas), points)
