"""Valence and arousal learned from a CSV list: from the list to `mien analyze`, with real commands."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.commands import run_command

from mien.datasets import store
from mien.evaluation.affect import concordance as measured
from mien.training.expression.affect import concordance, concordance_loss, joined_moments, moments

RECIPE = """
name = "rated"
epochs = 16
batch_size = 12
seed = 3
precision = "32-true"
ema_decay = 0.8
monitor = "val/affect/ccc"

[model]
name = "plain"

[model.options]
stem = 8
widths = [16, 24]
depths = [1, 2]
dropout = 0.0

[heads.emotion]
source = "labels"

[heads.affect]
source = "affect"
loss = "ccc"

[augmentation]
rotation = 5.0
scale = 1.05
stretch = 1.0
shear = 0.0
shift = 0.03
downscale = 0.0
erase = 0.0
mixup = 0.0

[optimizer]
name = "adamw"
lr = 0.02
"""


def drawn(valence: float, arousal: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A face whose mouth bends with the valence and whose eyes open with the arousal; size, place and light vary."""
    skin, dark = rng.uniform(130, 230), rng.uniform(10, 60)
    canvas = np.full((192, 192), rng.uniform(40, 220), np.float32)
    x, y, unit = 96 + rng.uniform(-8, 8), 96 + rng.uniform(-8, 8), rng.uniform(66, 80)
    cv2.ellipse(canvas, (round(x), round(y)), (round(0.8 * unit), round(unit)), 0, 0, 360, skin, -1)
    for side in (-1, 1):
        place = round(x + side * 0.32 * unit), round(y - 0.25 * unit)
        cv2.ellipse(canvas, place, (round(0.2 * unit), round((0.13 + 0.11 * arousal) * unit)), 0, 0, 360, dark, -1)
    across = np.linspace(-1, 1, 15)
    points = np.stack([x + 0.4 * unit * across, y + 0.5 * unit - 0.36 * unit * valence * (across**2 - 0.5)], axis=1)
    cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, dark, 11, cv2.LINE_AA)
    small = cv2.resize(canvas, (48, 48), interpolation=cv2.INTER_AREA)
    face: NDArray[np.uint8] = np.clip(small + rng.normal(0, 5, small.shape), 0, 255).astype(np.uint8)
    return face


def write_list(folder: Path, people: int = 80, each: int = 6) -> Path:
    """A list of drawn faces: some rows have no label, others no valence and arousal."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(people * each):
        valence, arousal = rng.uniform(-1, 1, 2)
        name = f"face{number:04}.png"
        Image.fromarray(drawn(valence, arousal, rng)).save(folder / name)
        values = [f"{valence:.3f}", f"{arousal:.3f}"]
        label = "happy" if valence > 0 else "sad"
        if number % 10 == 3:
            label = ""
        elif number % 10 == 7:
            values = ["", ""]
        rows.append([name, label, *values, f"person{number // each}"])
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "valence", "arousal", "subject"], *rows])
    return folder / "list.csv"


def mien(*words: object) -> str:
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the list, its store, the run and the exported file."""
    folder = tmp_path_factory.mktemp("rated")
    options = ["--classes", "own", "--val", "0.2", "--out", folder / "faces.h5"]
    mien("data", "build", "listed", write_list(folder / "faces"), *options)
    (folder / "recipe.toml").write_text(RECIPE)
    mien("train", folder / "recipe.toml", "--data", folder / "faces.h5", "--out", folder / "run", "--quiet")
    mien("export", folder / "run", "--data", folder / "faces.h5", "--out", folder / "rated.onnx")
    return folder


def test_the_network_learns_both_dimensions_of_people_it_has_never_seen(place: Path) -> None:
    found = json.loads(mien("evaluate", place / "faces.h5", "--model", place / "rated.onnx", "--json"))["affect"]
    assert found["predictions"] == "an output of the network"
    for name in ("valence", "arousal"):
        assert found[name]["ccc"]["value"] >= 0.85
        assert found[name]["ccc"]["low"] <= found[name]["ccc"]["value"] <= found[name]["ccc"]["high"]
        assert found[name]["rmse"]["value"] <= 0.3
    text = mien("evaluate", place / "faces.h5", "--model", place / "rated.onnx")
    assert "valence and arousal, an output of the network:" in text
    assert "CCC 0." in text


def test_the_figures_of_the_run_are_those_of_the_exported_file(place: Path) -> None:
    with (place / "run" / "metrics.csv").open() as file:
        best = max(float(row["val/affect/ccc"]) for row in csv.DictReader(file))
    found = json.loads(mien("evaluate", place / "faces.h5", "--model", place / "rated.onnx", "--json"))["affect"]
    exported = (found["valence"]["ccc"]["value"] + found["arousal"]["ccc"]["value"]) / 2
    assert exported == pytest.approx(best, abs=0.002)


