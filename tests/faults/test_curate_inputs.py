"""`mien curate` on data that has too little of something, or is something else: a sentence, never a traceback."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import draw_face

from mien.datasets import Samples, store
from mien.datasets.samples import NO_LABEL


def faces(labels: list[int], classes: tuple[str, ...] = ("happiness", "sadness")) -> Samples:
    places = np.array(labels, np.int64)
    images = [draw_face(classes[max(label, 0)], np.random.default_rng([1, row])) for row, label in enumerate(labels)]
    targets = np.zeros((len(labels), len(classes)), np.float32)
    targets[np.flatnonzero(places >= 0), places[places >= 0]] = 1
    names = np.array([f"f{row}" for row in range(len(labels))])
    return Samples(np.stack(images), places, classes, np.zeros(len(labels), np.uint8), targets, names)


def curated(samples: Samples, tmp_path: Path, *options: object) -> tuple[int, dict[str, object], str]:
    """The exit code, the JSON and the messages for a store."""
    store.save(samples, tmp_path / "data.h5")
    done = run_command("curate", tmp_path / "data.h5", "--out", tmp_path / "out", "--json", *options)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([NO_LABEL] * 6, "no image has a label, so labels were not judged"),
        ([0] * 6, "labels were not judged: fewer than two classes have two different images"),
        ([0, 1], "labels were not judged: fewer than two classes have two different images"),
        ([0, 0, 0, 1], "labels were not judged: fewer than two classes have two different images"),
    ],
    ids=["no labels", "one class", "two images", "one image of a class"],
)
def test_without_labels_to_compare_the_images_are_still_checked(labels: list[int], told: str, tmp_path: Path) -> None:
    samples = faces(labels)
    samples.images[0] = 9
    code, found, messages = curated(samples, tmp_path)
    assert code == 0, messages
    assert told in " ".join(messages.split())
    assert found["labels"] is None
    assert found["reasons"]["blank"] == 1  # type: ignore[index]


def test_ten_images_are_judged_with_a_warning(tmp_path: Path) -> None:
    code, found, messages = curated(faces([0, 1] * 5), tmp_path)
    assert code == 0, messages
    assert "fewer than 20 images of happiness, sadness" in " ".join(messages.split())
    assert found["labels"]["faces"] == 10  # type: ignore[index]


def test_a_class_with_one_image_is_not_judged(tmp_path: Path) -> None:
    samples = faces([0, 1] * 4 + [2], ("happiness", "sadness", "anger"))
    code, found, messages = curated(samples, tmp_path, "--find", "labels")
    assert code == 0, messages
    assert "1 labels were not judged" in " ".join(messages.split())
    assert found["labels"]["faces"] == 8  # type: ignore[index]


def test_a_store_without_images(tmp_path: Path) -> None:
    code, _, messages = curated(faces([0, 1]).subset(np.zeros(2, bool)), tmp_path)
    assert code == 4
    assert "has no images" in messages


def test_colour_images_and_names_that_are_empty(tmp_path: Path) -> None:
    grey = faces([0, 1] * 3)
    samples = replace(grey, images=np.repeat(grey.images[..., None], 3, axis=3), names=np.array([""] * 6))
    samples.images[4] = samples.images[0]
    code, found, messages = curated(samples, tmp_path)
    assert code == 0, messages
    assert found["reasons"]["duplicate"] == 1  # type: ignore[index]
    with (tmp_path / "out" / "curation.csv").open(encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["reason"] == "duplicate"]
    assert (row["name"], row["row"]) == ("", "4")
    assert "copy of row 0" in row["note"]


def test_unreadable_images_are_named_and_do_not_lose_the_others(tmp_path: Path) -> None:
    for label, name in enumerate(("happy", "sad")):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in range(4):
            face = draw_face(("happiness", "sadness")[label], np.random.default_rng([label, number]))
            Image.fromarray(face).save(tmp_path / "faces" / name / f"{number}.png")
    (tmp_path / "faces" / "sad" / "broken.png").write_bytes(b"\x89PNG no more")
    done = run_command("curate", tmp_path / "faces", "--out", tmp_path / "out", "--json")
    assert done.returncode == 3
    assert "sad/broken.png" in done.stderr
    assert json.loads(done.stdout)["images"] == 8
    assert (tmp_path / "out" / "curation.csv").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--find", "labels,faults"], "there is no kind 'faults'"),
        (["--folds", "1"], "--folds: expected a number from 2"),
        (["--split", "val"], "no 'val' rows"),
        (["--predictions", "."], "has no fold-*/predictions.json"),
        (["--crop-faces"], "a store has its crops"),
        (["--model", "mien-detector"], "mien-detector"),
    ],
)
def test_options_that_do_not_fit(words: list[str], told: str, tmp_path: Path) -> None:
    code, _, messages = curated(faces([0, 1] * 3), tmp_path, *words)
    assert code != 0
    assert told in " ".join(messages.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["missing", "text", "empty folder", "no list"])
def test_what_is_no_data_set(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "data"
    if kind == "text":
        source = tmp_path / "data.txt"
        source.write_text("hello", encoding="utf-8")
    elif kind == "empty folder":
        source.mkdir()
    elif kind == "no list":
        source = tmp_path / "data.csv"
        source.write_text("a,b\n1,2\n", encoding="utf-8")
    done = run_command("curate", source, "--out", tmp_path / "out")
    assert done.returncode in (3, 4)
    assert str(source) in done.stderr.replace("\n", "")
    assert not (tmp_path / "out").exists()
