"""The weights in the package: whole, small, and as good as is claimed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from benchmarks.face_copies import COPIES
from tests.conftest import ROOT

from mien import models
from mien.assets.detectors import open_detector, shipped
from mien.assets.manifest import FOLDER, METADATA_KEY, ModelInfo, shipped_models
from mien.assets.store import open_model, verified
from mien.datasets import face_images
from mien.datasets.builders import builder
from mien.evaluation import evaluate_model
from mien.evaluation.detection import judge
from mien.faces.detectors import load
from mien.media import read_image
from mien.models.detection.face_detector import FaceDetector

NAMES = list(shipped_models())


@pytest.mark.parametrize("name", NAMES)
def test_files_are_the_ones_the_manifest_names(name: str) -> None:
    info = shipped_models()[name]
    assert len(verified(FOLDER / info.file, info.sha256)) <= 8_000_000
    if info.training_file:
        verified(FOLDER / info.training_file, info.training_sha256)
    assert info.licence
    assert info.data
    assert info.scores


def test_nothing_else_is_shipped() -> None:
    named = {file for info in shipped_models().values() for file in (info.file, info.training_file) if file}
    named |= {shipped().file, shipped().training_file}
    assert {path.name for path in FOLDER.iterdir() if path.suffix in (".onnx", ".safetensors")} == named


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_in_the_file_is_the_manifests(name: str) -> None:
    known, session = open_model(name)
    own = ModelInfo.from_json(session.metadata[METADATA_KEY], name).as_dict()
    beside = known.as_dict()
    for key in ("file", "sha256", "training_file", "training_sha256"):
        own.pop(key)
        beside.pop(key)
    assert own == beside


@pytest.mark.parametrize("name", [name for name in NAMES if shipped_models()[name].training_file])
def test_the_training_form_is_the_same_network(name: str) -> None:
    known, session = open_model(name)
    options = dict(known.architecture)
    heads = {head.name: len(head.emotions) for head in known.heads}
    network = models.build(options.pop("name"), heads, known.input, **options)
    network.load_state_dict(safetensors.torch.load((FOLDER / known.training_file).read_bytes()))
    faces = np.random.default_rng(0).normal(size=(4, known.input.depth, known.input.size, known.input.size))
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(faces.astype(np.float32)))
    for head, found in session.run(faces.astype(np.float32)).items():
        np.testing.assert_allclose(found, expected[head], atol=0.05)  # half precision on the one side


@pytest.mark.parametrize("model", NAMES)
def test_the_committed_figures_hold_the_floors(model: str) -> None:
    found = json.loads((ROOT / "benchmarks" / "scores" / f"{model}.json").read_text(encoding="utf-8"))
    protocols = found["protocols"]
    assert protocols["labels"]["accuracy"]["value"] >= 0.68
    assert protocols["majority"]["accuracy"]["value"] >= 0.86
    for name in ("labels", "majority"):
        assert protocols[name]["excess_calibration_error"]["value"] <= 0.02
        claimed = shipped_models()[model].scores[f"val_{name}"]
        assert claimed["accuracy"] == pytest.approx(protocols[name]["accuracy"]["value"], abs=1e-4)
        assert claimed["faces"] == protocols[name]["n"]


# Of a full form that is no longer shipped.
ROUNDS = {"mien-s-third": {"val_labels": 0.689, "val_majority": 0.8668, "val_argmax": 0.8311}}


@pytest.mark.parametrize("name", [name for name in shipped_models() if name.endswith("-int8")])
def test_int8_falls_by_at_most_a_third_of_a_point(name: str) -> None:
    whole, small = name.removesuffix("-int8"), shipped_models()[name].scores
    full = (
        ROUNDS[whole]
        if whole in ROUNDS
        else {key: each["accuracy"] for key, each in shipped_models()[whole].scores.items()}
    )
    assert full.keys() == small.keys()
    for protocol, accuracy in full.items():
        assert small[protocol]["accuracy"] >= accuracy - 0.003


@pytest.mark.real_data
def test_the_figures_come_out_again(shared: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, shared / "data" / "fer2013" / "unpack.py", tmp_path], check=True)
    samples = builder("fer2013")(csv=tmp_path / "fer2013.csv", votes=tmp_path / "fer2013new.csv")
    again = evaluate_model("mien-base", samples.only("val"), split="val").headline()
    for name, figures in again.items():
        claimed = shipped_models()["mien-base"].scores[name]
        assert isinstance(figures, dict)
        assert figures["faces"] == claimed["faces"]
        assert figures["accuracy"] == pytest.approx(claimed["accuracy"], abs=0.002)  # processors round differently


def test_the_detectors_training_form_is_its_network() -> None:
    """int8 rounds: the two agree on the face, not on the digits."""
    info, session = open_detector()
    network = FaceDetector(**info.architecture).eval()
    training = verified(FOLDER / info.training_file, info.training_sha256)
    network.load_state_dict(safetensors.torch.load(training))
    image = read_image(ROOT / "examples" / "astronaut.jpg")[:320]
    with torch.no_grad():
        pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float() / 255
        expected = network.float()(pixels)[0].numpy()
    (found,) = session.run(image[None]).values()
    best = int(expected[:, 0].argmax())
    assert np.abs(found[0, best] - expected[best]).max() < 0.5
    scores = 1 / (1 + np.exp(-np.stack([found[0, :, 0], expected[:, 0]])))
    assert np.abs(scores[0] - scores[1]).max() < 0.15


@pytest.mark.real_data
@pytest.mark.parametrize(("copy", "recall", "precision"), [("as they are", 0.97, 0.97), ("masked", 0.95, 0.97)])
def test_the_detector_is_as_good_as_is_claimed(shared: Path, copy: str, recall: float, precision: float) -> None:
    """A short form of benchmarks/detectors.py: every third held-back image, faces of 40 px and more."""
    images = face_images.read(shared / "data" / "faces", "valid", limit=115)
    tally = judge(load("mien"), map(COPIES[copy], images))
    hits, faces = tally.recall(40)
    right, taken = tally.precision(40)
    assert faces > 60
    assert hits / faces >= recall
    assert right / taken >= precision
