"""Valence and arousal: expectations of coordinates under the predicted distribution, in every output."""

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from mien import AnalyzerOptions, ClassifierOptions
from mien.assets.manifest import FOLDER, METADATA_KEY
from mien.assets.signature import ValenceArousal
from mien.assets.store import open_model
from mien.cli import build_app
from mien.emotions import vocabulary
from mien.expression import load_classifier
from mien.expression.affect import DEFAULT, coordinates, loaded
from mien.expression.smoothing import TrackSmoother
from mien.output import Layout, document, rows, to_pandas
from mien.output.timeline.series import read_table
from mien.results import AFFECT, Affect, Expression, Face, FrameResult

EIGHT = vocabulary(8)
RUN = CliRunner()


def _expected(probabilities: np.ndarray, classes: tuple[str, ...] = EIGHT, table: object = None) -> list[Affect | None]:
    places = coordinates(classes, table)
    assert places is not None
    return places.expected(np.asarray(probabilities, np.float32))


_WEIGHTS = hnp.arrays(np.float64, (3, 8), elements=st.floats(0.001, 1))


def test_the_default_has_the_published_values() -> None:
    published = {
        "happiness": (0.76, 0.48),
        "sadness": (-0.63, -0.27),
        "surprise": (0.40, 0.67),
        "fear": (-0.64, 0.60),
        "anger": (-0.51, 0.59),
        "disgust": (-0.60, 0.35),
        "neutral": (0, 0),
    }
    mean = tuple(float(np.mean([published["anger"][axis], published["disgust"][axis]])) for axis in (0, 1))
    for name, place in (published | {"contempt": mean}).items():
        assert DEFAULT[name] == pytest.approx(place)
    assert set(DEFAULT) == set(EIGHT)


def test_a_certain_face_has_the_place_of_its_emotion() -> None:
    found = _expected(np.eye(8))
    for name, affect in zip(EIGHT, found, strict=True):
        valence, arousal = DEFAULT[name]
        assert affect is not None
        assert (affect.valence, affect.arousal) == pytest.approx((valence, arousal))
        assert (affect.positive, affect.negative) == pytest.approx((max(valence, 0), max(-valence, 0)))


@given(weights=_WEIGHTS)
def test_dimensions_are_expectations(weights: np.ndarray) -> None:
    rows_ = weights / weights.sum(axis=1, keepdims=True)
    for row, affect in zip(rows_.astype(np.float32), _expected(rows_), strict=True):
        assert affect is not None
        valence = sum(p * DEFAULT[name][0] for p, name in zip(row.tolist(), EIGHT, strict=True))
        arousal = sum(p * DEFAULT[name][1] for p, name in zip(row.tolist(), EIGHT, strict=True))
        assert (affect.valence, affect.arousal) == pytest.approx((valence, arousal), abs=1e-6)
        assert affect.positive - affect.negative == pytest.approx(affect.valence, abs=1e-6)


def test_what_is_no_emotion_is_left_out() -> None:
    ten = vocabulary(10)
    row = np.zeros(10, np.float32)
    row[[3, 8]] = 0.5  # happiness, unknown
    (affect,) = _expected(row[None], ten)
    assert affect is not None
    assert affect.valence == pytest.approx(0.76)
    (none,) = _expected(np.eye(10)[9:], ten)  # surely not a face
    assert none is None


