"""`mien personalise` as a user runs it: faces in, a file out that is better on them, or a refusal with its reasons."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.conftest import ROOT
from tests.drawn import draw_face
from tests.tiny import tiny_model, tiny_run, tiny_samples

from mien.assets.manifest import FOLDER, info_in, model_info
from mien.assets.session import Session
from mien.assets.store import open_model
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.faces.detectors import DetectorOptions
from mien.personalise.adapt import Adaptation, Gate, Linear, blur_of, logits_of
from mien.personalise.faces import read_faces
from mien.personalise.general import shipped_general
from mien.personalise.graph import linear_head, personalised
from mien.personalise.run import see

__all__ = ["tiny_model", "tiny_run", "tiny_samples"]

EMOTIONS = ("anger", "happiness", "surprise", "sadness")


def write_faces(folder: Path, per_class: int = 6, emotions: tuple[str, ...] = EMOTIONS, seed: int = 0) -> Path:
    """Class folders of drawn faces, which are crops already."""
    for name in emotions:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            face = draw_face(name, np.random.default_rng([seed, EMOTIONS.index(name), number]))
            Image.fromarray(face).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def personal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model that was personalised on drawn faces, and what the command printed."""
    folder = tmp_path_factory.mktemp("personal")
    faces = write_faces(folder / "faces", per_class=8)
    done = run_command("personalise", faces, "--out", folder / "me.onnx", "--detector", "whole-image", "--force")
    assert done.returncode == 0, done.stderr
    return folder / "me.onnx", done.stdout


def test_the_report_has_both_sets_with_intervals(personal: tuple[Path, str]) -> None:
    _, printed = personal
    assert "faces: 32 (8 anger, 8 happiness, 8 sadness, 8 surprise)" in printed
    assert printed.count("95% interval") == 3
    assert "accuracy on held-out faces: before" in printed
    assert "accuracy on the general set: before" in printed


def test_the_file_names_itself_and_its_origin(personal: tuple[Path, str]) -> None:
    path, _ = personal
    info, session = open_model(path)
    origin = model_info("mien-m")
    assert info.name == "me"
    assert info.pretrained == {
        "name": "mien-m",
        "sha256": origin.sha256,
        "licence": origin.licence,
        "source": "mien personalise",
    }
    assert info.scores["personal"]["faces"] == {"anger": 8, "happiness": 8, "sadness": 8, "surprise": 8}
    assert info.heads == origin.heads
    assert info_in(session.metadata, "me") == info


