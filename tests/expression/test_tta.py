"""Test-time augmentation: which views it gives, and that their probabilities are averaged."""

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.expression.tta import TTA, Tta, tta_images

FACES = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)


@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 3), (31, 64), (1, 1)])
@pytest.mark.parametrize("name", TTA)
def test_each_kind_has_its_number_of_views(name: Tta, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    tta = tta_images(image, name)
    assert len(tta) == TTA[name]
    assert all(view.ndim == image.ndim and view.size for view in tta)
    half = len(tta) // 2
    for view, mirrored in zip(tta[:half], tta[half:], strict=False):
        assert np.array_equal(view, mirrored[:, ::-1])


def test_ten_crop_has_corners_and_centre() -> None:
    image = FACES[0]
    tta = tta_images(image, "ten-crop")
    assert {view.shape for view in tta} == {(44, 44)}
    for view, (top, left) in zip(tta, [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)], strict=False):
        assert np.array_equal(view, image[top : top + 44, left : left + 44])


def test_flip_is_the_mean_of_both_sides() -> None:
    single, both = OnnxClassifier(), OnnxClassifier(ClassifierOptions(tta="flip"))
    expected = (single.predict_proba(FACES) + single.predict_proba(FACES[:, :, ::-1])) / 2
    assert both.predict_proba(FACES) == pytest.approx(expected, abs=1e-5)
    assert both.predict_proba(FACES) == pytest.approx(both.predict_proba(FACES[:, :, ::-1]), abs=1e-5)


@pytest.mark.parametrize("name", TTA)
def test_all_kinds_give_probabilities(name: Tta) -> None:
    read = OnnxClassifier(ClassifierOptions(tta=name)).predict_proba(FACES)
    assert read.shape == (3, 8)
    assert read.dtype == np.float32
    assert read.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert OnnxClassifier(ClassifierOptions(tta=name)).predict_proba(FACES[:0]).shape == (0, 8)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tta: unknown value 'all' \(choose one of none, flip, ten-crop\)"):
        ClassifierOptions(tta="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one of none, flip, ten-crop"):
        tta_images(FACES[0], "all")  # type: ignore[arg-type]