def test_classes_of_your_own_have_no_default_place() -> None:
    assert coordinates(("bored", "happiness")) is None
    places = coordinates(("bored", "Happy"), loaded((("bored", -0.2, -0.6), ("happiness", 0.5, 0.5))))
    assert places is not None
    assert places.values[:, :2].tolist() == [[-0.2, -0.6], [0.5, 0.5]]
    assert coordinates(("angry", "happy")) is not None  # aliases of the default's names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "emotion,valence,arousal\nhappy,1,0\nsad,-1,0\n"),
        ("b.csv", "\ufeffArousal,Valence,Emotion,comment\n0,1,joy,x\n0,-1,sadness,\n"),
        ("c.toml", "happiness = [1, 0]\nsadness = [-1.0, 0.0]\n"),
        ("d.TOML", "[happy]\nvalence = 1\narousal = 0\n[sad]\nvalence = -1\narousal = 0\n"),
    ],
)
def test_a_table_of_ones_own_counts_instead(name: str, text: str, tmp_path: Path, astronaut: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert loaded(tmp_path / name) == (("happiness", 1.0, 0.0), ("sadness", -1.0, 0.0))
    words = ["--emotions", "happy,sad", "--affect-table", str(tmp_path / name), "--json", "--quiet"]
    (face,) = json.loads(RUN.invoke(build_app(), ["analyze", str(astronaut), *words]).stdout)["faces"]
    happy, sad = face["emotions"].values()
    assert face["affect"]["valence"] == pytest.approx(happy - sad, abs=1e-6)


def test_options_with_a_table_can_be_pickled_and_hashed() -> None:
    options = ClassifierOptions(affect_table={"joy": (0.5, 0.5), "sad": (-0.5, -0.5)})
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(AnalyzerOptions(classifier=options)) == hash(AnalyzerOptions(classifier=options))
    rows_: object = options.affect_table
    assert rows_ == (("happiness", 0.5, 0.5), ("sadness", -0.5, -0.5))


def test_subsets_priors_and_votes_change_the_distribution_and_so_the_dimensions() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (4, 64, 64), np.uint8)
    for options in (
        ClassifierOptions(model="mien-s"),
        ClassifierOptions(model="mien-s", prior="uniform"),
        ClassifierOptions(model="mien-s", emotions=("sadness", "happiness")),
        ClassifierOptions(model=("mien-s", "mien-m"), vote="hard"),
    ):
        classifier = load_classifier(options)
        for found in classifier(crops):
            (wanted,) = _expected(found.probabilities[None], classifier.emotions)
            assert found.affect is not None
            assert wanted is not None
            assert (found.affect.valence, found.affect.arousal) == pytest.approx((wanted.valence, wanted.arousal))


def _frame(index: int, row: list[float], affect: Affect | None) -> FrameResult:
    expression = Expression(np.array(row, np.float32), ("happiness", "sadness"), affect=affect)
    face = Face(np.array([0, 0, 9, 9], np.float32), 0.9, track=0, expression=expression)
    return FrameResult("v.mp4", index, index / 10, 64, 64, (face,))


def test_smoothed_dimensions_are_those_of_the_smoothed_distribution_and_stand_beside_the_raw_ones() -> None:
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]
    affects = _expected(np.array(probabilities), ("happiness", "sadness"))
    smoother = TrackSmoother(0.4)
    results = [
        result
        for index, (row, affect) in enumerate(zip(probabilities, affects, strict=True))
        for result in smoother.update(_frame(index, row, affect))
    ] + list(smoother.flush())
    assert len(results) == 4
    for result, affect in zip(results, affects, strict=True):
        (face,) = result
        assert face.smoothed is not None
        (wanted,) = _expected(face.smoothed.probabilities[None], ("happiness", "sadness"))
        assert wanted is not None
        assert face.smoothed_affect is not None
        assert face.affect == affect
        assert face.smoothed_affect.valence == pytest.approx(wanted.valence, abs=1e-6)
        assert face.smoothed_affect != face.affect


def test_dimensions_are_columns_and_keys() -> None:
    result = _frame(0, [0.75, 0.25], Affect.of(-0.25, 0.5))
    (row,) = rows(result, Layout(("happiness", "sadness")))
    assert [row[name] for name in AFFECT] == [-0.25, 0.5, 0.0, 0.25]
    assert document(result)["faces"][0]["affect"]["arousal"] == 0.5  # type: ignore[index]
    assert to_pandas(result)["valence"].tolist() == [-0.25]


