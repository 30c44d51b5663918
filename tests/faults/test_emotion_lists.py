"""Lists of emotions: names and aliases, subsets whose probabilities are renormalised, and lists that make no sense."""

import csv
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import draw_face, drawn_samples
from tests.expression.test_ensemble import linear_model

import mien
from mien import emotions
from mien.datasets import Samples, store
from mien.errors import ConfigError, DataError, MienError
from mien.evaluation import evaluate_model
from mien.expression import ClassifierOptions, load_classifier
from mien.results import Expression


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [draw_face(name, rng) for name in ("happiness", "sadness", "anger", "surprise")]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=6)


@pytest.fixture(scope="module")
def place(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a crop, and models of seven classes and of a user's own."""
    folder = tmp_path_factory.mktemp("lists")
    store.save(samples, folder / "faces.h5")
    Image.fromarray(draw_face("happiness", np.random.default_rng(0))).save(folder / "face.png")
    linear_model(folder / "seven.onnx", emotions.vocabulary(7), size=32)
    linear_model(folder / "own.onnx", ("happy", "grumpy", "Type A"), size=32)
    return folder


def of_model(place: Path, name: str, *chosen: str) -> tuple[str, ...]:
    return load_classifier(ClassifierOptions(place / f"{name}.onnx", emotions=chosen)).emotions


def command(place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_command(*words, cwd=place)


def test_aliases_choose_classes(astronaut: Path) -> None:
    face = mien.analyze(astronaut, emotions=["happy", "sad"])[0]
    assert face.expression is not None
    assert face.expression.emotions == ("happiness", "sadness")
    assert face.expression.probabilities.sum() == pytest.approx(1)
    assert face.emotion == "happiness"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("Happy", " SAD "), ("happiness", "sadness")),
        (("joy", "angry", "scared"), ("happiness", "anger", "fear")),
        (("surprised", "disgusted", "fearful"), ("surprise", "disgust", "fear")),
        (("Not-a-Face", "neutral"), ("not_a_face", "neutral")),
        (("sadness", "anger"), ("sadness", "anger")),
    ],
)
def test_every_spelling(given: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert load_classifier(ClassifierOptions("mien-s", emotions=given)).emotions == found
    assert load_classifier(ClassifierOptions("mien-s")).with_classes(given).emotions == found


def test_one_text_with_commas_a_set_and_a_numpy_number() -> None:
    assert ClassifierOptions(emotions="happy, sad").emotions == ("happy", "sad")  # type: ignore[arg-type]
    assert ClassifierOptions(emotions={"sad", "happy"}).emotions == ("happy", "sad")  # type: ignore[arg-type]
    assert ClassifierOptions(emotions=np.int64(7)).emotions == 7  # type: ignore[arg-type]


def test_a_models_own_classes_are_found_by_name_case_and_alias(place: Path) -> None:
    assert of_model(place, "own", "grumpy", "happy") == ("grumpy", "happy")
    assert of_model(place, "own", "joy", "GRUMPY") == ("happy", "grumpy")
    assert of_model(place, "own", "type a", "happiness") == ("Type A", "happy")
    with pytest.raises(ConfigError, match="'grumpi' is not an emotion") as caught:
        of_model(place, "own", "grumpi", "happy")
    assert "did you mean grumpy?" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot tell these 2 emotions apart") as caught:
        of_model(place, "own", "sad", "happy")
    assert "does not know sadness" in caught.value.hint


def test_probabilities_of_a_subset_are_those_of_the_model_renormalised(faces: list[np.ndarray]) -> None:
    seven = load_classifier(ClassifierOptions("mien-s", emotions=7))
    chosen = ("happiness", "anger")  # disgust is not added to anger: that is the vocabulary of six
    all_of_them = seven.predict_proba(faces)
    columns = all_of_them[:, [seven.emotions.index(name) for name in chosen]]
    found = seven.with_classes(chosen).predict_proba(faces)
    np.testing.assert_allclose(found, columns / columns.sum(axis=1, keepdims=True), rtol=1e-4)
    six = seven.with_classes(6).predict_proba(faces)
    np.testing.assert_allclose(six[:, 0], all_of_them[:, 0] + all_of_them[:, 1], rtol=1e-4)


def test_ensembles_abstain_and_views(place: Path, faces: list[np.ndarray]) -> None:
    options = ClassifierOptions(
        ("mien-s", place / "seven.onnx"), emotions=("joy", "sad", "contempt"), abstain=0.9, tta="flip", vote="hard"
    )
    found = load_classifier(options)(faces)
    assert {each.emotions for each in found} == {("happiness", "sadness", "contempt")}
    assert all(each.uncertain == (each.confidence < 0.9) for each in found)
    assert all(each.probabilities.sum() == pytest.approx(1, abs=1e-5) for each in found)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (("happy", "joy"), "'happy' and 'joy' are the same class, happiness", "once"),
        (("sad", "sad"), "'sad' and 'sad' are the same class", "once"),
        (("happy",), "expected at least two names, got only 'happy'", "always 1"),
        (("hapy", "sad"), "'hapy' is not an emotion", "did you mean happiness?"),
        (("calm", "sad"), "'calm' is not an emotion", "did you mean neutral?"),
        (("bored", "sad"), "'bored' is not an emotion", "known: anger"),
        (("7", "8"), "'7' is not an emotion", "stands alone"),
        ((), "expected at least one name", "neutral"),
        (("happy", ""), "an empty name", "neutral"),
        ((1, 2), "expected a number of classes", "7"),
        (3.5, "expected a number of classes", "7"),
        (9, "no vocabulary of 9", "6, 7, 8, 10"),
    ],
)
def test_lists_that_make_no_sense(given: object, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mien.Analyzer(classifier="mien-s", emotions=given)  # type: ignore[arg-type]
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_expression_is_asked_by_alias() -> None:
    found = Expression(np.asarray([0.75, 0.25], np.float32), ("happiness", "sadness"))
    assert found["Happy"] == found["joy"] == found["happiness"] == 0.75
    with pytest.raises(KeyError, match="this expression has happiness, sadness"):
        found["anger"]


def test_an_evaluation_leaves_out_faces_of_other_classes(samples: Samples) -> None:
    val = samples.only("val")
    options = ClassifierOptions("mien-s", emotions=("sad", "happy"))
    (scores,) = evaluate_model(options, val, split="val", protocols=["argmax"]).scores.values()
    whole = evaluate_model("mien-s", val, split="val", protocols=["argmax"]).scores["argmax"]
    assert scores.classes == ("sadness", "happiness")
    counts = {row.name: row.support for row in whole.rows}
    assert scores.n == counts["sadness"] + counts["happiness"] > 0
    assert scores.n + scores.dropped == whole.n + whole.dropped == len(val)
    assert "only faces of happiness, sadness" in scores.protocol


def test_an_evaluation_of_six_counts_disgust_as_anger(samples: Samples) -> None:
    val = samples.only("val")
    whole = evaluate_model("mien-s", val, split="val", protocols=["argmax"]).scores["argmax"]
    scores = evaluate_model(ClassifierOptions("mien-s", emotions=6), val, split="val").scores["argmax"]
    before, after = ({row.name: row.support for row in each.rows} for each in (whole, scores))
    assert after["anger"] == before["anger"] + before["disgust"] > before["anger"] > 0


def test_an_evaluation_says_what_the_labels_lack(samples: Samples) -> None:
    val = replace(samples.only("val"), votes=None)
    with pytest.raises(ConfigError, match="do not have contempt"):
        evaluate_model(ClassifierOptions("mien-s", emotions=("contempt", "neutral")), val, split="val")
    neither = val.subset(np.flatnonzero(val.labels >= 2))
    with pytest.raises(DataError, match="no faces of anger, disgust"):
        evaluate_model(ClassifierOptions("mien-s", emotions=("anger", "disgust")), neither, split="val")


def test_the_command_and_its_table(place: Path) -> None:
    words = (
        "face.png",
        "--faces-are-crops",
        "--model",
        "mien-s",
        "--emotions",
        "Sad,joy",
        "--table",
        "t.csv",
        "--json",
    )
    done = command(place, "analyze", *words)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["faces"][0]["emotions"]) == ["sadness", "happiness"]
    (row,) = csv.DictReader((place / "t.csv").read_text(encoding="utf-8").splitlines())
    assert "anger" not in row
    assert float(row["sadness"]) + float(row["happiness"]) == pytest.approx(1, abs=1e-5)


def test_the_command_evaluates_a_subset(place: Path) -> None:
    done = command(place, "evaluate", "faces.h5", "--model", "seven.onnx", "--emotions", "happy,sad")
    assert done.returncode == 0, done.stderr
    assert "only faces of happiness, sadness" in done.stdout


def test_aliases_lead_to_one_emotion_each() -> None:
    for alias, noun in emotions.ALIASES.items():
        assert emotions.find(alias.upper(), emotions.ALL) == noun
    with pytest.raises(MienError, match="'envy' is not an emotion"):
        emotions.find("envy", emotions.ALL)
