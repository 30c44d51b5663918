"""Classes that are not emotions: a folder of faces, a run, its export, its scores, a table, a drawing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.drawn import draw_face
from tests.tiny import taught_recipe

import mien
from mien.datasets import store
from mien.datasets.builders.folder import build
from mien.datasets.class_names import ClassOptions
from mien.datasets.splits import SplitOptions
from mien.errors import ConfigError
from mien.evaluation import evaluate_model
from mien.evaluation.report.page import evaluation_page
from mien.output import OVERLAYS, annotate, open_table, to_pandas
from mien.output.drawing.palette import colour_of
from mien.training import FitOptions, export_run, fit

OWN = {"amazed": "surprise", "keen on it": "happiness", "Ödnis": "sadness"}
CLASSES = ("amazed", "keen on it", "Ödnis")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with folders of drawn faces, their store and the exported model of them."""
    place = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for name, emotion in OWN.items():
        (place / "faces" / name).mkdir(parents=True)
        for index in range(24):
            Image.fromarray(draw_face(emotion, rng)).save(place / "faces" / name / f"{index}.png")
    samples = build(place / "faces", names=ClassOptions(classes="own"), split=SplitOptions(val=0.25, test=0))
    store.save(samples, place / "own.h5")
    recipe = taught_recipe().model_dump(mode="json") | {"name": "own", "heads": {"labels": {"source": "labels"}}}
    fit(
        type(taught_recipe()).model_validate(recipe),
        store.load(place / "own.h5"),
        place / "run",
        FitOptions(progress=False),
    )
    export_run(place / "run", samples.only("val"), place / "own.onnx")
    return place


def test_the_store_keeps_them(made: Path) -> None:
    assert store.load(made / "own.h5").classes == CLASSES


def test_the_model_is_evaluated_on_them(made: Path) -> None:
    samples = store.load(made / "own.h5", "val")
    evaluation = evaluate_model(made / "own.onnx", samples, split="val")
    scores = evaluation.scores["labels"]
    assert scores.classes == CLASSES
    assert "folder faces, 3 classes" in scores.protocol
    assert scores.accuracy.value > 0.5  # by chance: a third
    assert "keen on it" in evaluation_page(evaluation, samples)
    with pytest.raises(ConfigError, match="no head for the classes of the data: amazed, keen on it, Ödnis"):
        evaluate_model(None, samples, split="val")


def test_it_reads_them(made: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    faces = [np.repeat(draw_face("surprise", rng)[..., None], 3, axis=2) for _ in range(6)]
    as_they_are = mien.AnalyzerOptions(align=False)  # drawn faces, as in training
    analyzer = mien.Analyzer(as_they_are, classifier=made / "own.onnx", detector="whole-image")
    assert analyzer.emotions == CLASSES
    results = analyzer.analyze(faces)
    assert sum(result[0].emotion == "amazed" for result in results) >= 3
    for suffix in (".csv", ".jsonl", ".parquet"):
        with open_table(tmp_path / f"out{suffix}", analyzer.emotions) as table:
            for result in results:
                table.write(result)
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert sum(row[name] for name in CLASSES) == pytest.approx(1, abs=1e-4)
    assert list(to_pandas(results)["emotion"]) == [result[0].emotion for result in results]
    for overlay in OVERLAYS:
        drawn = annotate(np.full((480, 640, 3), 90, np.uint8), _placed(results[0]), overlay)
        assert (drawn != 90).any()
    with pytest.raises(ConfigError, match="cannot tell these 7 emotions apart") as caught:
        mien.Analyzer(classifier=made / "own.onnx", emotions=7)
    assert "amazed, keen on it, Ödnis" in caught.value.hint


def _placed(result: mien.FrameResult) -> list[mien.Face]:
    box = np.array([200, 100, 400, 340], np.float32)
    return [mien.Face(box, 0.9, expression=face.expression) for face in result]


def test_they_vote_together(made: Path) -> None:
    rng = np.random.default_rng(1)
    face = draw_face("happiness", rng)
    one = mien.analyze(face, classifier=made / "own.onnx", detector="whole-image")[0].expression
    two = mien.analyze(face, classifier=[made / "own.onnx"] * 2, detector="whole-image")[0].expression
    assert one is not None
    assert two is not None
    np.testing.assert_allclose(two.probabilities, one.probabilities, atol=1e-6)


def test_their_colours_are_their_own() -> None:
    colours = {name: colour_of(name) for name in CLASSES}
    assert len(set(colours.values())) == 3
    assert colours == {name: colour_of(name) for name in CLASSES}
    assert colour_of("amazed", uncertain=True) != colours["amazed"]


def test_a_run_is_not_exported_with_other_classes(made: Path, tmp_path: Path) -> None:
    others = replace(store.load(made / "own.h5", "val"), classes=("amazed", "bored", "Ödnis"))
    with pytest.raises(ConfigError, match="are not those of the run"):
        export_run(made / "run", others, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())
