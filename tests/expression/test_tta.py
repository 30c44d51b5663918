"""Views of a face: which they are, and that reading them averages."""

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.expression import Classifier
from mien.expression.tta import VIEWS, views_of

FACES = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)


@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 3), (31, 64), (1, 1)])
@pytest.mark.parametrize("name", VIEWS)
def test_each_way_has_its_number_of_views(name: str, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    views = views_of(picture, name)
    assert len(views) == VIEWS[name]
    assert all(view.ndim == picture.ndim and view.size for view in views)
    half = len(views) // 2
    for view, mirrored in zip(views[:half], views[half:], strict=False):
        assert np.array_equal(view, mirrored[:, ::-1])


def test_ten_crop_has_corners_and_centre() -> None:
    picture = FACES[0]
    views = views_of(picture, "ten-crop")
    assert {view.shape for view in views} == {(44, 44)}
    for view, (top, left) in zip(views, [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)], strict=False):
        assert np.array_equal(view, picture[top : top + 44, left : left + 44])


def test_flip_is_the_mean_of_both_sides() -> None:
    single, both = Classifier(), Classifier(views="flip")
    expected = (single.probabilities(FACES) + single.probabilities(FACES[:, :, ::-1])) / 2
    assert both.probabilities(FACES) == pytest.approx(expected, abs=1e-5)
    assert both.probabilities(FACES) == pytest.approx(both.probabilities(FACES[:, :, ::-1]), abs=1e-5)


@pytest.mark.parametrize("name", VIEWS)
def test_any_way_gives_probabilities(name: str) -> None:
    read = Classifier(views=name).probabilities(FACES)
    assert read.shape == (3, 8)
    assert read.dtype == np.float32
    assert read.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert Classifier(views=name).probabilities(FACES[:0]).shape == (0, 8)


def test_no_such_views() -> None:
    with pytest.raises(ConfigError, match="there are no views 'all'"):
        Classifier(views="all")
    with pytest.raises(ValueError, match="expected one of single, flip, ten-crop"):
        views_of(FACES[0], "all")
