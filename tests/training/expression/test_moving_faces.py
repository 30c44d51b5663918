"""The networks of landmarks, sequences and capsules, trained on drawn faces and judged on other persons."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image
from tests.moving import FRAMES, moving_recipe, moving_samples, still_samples

from mien import models
from mien.datasets import Samples
from mien.datasets.examples import examples_of, faces_of
from mien.evaluation import evaluate_model
from mien.expression import OnnxClassifier
from mien.training import ExpressionRecipe, FitOptions, export_run, fit
from mien.training.checkpoints import load_module
from mien.training.expression.module import ExpressionModule

# By network: the task, and what its recipe changes.
CASES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "landmark": ("looks", {"epochs": 15}),
    "landmark_lstm": ("ways", {"epochs": 15}),
    "image_landmark": (
        "looks",
        {
            "epochs": 10,
            "model": {"name": "image_landmark", "options": {"stem": 6, "widths": [8, 16], "depths": [1, 1]}},
        },
    ),
    "image_lstm": ("ways", {"epochs": 20, "model": {"name": "image_lstm", "options": {"width": 0.5}}}),
    "capsnet": (
        "looks",
        {
            "epochs": 40,
            "reconstruction": 0.0005,
            "heads": {"own": {"source": "labels", "loss": "margin"}},
        },
    ),
}


LONG: Final = ("capsnet",)  # half as wide, it stood at 91% after 15 epochs
NETWORKS: Final = [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in CASES]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def recipe_of(name: str) -> ExpressionRecipe:
    return moving_recipe(name, FRAMES if models.reads_windows(name) else 1, **CASES[name][1])


def samples_of(name: str) -> Samples:
    task = CASES[name][0]
    return moving_samples(task) if models.reads_windows(name) else still_samples(task)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of this module by network, made when they are asked for."""
    return {"": tmp_path_factory.mktemp("runs")}


def exported(name: str, runs: dict[str, Path]) -> Path:
    """The exported file of a network's run."""
    if name not in runs:
        torch.set_num_threads(1)
        folder = runs[""] / name
        fit(recipe_of(name), samples_of(name), folder, FitOptions(progress=False))
        out = folder / f"{name}.onnx"
        export_run(folder, samples_of(name).only("val"), out, licence="Apache-2.0")
        runs[name] = out
    return runs[name]


def accuracy(model: Path, samples: Samples) -> tuple[float, int]:
    """On the persons of val, and how many faces or clips they gave."""
    (scores,) = evaluate_model(model, samples.only("val"), split="val").scores.values()
    return scores.accuracy.value, scores.n


@pytest.mark.parametrize("name", NETWORKS)
def test_95_percent_on_persons_it_never_saw(name: str, runs: dict[str, Path]) -> None:
    samples = samples_of(name)
    assert samples.subjects is not None
    persons = [set(samples.only(split).subjects) for split in ("train", "val")]  # type: ignore[arg-type]
    assert not persons[0] & persons[1]
    found, count = accuracy(exported(name, runs), samples)
    assert count >= 48
    assert found >= 0.95


@pytest.mark.parametrize("name", ["landmark_lstm", "image_lstm"])
def test_motion_tells_what_the_last_frame_does_not(name: str, runs: dict[str, Path], tmp_path: Path) -> None:
    last = "landmark" if name == "landmark_lstm" else "image_landmark"
    frames = still_samples("ways")
    recipe = moving_recipe(last, **(CASES[last][1] | {"epochs": 8}))
    fit(recipe, frames, tmp_path / "run", FitOptions(progress=False))
    export_run(tmp_path / "run", frames.only("val"), tmp_path / "last.onnx")
    by_frame, count = accuracy(tmp_path / "last.onnx", frames)
    by_motion, clips = accuracy(exported(name, runs), moving_samples("ways"))
    assert count == clips  # the same clips, of the same persons
    assert by_motion >= by_frame + 0.2


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exported_file_is_the_checkpoint(name: str, runs: dict[str, Path]) -> None:
    classifier = OnnxClassifier(exported(name, runs)).with_classes("model")
    val = samples_of(name).only("val")
    faces = faces_of(val, examples_of(val, classifier.frames), classifier.keypoint_scheme)
    module = load_module(ExpressionModule, runs[name].parent / "best.ckpt").eval()
    with torch.no_grad():
        expected = module.network(*map(torch.from_numpy, classifier.inputs(faces)))["own"].numpy()
    (found,) = classifier.logits(faces)
    assert len(expected) >= 48
    np.testing.assert_allclose(found["own"], expected, atol=1e-4)
    (alone,) = classifier.logits(faces[:1])
    np.testing.assert_allclose(alone["own"], expected[:1], atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_turned_faces_give_the_network_turned_points(name: str, runs: dict[str, Path]) -> None:
    """Faces in a larger frame, all upside down: keypoints say the same, wherever and however the face lies."""
    if "keypoints" not in [part.name for part in OnnxClassifier(exported(name, runs)).info.inputs] or "image" in name:
        return
    val = samples_of(name).only("val")
    assert val.keypoints is not None
    before, _ = accuracy(runs[name], val)
    other = replace(val, keypoints=(900 - 12 * val.keypoints).astype(np.float32))
    after, _ = accuracy(runs[name], other)
    assert after == pytest.approx(before)


def test_a_mirrored_window_is_read_with_mirrored_points(runs: dict[str, Path]) -> None:
    for name in ("landmark_lstm", "image_landmark"):
        classifier = OnnxClassifier(exported(name, runs)).with_classes("model")
        val = samples_of(name).only("val")
        faces = faces_of(val, examples_of(val, classifier.frames), classifier.keypoint_scheme)
        flipped = replace(classifier.options, tta="flip")
        classifier.options, classifier.tta = flipped, "flip"
        labels = examples_of(val, classifier.frames).samples.labels
        assert (classifier.predict_proba(faces).argmax(axis=1) == labels).mean() >= 0.9


@pytest.mark.long
def test_the_decoder_leaves_a_picture_of_redrawn_faces(runs: dict[str, Path]) -> None:
    exported("capsnet", runs)
    sheet = np.asarray(Image.open(runs["capsnet"].parent / "redrawn.png"), np.float64)
    side = 2 * 32
    assert sheet.shape[:2] == (4 * 2 * side, 4 * side)  # four pairs of each of four classes
    rows = sheet.reshape(4, 2, side, 4, side).transpose(1, 0, 3, 2, 4).reshape(2, 16, -1)
    own = [np.corrcoef(face, drawn)[0, 1] for face, drawn in zip(*rows, strict=True)]
    assert np.mean(own) > 0.5  # a face, drawn from sixteen numbers


def test_windows_that_are_longer_than_the_clip_and_shorter(runs: dict[str, Path]) -> None:
    """Clips of one frame and of 71: the window holds the one frame, or the last ones."""
    for frames in (1, 71):
        clips = moving_samples("ways", (1, 2), each=1, frames=frames)
        found, count = accuracy(exported("landmark_lstm", runs), clips)
        assert count == 4
        assert 0 <= found <= 1
        chosen = examples_of(clips.only("val"), FRAMES)
        assert chosen.rows.shape == (4, FRAMES)
        assert len(np.unique(chosen.rows[0])) == min(frames, FRAMES)
