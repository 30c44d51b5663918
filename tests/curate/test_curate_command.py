"""`mien curate` as a user runs it: labelled faces in, a list of what is wrong out, which the builder takes."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import draw_face

from mien.curate.copies import find_copies, to_drop
from mien.curate.labels import grouped, stratified_folds
from mien.datasets import Samples, store

EMOTIONS = ("happiness", "sadness", "surprise")
EACH = 24
BUILD = ("data", "build", "folder", "--classes", "own")
SWAPPED = ("sadness/swapped0.png", "sadness/swapped1.png", "happiness/swapped2.png", "happiness/swapped3.png")


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def planted(folder: Path) -> Path:
    """Class folders of drawn faces, with one error of each kind."""
    faces = {}
    for label, name in enumerate(EMOTIONS):
        for number in range(EACH):
            faces[name, number] = draw_face(name, np.random.default_rng([label, number]))
            save(folder / name / f"{number:02}.png", faces[name, number])
    for number, place in enumerate(SWAPPED):
        shown = "happiness" if place.startswith("sadness") else "surprise"
        save(folder / place, draw_face(shown, np.random.default_rng([7, number])))
    save(folder / "surprise" / "copy.png", faces["surprise", 3])
    save(folder / "surprise" / "near.png", np.clip(faces["surprise", 5] * 0.8 + 20, 0, 255).astype(np.uint8))
    save(folder / "sadness" / "conflict.png", faces["happiness", 2])
    save(folder / "sadness" / "blank.png", np.full((48, 48), 77, np.uint8))
    stripes = np.where(np.arange(48)[:, None] // 4 % 2, 30, 220) * np.ones((1, 48))
    save(folder / "happiness" / "stripes.png", stripes.astype(np.uint8))
    save(folder / "happiness" / "dark.png", (faces["happiness", 9] * 0.05).astype(np.uint8))
    save(
        folder / "surprise" / "blurred.png",
        cv2.GaussianBlur(draw_face("surprise", np.random.default_rng(5)), (0, 0), 5),
    )
    return folder


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("planted") / "faces")


@pytest.fixture(scope="module")
def curated(faces: Path) -> tuple[Path, str]:
    """The folder with the result, and what the command printed."""
    out = faces.parent / "out"
    done = run_command("curate", faces, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_each_planted_error_has_its_reason(curated: tuple[Path, str]) -> None:
    found = rows_of(curated[0] / "curation.csv")
    expected = {
        "surprise/copy.png": "duplicate",
        "surprise/near.png": "near-duplicate",
        "sadness/blank.png": "blank",
        "happiness/stripes.png": "not-a-face",
        "happiness/dark.png": "low-quality",
        "surprise/blurred.png": "low-quality",
    }
    for name, reason in expected.items():
        assert reason in (found[name]["reason"], *found[name]["also"].split()), found[name]
    conflict = found.get("sadness/conflict.png") or found["happiness/02.png"]
    assert conflict["reason"] == "conflicting-duplicate"
    assert {conflict["label"], conflict["proposed"]} == {"happiness", "sadness"}


def test_swapped_labels_are_found_with_the_right_class(curated: tuple[Path, str]) -> None:
    found = rows_of(curated[0] / "curation.csv")
    hits = [
        found[name] for name in SWAPPED if name in found and "label" in (found[name]["reason"], found[name]["also"])
    ]
    assert len(hits) >= 3
    for hit in hits:
        assert hit["label"] == hit["name"].split("/")[0]
    proposed = {hit["name"]: hit["proposed"] for hit in hits}
    right = [name for name, said in proposed.items() if said == ("happiness" if "sadness" in name else "surprise")]
    assert len(right) >= 2
    others = [name for name, row in found.items() if row["reason"] == "label" and name not in SWAPPED]
    assert len(others) < 0.25 * EACH * len(EMOTIONS)


def test_the_summary_counts_what_the_list_has(curated: tuple[Path, str]) -> None:
    out, printed = curated
    plain = json.loads(printed)
    assert plain == json.loads((out / "summary.json").read_text(encoding="utf-8"))
    found = rows_of(out / "curation.csv")
    assert plain["suspicious"] == len(found) == sum(plain["reasons"].values())
    assert plain["images"] == EACH * len(EMOTIONS) + len(SWAPPED) + 7
    assert 0 < plain["labels"]["estimated_share_of_errors"] < 0.5


def test_the_sheet_and_the_page_show_the_images(curated: tuple[Path, str]) -> None:
    out, _ = curated
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 700
    page = (out / "report.html").read_text(encoding="utf-8")
    found = rows_of(out / "curation.csv")
    assert page.count("data:image/png;base64,") >= len(found)
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    for reason in {row["reason"] for row in found.values()}:
        assert f'id="{reason}"' in page


def test_nothing_is_overwritten_without_force(faces: Path, curated: tuple[Path, str]) -> None:
    before = (curated[0] / "curation.csv").read_bytes()
    done = run_command("curate", faces, "--out", curated[0], "--find", "quality")
    assert done.returncode != 0
    assert "--force" in done.stderr
    assert (curated[0] / "curation.csv").read_bytes() == before


def test_a_file_in_the_place_of_the_folder_stays(faces: Path, tmp_path: Path) -> None:
    place = tmp_path / "list"
    place.write_text("mine", encoding="utf-8")
    done = run_command("curate", faces, "--out", place, "--find", "quality")
    assert (done.returncode, f"cannot write into '{place}': it is a file" in done.stderr) == (7, True), done.stderr
    assert place.read_text(encoding="utf-8") == "mine"


def test_the_builder_leaves_out_what_the_list_says(faces: Path, curated: tuple[Path, str], tmp_path: Path) -> None:
    found = rows_of(curated[0] / "curation.csv")
    plain = run_command(*BUILD, faces, "--keep-duplicates", "--out", tmp_path / "all.h5")
    cleaned = run_command(
        *BUILD, faces, "--keep-duplicates", "--size", "64",
        "--exclude", curated[0] / "curation.csv", "--out", tmp_path / "clean.h5",
    )  # fmt: skip
    assert plain.returncode == cleaned.returncode == 0, cleaned.stderr
    before, after = store.load(tmp_path / "all.h5"), store.load(tmp_path / "clean.h5")
    assert set(before.names) - set(after.names) == set(found)
    assert f"left out {len(found)} images" in cleaned.stderr
    kept = dict(zip(before.names.tolist(), before.split.tolist(), strict=True))
    assert {name: kept[name] for name in after.names.tolist()} == dict(
        zip(after.names.tolist(), after.split.tolist(), strict=True)
    )


def test_a_store_and_its_csv_file_take_the_same_list(tmp_path: Path) -> None:
    """A store of a folder that was built with another size still names the same images."""
    folder = planted(tmp_path / "faces")
    built = run_command(*BUILD, folder, "--keep-duplicates", "--val", 0, "--test", 0, "--out", tmp_path / "a.h5")
    assert built.returncode == 0, built.stderr
    done = run_command("curate", tmp_path / "a.h5", "--out", tmp_path / "out", "--find", "copies,quality")
    assert done.returncode == 0, done.stderr
    found = rows_of(tmp_path / "out" / "curation.csv")
    assert {"surprise/copy.png", "surprise/near.png", "sadness/blank.png"} <= set(found)
    assert not any(row["reason"] in ("label", "not-a-face") for row in found.values())
    again = run_command(*BUILD, folder, "--exclude", tmp_path / "out" / "curation.csv", "--out", tmp_path / "b.h5")
    assert again.returncode == 0, again.stderr
    assert not set(found) & set(store.load(tmp_path / "b.h5").names)


def write_predictions(folder: Path, samples: Samples, said: np.ndarray) -> None:
    """The predictions (N, 2) of a cross-validation, as `mien crossval` writes them."""
    for fold in (0, 1):
        rows = range(fold, len(samples), 2)
        (folder / f"fold-{fold}").mkdir(parents=True)
        plain = {
            "labels": {
                "classes": ["sadness", "happiness"],
                "persons": ["" for _ in rows],
                "names": [str(samples.names[row]) for row in rows],
                "labels": [int(1 - samples.labels[row]) for row in rows],
                "probabilities": [said[row][::-1].tolist() for row in rows],
            }
        }
        (folder / f"fold-{fold}" / "predictions.json").write_text(json.dumps(plain), encoding="utf-8")


def test_predictions_of_a_cross_validation_replace_the_head(tmp_path: Path) -> None:
    samples = store_of(["happiness"] * 10 + ["sadness"] * 10)
    store.save(samples, tmp_path / "faces.h5")
    said = np.full((20, 2), 0.1)
    said[np.arange(20), samples.labels] = 0.9
    said[3] = [0.02, 0.98]  # the only one that is read as the other class
    write_predictions(tmp_path / "runs", samples, said)
    done = run_command(
        "curate",
        tmp_path / "faces.h5",
        "--out",
        tmp_path / "out",
        "--find",
        "labels",
        "--predictions",
        tmp_path / "runs",
    )
    assert done.returncode == 0, done.stderr
    assert "judged by the predictions in runs; it agrees with" in done.stdout
    assert "the judge agrees with" not in done.stdout + done.stderr
    said[::3] = said[::3, ::-1]  # a judge who knows little more than chance
    write_predictions(tmp_path / "guessed", samples, said)
    options = "--find", "labels", "--predictions", tmp_path / "guessed"
    done = run_command("curate", tmp_path / "faces.h5", "--out", tmp_path / "doubtful", *options)
    assert done.returncode == 0, done.stderr
    assert "the judge agrees with 70% of the labels only" in done.stdout + done.stderr
    found = rows_of(tmp_path / "out" / "curation.csv")
    assert list(found) == ["f03"]
    assert (found["f03"]["label"], found["f03"]["proposed"], found["f03"]["score"]) == ("happiness", "sadness", "0.960")


def store_of(labels: list[str], subjects: list[str] | None = None) -> Samples:
    """A store of drawn faces with these labels."""
    classes = tuple(dict.fromkeys(labels))
    places = np.array([classes.index(name) for name in labels], np.int64)
    return Samples(
        images=np.stack([draw_face(name, np.random.default_rng([3, row])) for row, name in enumerate(labels)]),
        labels=places,
        classes=classes,
        split=np.zeros(len(labels), np.uint8),
        targets=np.eye(len(classes), dtype=np.float32)[places],
        names=np.array([f"f{row:02}" for row in range(len(labels))]),
        subjects=None if subjects is None else np.array(subjects),
    )


def test_people_and_copies_are_never_divided_over_folds() -> None:
    samples = store_of(["happiness", "sadness"] * 20, ["ann", "ann", "ben", "ben", *[""] * 36])
    copies = np.arange(40)
    copies[[1, 20, 30]] = 1  # a copy joins two others to ann
    groups = grouped(samples, copies)
    assert len({int(groups[row]) for row in (0, 1, 20, 30)}) == 1
    assert len(np.unique(groups)) == 40 - 1 - 2 - 1
    folds = stratified_folds(samples.labels, groups, 5)
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    for label in (0, 1):
        assert np.ptp(np.bincount(folds[samples.labels == label], minlength=5)) <= 4


def test_near_copies_of_one_person_are_no_finding(tmp_path: Path) -> None:
    samples = store_of(["happiness"] * 6 + ["sadness"] * 6, [f"p{row // 2}" for row in range(12)])
    samples.images[1] = np.clip(samples.images[0] * 0.9 + 5, 0, 255)
    samples.images[8] = np.clip(samples.images[3] * 0.9 + 5, 0, 255)
    store.save(samples, tmp_path / "people.h5")
    done = run_command("curate", tmp_path / "people.h5", "--out", tmp_path / "out", "--find", "copies")
    assert done.returncode == 0, done.stderr
    found = rows_of(tmp_path / "out" / "curation.csv")
    assert len(found) == 1
    assert next(iter(found)) in ("f03", "f08")


def blend(angle: float) -> np.ndarray:
    """A smooth random image; the correlation of two is the cosine of the difference of their angles."""
    noise = [cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(48, 48)), (0, 0), 4) for seed in (1, 2)]
    first, second = ((each - each.mean()) / each.std() for each in noise)
    second -= first * (first * second).mean()
    mixed = np.cos(np.radians(angle)) * first + np.sin(np.radians(angle)) * second / second.std()
    return np.asarray(np.clip(128 + 40 * mixed, 0, 255), np.uint8)


def test_a_copy_of_a_copy_stays_if_it_is_no_copy_of_the_first() -> None:
    samples = store_of(["happiness"] * 5)
    for row, angle in enumerate((0, 18, 36, 120)):
        samples.images[row] = blend(angle)
    copies = find_copies(samples)
    assert [rows.tolist() for rows in copies.groups()] == [[0, 1, 2]]
    assert 2 not in copies.pairs[0]
    assert to_drop(samples, copies, np.full(5, np.nan)) == {1: 0}


def test_of_copies_with_different_labels_the_more_probable_one_stays() -> None:
    samples = store_of(["happiness", "sadness", "sadness", "happiness"])
    samples.images[1] = samples.images[0]
    trust = np.array([0.2, 0.7, 0.5, 0.5])
    assert to_drop(samples, find_copies(samples), trust) == {0: 1}
    samples.split[0] = 1  # also if it is not the one of val
    assert to_drop(samples, find_copies(samples), trust) == {0: 1}
    samples.labels[1] = samples.labels[0]
    assert to_drop(samples, find_copies(samples), trust) == {1: 0}
