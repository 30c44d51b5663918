"""The weights in the package: complete, small, and as accurate as the manifest says."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from benchmarks.face_copies import COPIES
from tests.conftest import ROOT

from mien import detect, models
from mien.assets.manifest import DEFAULT, ENSEMBLES, FOLDER, default_model, model_info, shipped_models
from mien.assets.store import open_model, read_weights, training_form, verified
from mien.datasets import Samples, face_images
from mien.datasets.builders import builder
from mien.evaluation import evaluate_model
from mien.evaluation.detection import evaluate_detector
from mien.expression import OnnxClassifier
from mien.faces.crop import crop_face
from mien.faces.detectors import load
from mien.faces.keypoints import five_of
from mien.faces.landmarks import load as load_landmarker
from mien.media import read_image
from mien.models import detection
from mien.models.landmarks.face_landmarks import FaceLandmarks

CLASSIFIERS = list(shipped_models("expression"))
MEGABYTES = 27  # of weights in the wheel, at most

# Where the eyes, the nose and the corners of the mouth are in examples/astronaut.jpg, and what `default_model` gives
# for the face that is cropped by them: as it is, with the mouth covered, and with the eyes covered.
POINTS = np.array([[204, 104], [247, 105], [226, 134], [207, 157], [244, 158]], np.float32)
GOLDEN = {
    "as it is": (0.0039, 0.0036, 0.0021, 0.9591, 0.0017, 0.0064, 0.0233),
    "mouth covered": (0.0084, 0.0038, 0.0249, 0.8298, 0.0078, 0.0264, 0.0989),
    "eyes covered": (0.0286, 0.0039, 0.0095, 0.9138, 0.0129, 0.0082, 0.0231),
}


@pytest.mark.parametrize("name", shipped_models())
def test_files_are_the_ones_that_the_manifest_names(name: str) -> None:
    info = shipped_models()[name]
    assert len(verified(FOLDER / info.file, info.sha256)) <= 8_000_000
    assert not info.training_file or training_form(name)
    assert info.licence
    assert info.data
    assert info.scores


@pytest.mark.parametrize("name", shipped_models())
def test_files_say_nothing_of_the_machine_that_exported_them(name: str) -> None:
    content = (FOLDER / model_info(name).file).read_bytes()
    assert b"site-packages" not in content
    assert b"pkg.torch" not in content


def test_nothing_else_ships_and_all_of_it_is_small() -> None:
    named = {
        file
        for info in shipped_models().values()
        for file in (info.file, info.training_file, info.general_file)
        if file
    }
    weights = [path for path in FOLDER.iterdir() if path.suffix in (".onnx", ".safetensors", ".npz")]
    assert {path.name for path in weights} == named
    assert sum(path.stat().st_size for path in weights) <= MEGABYTES * 1e6


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if shipped_models()[name].form == "full"])
def test_the_training_form_is_the_same_network(name: str) -> None:
    known, session = open_model(name)
    options = dict(known.architecture)
    heads = {head.name: len(head.emotions) for head in known.heads}
    network = models.build(options.pop("name"), heads, known.input, **options)
    network.load_state_dict(safetensors.torch.load(training_form(name)))
    faces = np.random.default_rng(0).normal(size=(4, known.input.depth, known.input.size, known.input.size))
    with torch.no_grad():
        features = network.eval().features(torch.from_numpy(faces.astype(np.float32)))
        expected = network.classify(features) | {"features": features}
    for output, found in session.run(faces.astype(np.float32)).items():
        np.testing.assert_allclose(found, expected[output], atol=0.05)  # half precision on the one side


def test_the_committed_figures_of_the_default_are_above_those_of_its_members() -> None:
    voted, *alone = (
        json.loads((ROOT / "benchmarks" / "scores" / f"{name}.json").read_text(encoding="utf-8"))["protocols"]
        for name in (DEFAULT, *ENSEMBLES[DEFAULT])
    )
    for name in ("labels", "majority"):
        assert voted[name]["accuracy"]["value"] >= max(each[name]["accuracy"]["value"] for each in alone)
        assert voted[name]["calibration_error_above_chance"]["value"] <= 0.01


@pytest.mark.real_data
def test_the_figures_of_the_default_are_measured_again(public_test: Samples) -> None:
    again = evaluate_model(None, public_test, split="val")
    claimed = json.loads((ROOT / "benchmarks" / "scores" / f"{DEFAULT}.json").read_text(encoding="utf-8"))
    assert again.model == DEFAULT
    for name, scores in again.scores.items():
        assert scores.accuracy.value == pytest.approx(claimed["protocols"][name]["accuracy"]["value"], abs=0.002)


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_the_committed_figures_hold_the_floors(model: str) -> None:
    found = json.loads((ROOT / "benchmarks" / "scores" / f"{model}.json").read_text(encoding="utf-8"))
    protocols = found["protocols"]
    assert protocols["labels"]["accuracy"]["value"] >= 0.68
    assert protocols["majority"]["accuracy"]["value"] >= 0.86
    for name in ("labels", "majority"):
        assert protocols[name]["calibration_error_above_chance"]["value"] <= 0.02
        claimed = shipped_models()[model].scores[f"val_{name}"]
        assert claimed["accuracy"] == pytest.approx(protocols[name]["accuracy"]["value"], abs=1e-4)
        assert claimed["faces"] == protocols[name]["n"]


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name.endswith("-int8")])
def test_int8_falls_by_at_most_a_third_of_a_point(name: str) -> None:
    full, small = (shipped_models()[each].scores for each in (name.removesuffix("-int8"), name))
    assert full.keys() == small.keys()
    for protocol, figures in full.items():
        assert small[protocol]["accuracy"] >= figures["accuracy"] - 0.003


def test_a_network_gives_the_same_probabilities_everywhere() -> None:
    image = read_image(ROOT / "examples" / "astronaut.jpg")
    crop = crop_face(image, POINTS, model_info(default_model()).crop_spec)
    mouth, eyes = crop.copy(), crop.copy()
    mouth[30:] = eyes[:24] = 128
    found = OnnxClassifier().with_classes(7).predict_proba([crop, mouth, eyes])
    np.testing.assert_allclose(found, list(GOLDEN.values()), atol=1e-3)


@pytest.fixture(scope="module")
def public_test(official: tuple[Path, Path]) -> Samples:
    """FER2013's PublicTest with the votes of FER+."""
    faces, votes = official
    return builder("fer2013")(csv=faces, votes=votes).only("val")


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        name if name == default_model("expression") else pytest.param(name, marks=pytest.mark.long)
        for name in CLASSIFIERS
    ],
)
def test_the_figures_are_measured_again(public_test: Samples, name: str) -> None:
    again = evaluate_model(name, public_test, split="val").headline()
    claimed = shipped_models()[name].scores
    assert again.keys() == claimed.keys()
    for protocol, figures in again.items():
        assert isinstance(figures, dict)
        assert figures["faces"] == claimed[protocol]["faces"]
        assert figures["accuracy"] == pytest.approx(claimed[protocol]["accuracy"], abs=0.003)  # processors round apart