def test_other_commands_take_the_file(personal: tuple[Path, str], tmp_path: Path) -> None:
    path, _ = personal
    faces = write_faces(tmp_path / "more", per_class=1, seed=7)
    done = run_command(
        "analyze", faces, "--model", path, "--faces-are-crops", "--table", tmp_path / "out.csv", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(EMOTIONS)


def test_faces_of_other_people_are_classified_as_before(personal: tuple[Path, str]) -> None:
    """The portrait is a photograph: no gate that opens for drawings lets it through."""
    path, _ = personal
    photograph = ROOT / "examples" / "astronaut.jpg"
    before, after = (
        run_command("analyze", photograph, "--json", "--model", model).stdout for model in ("mien-m", path)
    )
    assert json.loads(before)["faces"][0]["emotions"] == json.loads(after)["faces"][0]["emotions"]
    assert open_model(path)[0].scores["personal"]["general"]["change"]["value"] >= -0.02


def test_nothing_is_written_that_does_not_help(tmp_path: Path) -> None:
    """Faces that are labelled as the model reads them already: there is nothing to gain."""
    info = model_info("mien-m")
    drawn = write_faces(tmp_path / "drawn", seed=5)
    given = read_faces(drawn, info.crop_spec, info.heads[0].emotions, detector=DetectorOptions(name="whole-image"))
    head = OnnxClassifier(ClassifierOptions(model="mien-m", emotions=7))
    read = [head.emotions[place] for place in head.predict_proba(given.crops).argmax(axis=1)]
    chosen = [name for name in dict.fromkeys(read) if read.count(name) >= 2]
    assert len(chosen) >= 2
    for source, name in zip(given.names, read, strict=True):
        if name in chosen:
            (tmp_path / "faces" / name).mkdir(parents=True, exist_ok=True)
            (drawn / source).rename(tmp_path / "faces" / name / source.replace("/", "-"))
    (tmp_path / "faces" / chosen[0] / "broken.png").write_bytes(b"no image")
    out = tmp_path / "me.onnx"
    done = run_command("personalise", tmp_path / "faces", "--out", out, "--detector", "whole-image")
    assert done.returncode == 4, done.stderr
    assert done.stderr.index(f"left out: {chosen[0]}/broken.png") < done.stderr.index("error")
    assert "nothing was written" in done.stderr
    assert "accuracy on held-out faces" in done.stderr
    assert "--force" in done.stderr
    assert not out.exists()


def test_a_corrected_table_of_the_analyzer_teaches(tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", per_class=3)
    table = tmp_path / "faces.csv"
    done = run_command("analyze", faces, "--faces-are-crops", "--table", table, "--quiet")
    assert done.returncode == 0, done.stderr
    with open(table, newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    for row in found:
        row["emotion"] = Path(row["source"]).parent.name
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)
    done = run_command("personalise", table, "--out", tmp_path / "me.onnx", "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["faces"] == dict.fromkeys(EMOTIONS, 3)


def test_the_neutral_baseline_needs_neutral_faces_alone(tmp_path: Path) -> None:
    folder = tmp_path / "calm" / "neutral"
    folder.mkdir(parents=True)
    for number in range(6):
        Image.fromarray(draw_face("neutral", np.random.default_rng(number))).save(folder / f"{number}.png")
    ran = run_command(
        "personalise",
        tmp_path / "calm",
        "--out",
        tmp_path / "me.onnx",
        "--neutral",
        "--force",
        "--detector",
        "whole-image",
    )
    assert ran.returncode == 0, ran.stderr
    assert "6 neutral" in ran.stdout


def test_the_graph_computes_what_was_measured() -> None:
    """The gates, the filter and the heads of the file, against the same in numpy, for faces on either side."""
    classifier = OnnxClassifier("mien-m")
    info = classifier.info
    general = shipped_general(info)
    assert general is not None
    faces = [draw_face(name, np.random.default_rng(number)) for number in range(3) for name in EMOTIONS]
    faces = [np.asarray(cv2.GaussianBlur(face, (0, 0), 2), np.uint8) for face in faces]
    seen = see(classifier, faces, np.array([name for _ in range(3) for name in EMOTIONS]), general)
    shape = next(each for each in seen.filters if each.name)
    rng = np.random.default_rng(0)
    image_weights, face_weights = rng.normal(size=4), rng.normal(size=info.features.size if info.features else 0)
    image_gate = Gate(image_weights, float(np.median(seen.statistics @ image_weights)))
    after = seen.features[""].copy()
    opened = image_gate(seen.statistics)
    after[opened] = seen.features[shape.name][opened]
    face_gate = Gate(face_weights, float(np.median(after @ face_weights)))
    content = (FOLDER / info.file).read_bytes()
    old = {head.name: linear_head(content, info, head) for head in info.heads}
    new = {name: Linear(each.weight + rng.normal(size=each.weight.shape), each.bias + 1) for name, each in old.items()}
    adaptation = Adaptation((shape, image_gate), new, face_gate, 1.0)
    assert 0 < opened.sum() < len(faces)
    assert 0 < face_gate(after).sum() < len(faces)
    written = personalised(content, info, adaptation, info)
    session = Session(written, "written")
    inputs = classifier.inputs(faces)[0]
    for rows in (
        np.arange(len(faces)),
        np.flatnonzero(opened),
        np.flatnonzero(~opened)[:1],
    ):  # mixed, all and none open
        outputs = session.run(inputs[rows])
        for head in info.heads:
            expected = logits_of(adaptation, seen, rows, head, old[head.name])
            np.testing.assert_allclose(outputs[head.name], expected, rtol=2e-3, atol=2e-3)


def test_the_general_set_is_small_and_has_no_pickle() -> None:
    info = model_info("mien-m")
    path = FOLDER / info.general_file
    assert path.stat().st_size <= 2_000_000
    with np.load(path, allow_pickle=False) as file:
        assert file["features"].dtype == np.float16
    general = shipped_general(info)
    assert general is not None
    assert set(general.classes) <= set(info.heads[0].emotions)
    accuracy = info.scores["val_labels"]["accuracy"]
    head = next(head for head in info.heads if head.name == "fer2013")
    old = linear_head((FOLDER / info.file).read_bytes(), info, head)
    right = (
        np.asarray(head.emotions)[old(general.features).argmax(axis=1)] == np.asarray(general.classes)[general.labels]
    )
    assert right.mean() == pytest.approx(accuracy, abs=0.02)


def test_models_without_a_general_set_say_what_to_do(tmp_path: Path, tiny_model: Path) -> None:
    faces = write_faces(tmp_path / "faces", per_class=2)
    done = run_command("personalise", faces, "--model", tiny_model, "--out", tmp_path / "me.onnx")
    assert done.returncode == 2
    assert "--general STORE.h5" in done.stderr
    assert all(name in done.stderr for name in ("mien-m", "mien-m-int8", "mien-s"))


@pytest.mark.parametrize("model", ["mien-s", "mien-m-int8"])
def test_the_small_models_learn_too(model: str, tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", per_class=5)
    words = ("--model", model, "--detector", "whole-image", "--force", "--json")
    done = run_command("personalise", faces, "--out", tmp_path / "me.onnx", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["held_out"]["after"]["value"] > report["held_out"]["before"]["value"]
    again = run_command("analyze", faces, "--model", tmp_path / "me.onnx", "--faces-are-crops", "--quiet", "--json")
    assert again.returncode == 0, again.stderr


def test_the_strength_of_a_blur_is_read_from_the_images_alone() -> None:
    general = shipped_general(model_info("mien-m"))
    assert general is not None
    frequency = np.arange(len(general.spectrum)) / (2 * (len(general.spectrum) - 1))
    for sigma in (0.0, 1.0, 2.0):
        blurred = 0.25 * general.spectrum * np.exp(-((2 * np.pi * sigma * frequency) ** 2)) + 1e-4
        assert blur_of(blurred, general.spectrum) == pytest.approx(sigma, abs=0.15)
    assert blur_of(general.spectrum / 16 + 0.015, general.spectrum) < 0.7  # dark and noisy, not blurred
