"""Networks that read keypoints or windows, and data, recipes and commands that do not have them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.moving import FRAMES, moving_recipe, moving_samples, quick_model, still_samples
from typer.testing import CliRunner

from mien.cli import build_app
from mien.datasets import Samples, store
from mien.errors import ConfigError, DataError
from mien.evaluation import evaluate_model
from mien.expression import OnnxClassifier
from mien.expression.observation import Observation
from mien.training import FitOptions, fit, load_recipe
from mien.training.quantize import quantize


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.getbasetemp()


def few(task: str = "looks") -> Samples:
    return still_samples(task, subjects=(1, 1), each=1, frames=2)


def without_points(samples: Samples) -> Samples:
    return replace(samples, keypoints=None, keypoint_scheme="")


def refused(recipe: str, samples: Samples, folder: Path, kind: type[Exception], match: str) -> str:
    with pytest.raises(kind, match=match) as caught:
        fit(
            moving_recipe(recipe, FRAMES if "lstm" in recipe else 1, epochs=1),
            samples,
            folder,
            FitOptions(progress=False),
        )
    assert not folder.exists()  # no run is left behind
    return str(getattr(caught.value, "hint", ""))


def test_training_on_a_store_without_keypoints(tmp_path: Path) -> None:
    hint = refused(
        "landmark", without_points(few()), tmp_path / "run", ConfigError, "reads keypoints, and the data has none"
    )
    assert "mien data add-keypoints" in hint
    clips = without_points(moving_samples("ways", (1, 1), each=1, frames=2))
    refused("landmark_lstm", clips, tmp_path / "run", ConfigError, "reads keypoints")


def test_training_where_no_face_has_keypoints(tmp_path: Path) -> None:
    samples = few()
    assert samples.keypoints is not None
    missing = replace(samples, keypoints=np.full_like(samples.keypoints, np.nan))
    hint = refused("landmark", missing, tmp_path / "run", DataError, "no face of the data has keypoints")
    assert "add-keypoints" in hint


def test_keypoints_of_another_scheme(tmp_path: Path) -> None:
    samples = few()
    assert samples.keypoints is not None
    other = replace(samples, keypoints=samples.keypoints[:, :5], keypoint_scheme="five")
    refused("landmark", other, tmp_path / "run", ConfigError, "of the scheme 300w-68, those of the data are five")


def test_faces_whose_landmarks_are_missing_are_trained_on_and_scored(tmp_path: Path) -> None:
    """Landmark files that are missing: their faces are unknown shapes, and no face is left out."""
    samples = still_samples("ways", subjects=(2, 2), each=2, frames=2)
    assert samples.keypoints is not None
    points = samples.keypoints.copy()
    points[::3] = np.nan
    torch.set_num_threads(1)
    missing = replace(samples, keypoints=points)
    fit(moving_recipe("landmark", epochs=1, batch_size=4), missing, tmp_path / "run", FitOptions(progress=False))
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 2
    assert "nan" not in rows[1]


def test_a_network_of_windows_on_single_faces(base: Path, tmp_path: Path) -> None:
    refused("image_lstm", few(), tmp_path / "run", DataError, "no labelled clips")
    with pytest.raises(DataError, match="no labelled clips"):
        evaluate_model(quick_model("image_lstm", base), few("ways").only("val"), split="val")


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        ("image-lstm", "input.frames=1", "the network 'image_lstm' reads sequences, expected at least 2 frames"),
        ("landmark", "input.frames=10", "the network 'landmark' reads single images, expected 1, got 10"),
        ("mien-s", "input.frames=3", "the network 'plain' reads single images, expected 1, got 3"),
        ("landmark-lstm", "input.frames=0", "greater than or equal to 1"),
        ("landmark-lstm", "input.frames=71", "less than or equal to 64"),
        ("landmark", "augmentation.covers=0.2", "for networks that read single images, which 'landmark' does not"),
        ("landmark", "reconstruction=0.0005", "the network 'landmark' has no capsules"),
        ("capsnet", "heads.fer2013.logit_adjustment=1.0", "'margin' goes with neither"),
    ],
)
def test_recipes_that_ask_a_network_for_what_it_cannot_do(recipe: str, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(recipe, [setting])
    assert setting.split("=", maxsplit=1)[0].split(".", maxsplit=1)[0] in str(caught.value)


def test_images_alone_given_to_a_network_that_reads_keypoints(base: Path) -> None:
    classifier = OnnxClassifier(quick_model("landmark", base))
    with pytest.raises(ConfigError, match=r"reads keypoints \(300w-68\), got images of faces alone"):
        classifier(np.zeros((1, 48, 48), np.uint8))
    with pytest.raises(ConfigError, match=r"of the shape \(1, 68, 2\), got \(1, 70, 2\)"):
        classifier([Observation((), np.zeros((1, 70, 2), np.float32))])
    with pytest.raises(ConfigError, match="reads images of faces, got keypoints alone"):
        OnnxClassifier(quick_model("image_lstm", base))([Observation((), np.zeros((1, 68, 2), np.float32))])


@pytest.mark.parametrize("count", [1, 2, FRAMES, 71])
def test_windows_of_another_length(count: int, base: Path) -> None:
    classifier = OnnxClassifier(quick_model("landmark_lstm", base))
    points = np.random.default_rng(count).random((count, 68, 2)).astype(np.float32)
    found = classifier.predict_proba([Observation((), points)])
    whole = points[-FRAMES:] if count >= FRAMES else np.concatenate([points[:1]] * (FRAMES - count) + [points])
    np.testing.assert_array_equal(found, classifier.predict_proba([Observation((), whole)]))


@pytest.mark.parametrize(
    ("images", "points"), [((), None), ((np.zeros((4, 4), np.uint8),), np.zeros((2, 68, 2))), ((), np.zeros((68, 2)))]
)
def test_observations_that_cannot_be(images: tuple[np.ndarray, ...], points: np.ndarray | None) -> None:
    with pytest.raises(ValueError, match=r"expected \(T, K, 2\)"):
        Observation(images, points)


def test_the_evaluation_of_such_networks(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "val.h5"
    store.save(without_points(moving_samples("ways", (1, 1), each=1)), path)
    model = quick_model("landmark_lstm", base)
    runner = CliRunner()
    lacking = runner.invoke(build_app(), ["evaluate", str(path), "--model", str(model)])
    assert lacking.exit_code != 0
    assert "reads keypoints, and the data has none" in lacking.output + str(lacking.exception)
    store.save(moving_samples("ways", (1, 1), each=1), path)
    detected = runner.invoke(build_app(), ["evaluate", str(path), "--model", str(model), "--detector", "mien"])
    assert detected.exit_code != 0
    assert "only be evaluated on faces as they are stored" in detected.output + str(detected.exception)
    right = runner.invoke(build_app(), ["evaluate", str(path), "--model", str(model), "--json"])
    assert right.exit_code == 0, right.output
    assert '"n": 2' in right.output  # clips, not frames


def test_no_int8_form_of_networks_that_read_more_than_an_image(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not read single images alone"):
        quantize(quick_model("landmark_lstm", base), few("ways"), tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())