def test_the_detectors_training_form_is_its_network() -> None:
    """int8 rounds: the two agree on the face, not in every digit."""
    info, session = open_model(task="detection")
    options = dict(info.architecture)
    network = detection.build(options.pop("name"), **options).eval()
    network.load_state_dict(safetensors.torch.load(training_form(info.name)))
    image = read_image(ROOT / "examples" / "astronaut.jpg")[:320]
    with torch.no_grad():
        pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float() / 255
        levels = network.float().levels(pixels)
        expected, features = network.cells(levels)[0].numpy(), levels[-1].mean(dim=(2, 3)).numpy()
    given = session.run(image[None])
    (found,) = given["cells"]
    best = int(expected[:, 0].argmax())
    assert np.abs(found[best] - expected[best]).max() < 0.5
    scores = 1 / (1 + np.exp(-np.stack([found[:, 0], expected[:, 0]])))
    assert np.abs(scores[0] - scores[1]).max() < 0.15
    assert np.corrcoef(given["features"][0], features[0])[0, 1] > 0.99


@pytest.mark.real_data
@pytest.mark.parametrize(("copy", "recall", "precision"), [("unchanged", 0.97, 0.97), ("masked", 0.95, 0.97)])
def test_the_detector_is_as_good_as_is_claimed(shared: Path, copy: str, recall: float, precision: float) -> None:
    """A short form of benchmarks/detectors.py: every third held-back image, faces of 40 px and more."""
    images = face_images.read(shared / "data" / "faces", "valid", limit=115)
    tally = evaluate_detector(load("mien"), map(COPIES[copy], images))
    hits, faces = tally.recall(40)
    right, taken = tally.precision(40)
    assert faces > 60
    assert hits / faces >= recall
    assert right / taken >= precision


