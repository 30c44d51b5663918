"""The command that keeps classic networks: scores in recipes, entries, the ensemble's members, and the curves."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.assets.manifest import read_manifest
from mien.assets.store import open_model
from mien.datasets import Samples, store
from mien.files import sha256
from mien.training.recipe import RunRecipe, changed, load, recipe_names, to_toml
from scripts import classics, tables

RECIPES = classics.RECIPES


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of the project, empty, in another place."""
    monkeypatch.setattr(classics, "SCORES", tmp_path / "scores")
    monkeypatch.setattr(classics, "CURVES", tmp_path / "curves")
    monkeypatch.setattr(classics, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(classics, "ENTRIES", tmp_path / "classics.toml")
    monkeypatch.setattr(classics, "FIGURE", tmp_path / "curves.png")
    for name in ("scores", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "classics.toml").write_text("# A comment.\nformat = 1\n")
    return tmp_path


def found(value: float, classes: int = 7) -> dict[str, object]:
    """An evaluation, as `mien evaluate --out` writes it, of what is read here."""
    accuracy = {"value": value, "low": value - 0.015, "high": value + 0.015}
    return {
        "split": "val",
        "tta": "none",
        "protocols": {"labels": {"accuracy": accuracy, "classes": [{"emotion": str(n)} for n in range(classes)]}},
    }


def written_run(folder: Path, recipe: RunRecipe, epochs: int, *, stage: int = 0, done: bool = True) -> Path:
    """A run's folder, of what is read here: its recipe, the metrics of each epoch, and how far it is."""
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    rows = "".join(f"{epoch},1.5,0.4\n" for epoch in range(epochs))
    (folder / "metrics.csv").write_text(f"epoch,val/loss,val/fer2013/accuracy\n{rows}")
    torch.save({"state": {"epoch": epochs, "stage": stage, "done": done}}, folder / "last.ckpt")
    return folder


def test_scores_replace_those_of_two_epochs_and_keep_the_recipe() -> None:
    text = (classics.RECIPES / "fourlayer.toml").read_text(encoding="utf-8")
    plain = tomllib.loads(text)
    short = tomllib.loads(classics.scored(text, found(0.61234567), {"epochs": 10, "changes": ["epochs=10"]}))
    figures = {"accuracy": 0.612346, "low": 0.597346, "high": 0.627346}
    told = {"epochs": 10, "changes": ["epochs=10"]}
    assert short["score"] == [{"protocol": "FER2013", "split": "val", **figures, **told}]
    full = tomllib.loads(classics.scored(text, found(0.6), {}))
    assert "epochs" not in full["score"][0]
    for each in (short, full):
        assert {**each, "score": []} == {**plain, "score": []}


@pytest.mark.parametrize(
    ("settings", "epochs", "stage", "done", "expected"),
    [
        ([], 100, 2, True, {}),
        ([], 43, 2, True, {"epochs": 43, "stopped_early": True}),
        ([], 43, 0, False, {"epochs": 43}),  # interrupted
        ([], 43, 0, True, {"epochs": 43}),  # interrupted between two stages
        (["stages=[]"], 70, 0, True, {"epochs": 70, "changes": ["stages=[]"]}),
        (["stages=[]", "epochs=60"], 45, 0, True, {"epochs": 45, "changes": ["epochs=60", "stages=[]"]}),
    ],
)
def test_a_run_is_compared_with_all_stages_of_the_recipe(
    tmp_path: Path, settings: list[str], epochs: int, stage: int, done: bool, expected: dict[str, object]
) -> None:
    run = written_run(tmp_path / "run", load("emonet", settings), epochs, stage=stage, done=done)
    assert classics.trained(run, load("emonet")) == expected


def test_changes_are_settings_that_make_the_run_out_of_the_recipe(tmp_path: Path) -> None:
    settings = ["schedule.final=0.0", "stages=[{epochs = 5, lr = 0.01}]", "heads.votes.source=votes", "init_from=a.b"]
    settings += ["stopping=none"]  # as `_value` writes what a run lacks
    own = load("emonet", [*settings, "description=other"])
    changes = classics.trained(written_run(tmp_path / "run", own, 3), load("emonet"))["changes"]
    assert {"schedule.final=0.0", "stages=[{epochs = 5, lr = 0.01}]", "init_from=a.b", "stopping=none"} < set(changes)
    assert load("emonet", [*changes, "description=other"]) == own


def test_the_opening_of_a_recipe_names_no_machine_that_nobody_named() -> None:
    text = "# Hardware: 2 cores of an x, two epochs only.\n# Minutes: 3.8 for the two epochs.\nname = 'x'\n"
    assert classics.Notes().written(text) == "# Hardware: not recorded.\n# Minutes: not recorded.\nname = 'x'\n"
    given = classics.Notes(r"one GPU \1.", 95).written(text)
    assert given == "# Hardware: one GPU \\1.\n# Minutes: 95.\nname = 'x'\n"


def test_a_run_is_kept(
    place: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: object) -> bool:
        out = Path(str(words[words.index("--out") + 1]))
        if words[0] == "export":
            shutil.copy(tiny_model, out)
            entry = tiny_model.with_suffix(".entry.toml").read_text()
            out.with_suffix(".entry.toml").write_text(entry.replace(tiny_model.name, out.name))
        elif words[0] == "evaluate":
            out.write_text(json.dumps(found(0.6)))
        return words[0] != "quantize"

    monkeypatch.setattr(classics, "mien", command)
    monkeypatch.setattr(classics, "RECIPES", place / "recipes")
    (place / "recipes").mkdir()
    for name in ("emonet", "fourlayer-strided"):
        shutil.copy(RECIPES / f"{name}.toml", place / "recipes")
    run = written_run(place / "run", load("emonet", ["augmentation.scale=1.2"]), 60, stage=2)
    classics.main(["keep", str(run), "fer.h5"])
    (score,) = load(place / "recipes" / "emonet.toml").score
    assert (score.accuracy, score.epochs, score.stopped_early) == (0.6, 60, True)
    assert score.changes == ("augmentation.scale=1.2",)
    text = (place / "recipes" / "emonet.toml").read_text()
    assert "# Hardware: not recorded.\n# Minutes: not recorded.\n" in text
    assert [path.name for path in (place / "weights").iterdir()] == ["emonet.onnx"]

    run = written_run(place / "variant", load("fourlayer-strided"), 50)
    files = place / "files"
    classics.main(["keep", str(run), "fer.h5", "--hardware", "a GPU", "--minutes", "9.5", "--out", str(files)])
    assert "# Hardware: a GPU.\n# Minutes: 9.5.\n" in (place / "recipes" / "fourlayer-strided.toml").read_text()
    assert [path.name for path in files.iterdir()] == ["fourlayer-strided.onnx"]
    assert not (place / "weights" / "fourlayer-strided.onnx").exists()
    assert "not finished" not in capsys.readouterr().out


def test_an_entry_is_added_and_replaced(place: Path, tiny_model: Path) -> None:
    info, _ = open_model(tiny_model)
    for name in ("one", "two", "one"):
        shutil.copy(tiny_model, place / "weights" / f"{name}.onnx")
        file = f"{name}.onnx"
        classics.add_entry(type(info)(**{**vars(info), "name": name, "file": file, "sha256": sha256(tiny_model)}))
    text = (place / "classics.toml").read_text()
    assert text.startswith("# A comment.\n")
    assert set(read_manifest(text, "x")) == {"one", "two"}
    assert tomllib.loads(text)["sizes"] == dict.fromkeys(("one", "two"), tiny_model.stat().st_size)


def test_members_of_the_ensemble_are_near_the_best(place: Path, tiny_model: Path) -> None:
    info, _ = open_model(tiny_model)
    for name, value, classes in (
        ("emonet", 0.66, 7),
        ("inception-v1", 0.65, 7),
        ("fourlayer", 0.61, 7),
        ("emonet6", 0.68, 6),
    ):
        shutil.copy(tiny_model, place / "weights" / f"{name}.onnx")
        classics.add_entry(type(info)(**{**vars(info), "name": name, "file": f"{name}.onnx", "sha256": "0" * 64}))
        (place / "scores" / f"{name}.json").write_text(json.dumps(found(value, classes)))
    (place / "scores" / "tflearn.json").write_text(json.dumps(found(0.67)))  # its file is too large to be kept
    assert classics.members() == (["emonet", "inception-v1"], ["tflearn"])


def test_a_vote_that_fails_is_an_error_and_says_who_is_left_out(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classics, "members", lambda: (["emonet", "inception-v1"], ["tflearn"]))
    monkeypatch.setattr(classics, "mien", lambda *words: False)
    with pytest.raises(SystemExit, match=r"emonet \+ inception-v1: cannot be evaluated"):
        classics.main(["vote", str(place / "fer.h5")])
    assert "left out, because their files are not kept in weights/: tflearn" in capsys.readouterr().out
    monkeypatch.setattr(classics, "mien", lambda *words: True)
    classics.main(["vote", str(place / "fer.h5")])


def test_a_difference_between_networks_is_paired() -> None:
    first = np.array([True] * 60 + [False] * 40)
    other = np.array([True] * 50 + [False] * 50)
    difference = classics.paired(first, other)
    assert difference["accuracy"]["value"] == pytest.approx(-0.1)
    assert -0.17 < difference["accuracy"]["low"] < difference["accuracy"]["high"] < -0.04  # unpaired: -0.24 to 0.04
    assert difference["mcnemar"] == {"first_only": 10, "this_only": 0, "p": pytest.approx(2 / 2**10)}


def test_ablations_are_compared_on_the_same_faces(
    place: Path, tiny_model: Path, tiny_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SCORES", place / "scores")
    store.save(tiny_samples, place / "tiny.h5")
    files = [place / "fourlayer-int8.onnx", place / "fourlayer-strided.onnx"]
    for file in files:
        shutil.copy(tiny_model, file)
    classics.main(["ablations", str(place / "tiny.h5"), *map(str, files)])
    kept = json.loads((place / "scores" / "ablations.json").read_text())
    assert kept["faces"] == len(tiny_samples.only("val"))
    assert kept["differences"] == {
        "fourlayer-strided": {
            "accuracy": {"value": 0.0, "low": 0.0, "high": 0.0},
            "mcnemar": {"first_only": 0, "this_only": 0, "p": 1.0},
        }
    }
    for wrong in (files[1:], files[:1], [*files, tiny_model]):
        with pytest.raises(SystemExit, match="give one file each of fourlayer and of some of"):
            classics.ablations(place / "tiny.h5", wrong)


def test_the_table_of_ablations_has_differences_of_the_present_scores_only(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SCORES", place / "scores")
    ends = {"fourlayer": (0.5631, 0.55, 0.58), "other": (0.5013, 0.48, 0.52)}
    scores = {name: {"accuracy": dict(zip(("value", "low", "high"), end, strict=True))} for name, end in ends.items()}
    apart = "-6.2 (-8.7 to -3.7), unpaired"  # the half widths 1.5 and 2.0 make 2.5
    assert tables._ablated("other", scores) == apart
    assert tables._ablated("third", scores) == "-"
    content = {
        "reference": "fourlayer",
        "accuracy": {"fourlayer": 0.5631, "other": 0.5013},
        "differences": {"other": {"accuracy": {"value": -0.0618, "low": -0.08, "high": -0.04}, "mcnemar": {"p": 1e-6}}},
    }
    (place / "scores" / "ablations.json").write_text(json.dumps(content))
    assert tables._ablated("other", scores) == "-6.2 (-8.0 to -4.0); p < 0.001"
    assert tables._ablated("fourlayer", scores) == "-"
    scores["other"]["accuracy"]["value"] = 0.5012  # trained again
    assert tables._ablated("other", scores) == apart


def test_the_table_of_ablations_names_the_epochs() -> None:
    head = tables.ablations().splitlines()[0]
    assert "after 20 epochs, %" in head
    assert "difference to fourlayer" in head


def test_a_difference_to_a_claim_says_what_it_was_measured_on() -> None:
    score = load("fourlayer").score[0]
    alike = classics.Claim(50.0, "labels", "PublicTest")
    assert tables._classic_cells("fourlayer", alike, score)[-1].startswith("+")
    unlike = tables._classic_cells("fourlayer", alike._replace(unlike="other set"), score)[-1]
    assert unlike.startswith("+")
    assert unlike.endswith(" (other set)")
    assert all(claim.unlike for claim in classics.CLAIMS.values() if claim and claim.on != "PublicTest")


def test_the_table_of_classics_tells_early_stopping_from_changes() -> None:
    planned = load("fourlayer").total_epochs
    score = load("fourlayer").score[0].model_copy(update={"epochs": 43, "changes": ("epochs=43",)})
    assert tables._classic_cells("fourlayer", None, score)[0] == f"43 of {planned}"
    stopped = score.model_copy(update={"stopped_early": True, "changes": ("optimizer.lr=0.1",)})
    assert tables._classic_cells("fourlayer", None, stopped)[0] == f"43 of {planned}, stopped early, changed"
    whole = score.model_copy(update={"epochs": None, "changes": ()})
    assert tables._classic_cells("fourlayer", None, whole)[0] == f"{planned} of {planned}"


def test_curves_are_of_classic_recipes_and_have_their_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = place / "runs"
    written_run(runs / "again", load("emonet"), 9)
    written_run(runs / "emonet", load("emonet"), 3)
    written_run(runs / "pooled", load("fourlayer-strided"), 2)
    written_run(runs / "twin", load("fourlayer", ["name=image-twin"]), 2)
    for name in ("resnet18-imagenet", "mien-s", "mien-detector"):
        written_run(runs / name, load("mien-s" if name.startswith("res") else name), 2)
    classics.main(["curves", str(runs)])
    kept = {path.stem: json.loads(path.read_text()) for path in (place / "curves").iterdir()}
    assert set(kept) == {"emonet", "fourlayer-strided", "image-twin"}
    assert {name: each["name"] for name, each in kept.items()} == {name: name for name in kept}
    assert (kept["emonet"]["epochs"], kept["emonet"]["planned"]) == (3, 100)
    assert f"{runs / 'again'}: left out" in capsys.readouterr().out


def test_curves_are_those_of_the_run_and_can_be_looked_at(place: Path, tiny_run: Path) -> None:
    runs = place / "runs"
    shutil.copytree(tiny_run, runs / "tiny")
    recipe = runs / "tiny" / "recipe.toml"
    recipe.write_text(to_toml(changed(load(recipe), ["name=emonet"])), encoding="utf-8")
    classics.curves(runs)
    kept = json.loads((place / "curves" / "emonet.json").read_text())
    lines = (tiny_run / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/fer2013/accuracy")
    assert kept["series"]["val/fer2013/accuracy"] == [round(float(row.split(",")[column]), 4) for row in lines[1:]]
    assert kept["epochs"] == kept["planned"] == len(lines) - 1
    with Image.open(place / "curves.png") as image:
        assert image.width > 800
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10


def test_every_classic_is_a_recipe_and_every_score_names_its_interval() -> None:
    assert set(classics.CLAIMS) <= set(recipe_names())
    for name in classics.CLAIMS:
        for score in load(name).score:
            if score.epochs != 2:
                assert score.low is not None
                assert score.high is not None
                assert score.low <= score.accuracy <= score.high


def test_scores_in_recipes_are_those_of_the_evaluations_rounded_once() -> None:
    """A table rounds the evaluation, and `mien models list` rounds the recipe."""
    for name in recipe_names():
        if found := classics.evaluation(name):
            for score in load(name).score:
                (key,) = (key for key, title in classics.PROTOCOLS.items() if title == score.protocol)
                accuracy = found["protocols"][key]["accuracy"]
                kept = {"value": score.accuracy, "low": score.low, "high": score.high}
                assert kept == {part: round(value, 6) for part, value in accuracy.items()}, name


def test_changes_in_recipes_are_settings_of_theirs() -> None:
    changes = {name: load(name).score[0].changes for name in recipe_names() if load(name).score}
    assert any(changes.values())
    for name, settings in changes.items():
        own, shipped = (each.model_dump(mode="json") for each in (load(name, settings), load(name)))
        assert list(classics._changes(own, shipped)) == list(settings), name
