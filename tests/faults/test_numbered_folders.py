"""Class folders and labels that are bare numbers: they mean nothing until someone says whose numbers they are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from tests.drawn import draw_face
from typer.testing import CliRunner, Result

from mien.cli import build_app
from mien.datasets import Samples, store
from mien.datasets.class_names import NUMBERINGS, ClassOptions, NameOptions, naming
from mien.errors import ConfigError, DataError, MienError

# Written out a second time, from the publications that `NUMBERINGS` names.
PUBLISHED = {
    "fer2013": {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"},
    "ferplus": {0: "neutral", 1: "happiness", 2: "surprise", 3: "sadness"}
    | {4: "anger", 5: "disgust", 6: "fear", 7: "contempt"},
    "affectnet": {0: "neutral", 1: "happiness", 2: "sadness", 3: "surprise"}
    | {4: "fear", 5: "disgust", 6: "anger", 7: "contempt"},
    "rafdb": {1: "surprise", 2: "fear", 3: "disgust", 4: "happiness", 5: "sadness", 6: "anger", 7: "neutral"},
    "ck": {0: "neutral", 1: "anger", 2: "contempt", 3: "disgust", 4: "fear", 5: "happiness", 6: "sadness"}
    | {7: "surprise"},
}


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    return build_app()


def fill(root: Path, names: Sequence[str], count: int = 4) -> Path:
    """One folder of drawn faces for each name; the emotion drawn does not matter here."""
    rng = np.random.default_rng(len(names))
    for index, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count + index):
            Image.fromarray(draw_face("neutral", rng)).save(root / name / f"{number}.png")
    return root


def build(app: typer.Typer, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", "build", *map(str, arguments)])


def refusal(done: Result) -> MienError:
    assert isinstance(done.exception, MienError), done.output
    return done.exception


def classes_by_folder(samples: Samples) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, label in zip(samples.names, samples.labels, strict=True):
        found.setdefault(str(name).split("/")[-2], set()).add(samples.classes[label])
    return found


def test_the_numberings_are_those_published() -> None:
    assert NUMBERINGS == PUBLISHED


def test_bare_numbers_are_refused_and_what_they_could_mean_is_shown(tmp_path: Path, app: typer.Typer) -> None:
    error = refusal(build(app, "folder", fill(tmp_path / "d", list("01234567")), "--out", tmp_path / "d.h5"))
    assert isinstance(error, DataError)
    first, heads, *lines = error.message.splitlines()
    assert first.startswith("the class folders 0, 1, 2, 3, 4, 5, 6, 7 are numbers")
    assert heads.split() == ["number", "images", *PUBLISHED]
    for number, line in enumerate(lines):
        meanings = [known.get(number, "-") for known in PUBLISHED.values()]
        assert line.split() == [str(number), str(4 + number), *meanings]
    assert len(lines) == 8
    assert "--numbers ferplus|affectnet|ck;" in error.hint  # the others lack 0 or 7
    assert "--classes own" in error.hint
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.parametrize("numbers", PUBLISHED)
def test_said_whose_they_are_they_get_their_classes_and_show_them(
    tmp_path: Path, app: typer.Typer, numbers: str
) -> None:
    known = PUBLISHED[numbers]
    root = fill(tmp_path / "d", [str(number) for number in known])
    done = build(app, "folder", root, "--numbers", numbers, "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    samples = store.load(tmp_path / "d.h5")
    assert classes_by_folder(samples) == {str(number): {emotion} for number, emotion in known.items()}
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert rows[0] == ["folder", "class", "train", "val", "test"]
    counts = samples.counts()
    assert rows[1:-1] == [
        [str(number), emotion, *(str(counts[split][emotion]) for split in ("train", "val", "test"))]
        for number, emotion in known.items()
    ]
    assert rows[-1] == ["all", *(str(sum(counts[split].values())) for split in ("train", "val", "test"))]


def test_the_same_order_in_other_numbers_gives_the_same_store(tmp_path: Path) -> None:
    for one, other in (("ferplus", "affectnet"), ("affectnet", "ck")):
        by_emotion = {emotion: str(number) for number, emotion in PUBLISHED[other].items()}
        first = naming([str(number) for number in PUBLISHED[one]], ClassOptions(one))  # type: ignore[arg-type]
        second = naming(list(by_emotion.values()), ClassOptions(other))  # type: ignore[arg-type]
        for number, emotion in PUBLISHED[one].items():
            assert first.place[str(number)] == second.place[by_emotion[emotion]]


@pytest.mark.parametrize(
    "names",
    [
        ("0_angry", "1-disgust", "2. Fear", "happy (3)", "4_SAD", "Surprise-5", "[6] Neutral"),
        ("3_angry", "0-disgust", "1. Fear", "happy (9)", "7_SAD", "Surprise-2", "[5] Neutral"),  # the word counts
        ("Anger", "DISGUST", "afraid", "JOY", "Sadness", "suprise", "neutral"),
        ("angry", "disgusted", "FEARFUL", "Happiness", "sad", "Surprised", "01 neutral"),
    ],
)
def test_words_mean_the_same_with_numbers_beside_them(names: tuple[str, ...]) -> None:
    found = naming(names)
    wanted = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert {name: found.classes[place] for name, place in found.place.items()} == dict(zip(names, wanted, strict=True))


def test_numbers_beside_words_still_need_their_meaning(tmp_path: Path, app: typer.Typer) -> None:
    root = fill(tmp_path / "d", ["0", "happy", "sad", "surprise", "class_4", "fear", "6.0"])
    assert refusal(build(app, "folder", root, "--out", tmp_path / "d.h5")).message.startswith(
        "the class folders 0, 6.0, class_4 are numbers"
    )
    done = build(app, "folder", root, "--numbers", "ferplus", "--classes", "own", "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    found = classes_by_folder(store.load(tmp_path / "d.h5"))
    assert (found["0"], found["class_4"], found["6.0"]) == ({"neutral"}, {"anger"}, {"fear"})
    assert found["fear"] == {"fear"}  # two folders, one class


def test_a_number_that_the_data_set_does_not_have(tmp_path: Path, app: typer.Typer) -> None:
    root = fill(tmp_path / "d", list("01234567"))
    error = refusal(build(app, "folder", root, "--numbers", "fer2013", "--out", tmp_path / "d.h5"))
    assert "the class folders 7 are not numbers of fer2013: 0 anger, 1 disgust" in error.message
    done = build(app, "folder", root, "--numbers", "fer2013", "--map", "7=contempt", "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    assert classes_by_folder(store.load(tmp_path / "d.h5"))["7"] == {"contempt"}


def test_numbers_may_be_classes_of_ones_own(tmp_path: Path, app: typer.Typer) -> None:
    done = build(app, "folder", fill(tmp_path / "d", ["0", "1"]), "--classes", "own", "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    assert store.load(tmp_path / "d.h5").classes == ("0", "1")


def test_words_of_other_languages_can_be_explained(tmp_path: Path, app: typer.Typer) -> None:
    german = dict(zip(("Wut", "Ekel", "Angst", "Freude", "Trauer", "Überraschung", "neutral"), range(7), strict=True))
    root = fill(tmp_path / "d", list(german), count=3)
    error = refusal(build(app, "folder", root, "--out", tmp_path / "d.h5"))
    assert "'Wut'" in error.message
    assert "'neutral'" not in error.message
    assert "--map NAME=EMOTION" in error.hint
    meaning = {"wut": "angry", "EKEL": "disgust", "Angst": "fear", "freude": "joy", "Trauer": "sad"}
    options = [f"--map={name}={emotion}" for name, emotion in (meaning | {"überraschung": "surprise"}).items()]
    done = build(app, "folder", root, *options, "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    samples = store.load(tmp_path / "d.h5")
    assert {name: samples.classes.index(min(found)) for name, found in classes_by_folder(samples).items()} == german


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": "imagenet"}, "numbers: unknown 'imagenet'"),
        ({"map": ("wut",)}, "map: expected NAME=EMOTION, got 'wut'"),
        ({"map": ("=anger",)}, "map: expected NAME=EMOTION"),
        ({"map": ("wut=rage",)}, "map: in 'wut=rage', 'rage' is not an emotion"),
        ({"map": ("wut=anger", "WUT=fear")}, "is both anger and fear"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NameOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ClassOptions("ck", classes="own"), "no name is a bare number; found happy, sad"),
        (ClassOptions(map=("glad=joy",), classes="own"), "there is no 'glad'"),
    ],
)
def test_options_that_change_nothing_are_mistakes(options: ClassOptions, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        naming(["happy", "sad"], options)


def write_pixels(path: Path, header: str, labels: Sequence[str]) -> Path:
    rng = np.random.default_rng(5)
    lines = [f"{label},{' '.join(map(str, draw_face('fear', rng).ravel()))}" for label in labels]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_numbers_in_a_csv_file_of_unknown_origin_are_refused_too(tmp_path: Path, app: typer.Typer) -> None:
    labels = [str(number) for number in range(8) for _ in range(4)]
    path = write_pixels(tmp_path / "faces.csv", "label,pixels", labels)
    error = refusal(build(app, "fer2013", "--csv", path, "--out", tmp_path / "d.h5"))
    assert error.message.startswith("the labels 0, 1, 2, 3, 4, 5, 6, 7 are numbers")
    assert "7       4       -          contempt" in error.message
    assert "own" not in error.hint
    done = build(app, "fer2013", "--csv", path, "--numbers", "affectnet", "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    samples = store.load(tmp_path / "d.h5")
    assert len(samples.classes) == 8
    row = {str(name): samples.classes[label] for name, label in zip(samples.names, samples.labels, strict=True)}
    assert all(row[str(index)] == PUBLISHED["affectnet"][int(label)] for index, label in enumerate(labels))
    assert "  label  class      train  val  test" in done.stdout


def test_words_in_a_csv_file_need_no_numbers(tmp_path: Path, app: typer.Typer) -> None:
    words = ("Angry", "fear", "happy", "sad", "surprise", "neutral", "disgust")
    path = write_pixels(tmp_path / "faces.csv", "Label,pixels", [word for word in words for _ in range(4)])
    done = build(app, "fer2013", "--csv", path, "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    assert store.load(tmp_path / "d.h5").counts()["train"]["anger"] == 2


def test_the_codes_of_fer2013_are_known_by_the_columns(tmp_path: Path, app: typer.Typer) -> None:
    path = write_pixels(tmp_path / "ck.csv", "emotion,pixels", [str(code) for code in range(8) for _ in range(4)])
    error = refusal(build(app, "fer2013", "--csv", path, "--out", tmp_path / "d.h5"))
    assert "emotion is '7', expected 0 to 6" in error.message
    assert "--map 7=contempt" in error.hint
    done = build(app, "fer2013", "--csv", path, "--map", "7=contempt", "--out", tmp_path / "d.h5")
    assert done.exit_code == 0, done.output
    assert store.load(tmp_path / "d.h5").counts()["train"] == dict.fromkeys(store.load(tmp_path / "d.h5").classes, 2)