def test_the_landmark_networks_training_form_is_its_network() -> None:
    info, session = open_model(task="landmarks")
    options = dict(info.architecture)
    assert options.pop("name") == "face_landmarks"
    weights = safetensors.torch.load(training_form(info.name))
    network = FaceLandmarks(weights["mean_shape"].tolist(), size=info.input.size, **options).eval()
    network.load_state_dict(weights)
    crops = np.random.default_rng(0).normal(size=(4, 1, info.input.size, info.input.size)).astype(np.float32)
    with torch.no_grad():
        expected = network.float()(torch.from_numpy(crops))
    found = session.run(crops)
    assert np.abs(found["points"] - expected.points.numpy()).max() < 0.03  # half precision on one side, 8 bits on one
    assert np.abs(found["pose"] - expected.pose.numpy()).max() < 5
    assert len(read_weights(FOLDER / info.file)) <= 1_000_000


def test_keypoints_of_the_portrait() -> None:
    """They are where one sees eyes, nose and mouth, and the portrait's pose and smile are plain to see."""
    seen = np.array([[203.7, 100.5], [247.2, 103.7], [223.8, 128.3], [203.7, 140.0], [243.8, 141.3]])
    (face,) = detect(ROOT / "examples" / "astronaut.jpg", keypoints=True)
    assert face.keypoints is not None
    assert face.pose is not None
    assert face.measures is not None
    apart = np.linalg.norm(seen[0] - seen[1])
    assert np.linalg.norm(five_of(face.keypoints) - seen, axis=1).mean() < 0.06 * apart
    assert np.linalg.norm(face.keypoints[68:] - seen[:2], axis=1).max() < 0.06 * apart
    assert np.abs(face.pose).max() < 10
    assert face.measures.smile_width > 0.65
    assert 0.2 < face.measures.right_eye_openness < 0.45


@pytest.mark.parametrize(("x", "y", "scale"), [(0.3, 0, 1), (-0.25, 0.2, 1), (0, -0.3, 1.2), (0, 0, 0.7), (0, 0, 1.4)])
def test_keypoints_do_not_depend_on_the_landmarks_that_place_the_crop(x: float, y: float, scale: float) -> None:
    image = read_image(ROOT / "examples" / "astronaut.jpg")
    (face,) = detect(image)
    assert face.landmarks is not None
    apart = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
    middle = face.landmarks.mean(axis=0)
    moved = (face.landmarks - middle) * np.float32(scale) + middle + np.array([x, y], np.float32) * apart
    known, found = (load_landmarker()(image, face.box[None], five[None]) for five in (face.landmarks, moved))
    assert np.linalg.norm(known.points - found.points, axis=2).mean() < 0.04 * apart
    assert known.pose is not None
    assert found.pose is not None
    assert np.abs(known.pose - found.pose).max() < 4


@pytest.mark.real_data
def test_the_keypoints_are_as_good_as_is_claimed(shared: Path) -> None:
    """A short form of benchmarks/landmarks.py: Helen's human points, in distances of the eyes' middles."""
    errors = []
    for image in face_images.read(shared / "data" / "faces", "valid", sets=("helen",), limit=22):
        for face in detect(image.image, keypoints=True):
            assert face.keypoints is not None
            five = five_of(face.keypoints)
            known = [points for points, origin in zip(image.landmarks, image.origin, strict=True) if origin == "human"]
            near = [np.linalg.norm(five - each, axis=1).mean() / np.linalg.norm(each[0] - each[1]) for each in known]
            errors += [error for error in near if error < 0.5]
    assert len(errors) >= 15
    assert np.mean(errors) < 0.08