def test_the_analyzer_writes_what_the_network_says_and_not_the_expectation(place: Path) -> None:
    rng = np.random.default_rng(8)
    wanted = [(0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8)]
    for number, pair in enumerate(wanted):
        Image.fromarray(drawn(*pair, rng)).save(place / f"new{number}.png")
    files = [place / f"new{number}.png" for number in range(4)]
    words = ["--model", place / "rated.onnx", "--faces-are-crops", "--json"]
    lines = mien("analyze", *files, *words).splitlines()
    found = [json.loads(line)["faces"][0]["affect"] for line in lines]
    for (valence, arousal), affect in zip(wanted, found, strict=True):
        assert affect["valence"] == pytest.approx(valence, abs=0.45)
        assert affect["arousal"] == pytest.approx(arousal, abs=0.45)  # the table gives sadness -0.27, always
    (place / "own.csv").write_text("emotion,valence,arousal\nhappiness,1,0\nsadness,-1,0\n")
    own = mien("analyze", files[0], *words, "--affect-table", place / "own.csv")
    assert json.loads(own)["faces"][0]["affect"]["arousal"] == 0  # your own table counts more than the network


def test_a_model_without_such_an_output_is_scored_by_its_expectation(place: Path) -> None:
    (found,) = [
        json.loads(mien("evaluate", place / "faces.h5", "--model", "mien-s", "--emotions", "happy,sad", "--json"))
    ]
    assert found["affect"]["predictions"] == "the expectation of the classes' coordinates"
    assert -1 <= found["affect"]["valence"]["ccc"]["value"] <= 1


def test_another_run_starts_from_all_heads(place: Path) -> None:
    """The regressor's weights are taken over, not only those of the classes."""
    words = ["--from", place / "rated.safetensors", "--data", place / "faces.h5", "--set", "epochs=1"]
    done = run_command("train", place / "recipe.toml", *words, "--out", place / "again", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "re-initialised" not in done.stderr


def test_data_without_ratings_needs_no_such_head(place: Path, tmp_path: Path) -> None:
    samples = store.load(place / "faces.h5")
    store.save(type(samples)(**{**vars(samples), "affect": None}), tmp_path / "plain.h5")
    words = ["train", place / "recipe.toml", "--data", tmp_path / "plain.h5", "--out", tmp_path / "run", "--quiet"]
    refused = run_command(*words)
    assert refused.returncode == 2
    assert "learns valence and arousal, and the data has none" in refused.stderr
    settings = ["--set", "heads.affect.optional=true", "--set", "epochs=1", "--set", "monitor=val/loss"]
    done = run_command(*words, *settings)
    assert done.returncode == 0, done.stderr
    assert "the head 'affect' is left out" in done.stderr


def test_the_loss_is_that_of_the_definition_and_leaves_unknown_rows_out() -> None:
    rng = np.random.default_rng(0)
    predicted, target = rng.normal(0, 0.5, (50, 2)).clip(-1, 1), rng.uniform(-1, 1, (50, 2))
    wanted = []
    for x, y in zip(predicted.T, target.T, strict=True):
        pearson = np.corrcoef(x, y)[0, 1]  # Lin's definition, by correlation, spreads and means
        wanted.append(2 * pearson * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
    here = concordance(torch.tensor(predicted), torch.tensor(target))
    assert here.tolist() == pytest.approx(wanted, abs=1e-5)
    assert measured(predicted.T, target.T).tolist() == pytest.approx(wanted)
    unknown = np.concatenate([target, np.full((9, 2), np.nan)])
    loss = concordance_loss(torch.tensor(np.concatenate([predicted, np.ones((9, 2))])), torch.tensor(unknown))
    assert float(loss) == pytest.approx(1 - np.mean(wanted), abs=1e-5)
    parts = [
        moments("a", torch.tensor(predicted[rows]), torch.tensor(target[rows])) for rows in (slice(20), slice(20, 50))
    ]
    means = {key: float(sum(part[key][0] for part in parts)) / 50 for key in parts[0]}
    found = joined_moments("a", means)
    assert found["val/a/ccc"] == pytest.approx(np.mean(wanted))
    assert found["val/a/rmse"] == pytest.approx(np.sqrt(((predicted - target) ** 2).mean(axis=0)).mean())


def test_a_batch_with_one_rated_face_changes_nothing() -> None:
    values = torch.zeros(4, 2, requires_grad=True)
    target = torch.full((4, 2), torch.nan)
    target[0] = 0.5
    loss = concordance_loss(values, target)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert values.grad is not None
    assert not values.grad.any()