def test_a_class_called_positive_keeps_its_column(tmp_path: Path) -> None:
    names = ("negative", "positive")
    expression = Expression(np.array([0.25, 0.75], np.float32), names)
    face = Face(np.array([0, 0, 9, 9], np.float32), 0.9, track=0, expression=expression)
    result = FrameResult("v.mp4", 0, 0.0, 64, 64, (face,))
    (row,) = rows(result, Layout(names))
    assert (row["positive"], row["emotion"]) == (0.75, "positive")
    assert "valence" not in row
    with (tmp_path / "faces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    (recording,) = read_table(tmp_path / "faces.csv")
    assert recording.series[0].emotions == names


def test_the_console_stays_as_it_was(astronaut: Path) -> None:
    text = RUN.invoke(build_app(), ["analyze", str(astronaut)]).stdout
    assert "happiness" in text
    assert "valence" not in text


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mien-s with an output that reads valence and arousal from its features: tanh of two of them, less 1."""
    path, (info, _) = tmp_path_factory.mktemp("affect") / "regressor.onnx", open_model("mien-s")
    assert info.features is not None
    model = onnx.load(FOLDER / "mien-s.onnx")
    weights = np.zeros((info.features.size, 2), np.float32)
    weights[0, 0] = weights[1, 1] = 1
    model.graph.initializer.extend(
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.full(2, -1, np.float32), "b")]
    )
    model.graph.node.extend(
        [
            helper.make_node("Gemm", [info.features.name, "w", "b"], ["before"]),
            helper.make_node("Tanh", ["before"], ["affect"]),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("affect", onnx.TensorProto.FLOAT, ["faces", 2]))
    described = replace(info, outputs=(*info.outputs, ValenceArousal()), file="", sha256="")
    helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, path)
    return path


def test_a_network_that_predicts_valence_and_arousal_takes_the_place_of_the_expectation(regressor: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    classifier = load_classifier(str(regressor))
    wanted = np.tanh(classifier.features(crops)[:, :2] - 1)
    for found, (valence, arousal) in zip(classifier(crops), wanted.tolist(), strict=True):
        assert found.affect is not None
        assert (found.affect.valence, found.affect.arousal) == pytest.approx((valence, arousal), abs=1e-5)
        assert (found.affect.positive, found.affect.negative) == pytest.approx((max(valence, 0), max(-valence, 0)))
    plain = load_classifier("mien-s")
    np.testing.assert_allclose(classifier.predict_proba(crops), plain.predict_proba(crops), atol=1e-6)
    (both,) = load_classifier([str(regressor), "mien-s"])(crops[:1])
    assert both.affect is not None
    assert both.affect.valence == pytest.approx(wanted[0, 0], abs=1e-5)


def test_views_are_averaged_and_a_table_of_ones_own_counts_more_than_the_network(regressor: Path) -> None:
    crop = np.random.default_rng(1).integers(0, 255, (1, 64, 64), np.uint8)
    plain = load_classifier(str(regressor))
    (flipped,) = load_classifier(ClassifierOptions(model=str(regressor), tta="flip"))(crop)
    views = [plain(view)[0].affect for view in (crop, np.ascontiguousarray(crop[:, :, ::-1]))]
    assert flipped.affect is not None
    assert flipped.affect.valence == pytest.approx(np.mean([each.valence for each in views if each]), abs=1e-5)
    table = {"happy": (1.0, 1.0), "sad": (1.0, 1.0)}
    options = ClassifierOptions(model=str(regressor), emotions=("happy", "sad"), affect_table=table)
    (own,) = load_classifier(options)(crop)
    assert own.affect is not None
    assert own.affect.valence == pytest.approx(1)


def test_the_command_uses_such_a_network(regressor: Path, astronaut: Path) -> None:
    words = ["analyze", str(astronaut), "--model", str(regressor), "--json", "--quiet"]
    (face,) = json.loads(RUN.invoke(build_app(), words).stdout)["faces"]
    (expected,) = json.loads(RUN.invoke(build_app(), [*words[:3], "mien-s", "--json", "--quiet"]).stdout)["faces"]
    assert face["emotions"]["happiness"] == pytest.approx(expected["emotions"]["happiness"], abs=1e-5)
    assert face["affect"]["valence"] != pytest.approx(expected["affect"]["valence"], abs=1e-3)
