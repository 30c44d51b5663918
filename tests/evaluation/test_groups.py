"""Scores of groups of faces: from a table, by the command, and by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command

from mien.datasets import Samples, store
from mien.errors import DataError
from mien.evaluation.groups import Group, group_scores, read_groups
from mien.evaluation.intervals import Resampling

LABELS = np.array([0, 0, 1, 1, 0, 1, 0, 1])
SURE = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6]])
# Right or wrong: 1 1 1 0 0 0 1 1


def groups_of(**columns: list[str]) -> dict[str, Group]:
    arrays = {name: np.array(values) for name, values in columns.items()}
    (found,) = group_scores(SURE, LABELS, arrays, Resampling(200))
    return {group.name: group for group in found.groups}


def test_each_group_is_scored_and_compared_with_the_others() -> None:
    found = groups_of(sex=["f", "f", "f", "f", "m", "m", "m", ""])
    assert list(found) == ["f", "m"]
    assert (found["f"].faces, found["m"].faces) == (4, 3)
    assert found["f"].accuracy.value == pytest.approx(3 / 4)
    assert found["m"].accuracy.value == pytest.approx(1 / 3)
    assert found["f"].difference.value == pytest.approx(3 / 4 - 1 / 3)
    assert found["m"].difference.value == pytest.approx(1 / 3 - 3 / 4)
    assert found["f"].difference.low < 0 < found["f"].difference.high
    assert found["f"].mean_recall.value == pytest.approx((1 + 1 / 2) / 2)
    assert found["f"].overconfidence.value == pytest.approx((0.9 * 3 + 0.8) / 4 - 3 / 4)
    assert found["f"].persons is None


def test_a_single_group_has_no_difference() -> None:
    assert np.isnan(groups_of(sex=["f"] * 8)["f"].difference.value)


def test_few_numbers_are_groups_in_their_order_and_many_are_ranges() -> None:
    assert list(groups_of(decade=["10", "9", "9", "10", "8", "8", "8", "10"])) == ["8", "9", "10"]
    ages = np.arange(20.0, 60.0)
    labels = np.zeros(40, int)
    (found,) = group_scores(np.eye(2)[labels], labels, {"age": ages.astype(str)}, Resampling(20))
    assert [(group.name, group.faces) for group in found.groups] == [
        ("20 to 29", 10), ("30 to 39", 10), ("40 to 49", 10), ("50 to 59", 10),
    ]  # fmt: skip


def test_a_group_of_many_words_is_refused() -> None:
    labels = np.zeros(60, int)
    with pytest.raises(DataError, match="the column comment divides the faces into 60 groups"):
        group_scores(np.eye(2)[labels], labels, {"comment": np.array([f"word {k}" for k in range(60)])})


@pytest.fixture(scope="module")
def place(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of four persons, and a table that describes three of them."""
    place = tmp_path_factory.mktemp("groups")
    count = len(tiny_samples)
    persons = np.array([f"S{row % 4}" for row in range(count)])
    store.save(replace(tiny_samples.only("val"), subjects=persons[: len(tiny_samples.only("val"))]), place / "faces.h5")
    (place / "people.csv").write_text("subject,sex\nS0,f\nS1,m\nS2,m\n")
    return place


def test_the_command_prints_groups_and_resamples_persons(place: Path) -> None:
    outputs = ("--out", "scores.json", "--report", "page.html")
    done = run_command("evaluate", "faces.h5", "--model", "mien-s", "--groups", "people.csv", *outputs, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "intervals over 4 persons" in done.stdout
    lines = done.stdout.splitlines()
    head = next(line for line in lines if line.startswith("sex "))
    assert head.split()[:3] == ["sex", "faces", "persons"]
    males = next(line for line in lines if line.startswith("m "))
    assert males.split()[2] == "2"
    found = json.loads((place / "scores.json").read_text())["protocols"]["labels"]
    assert found["resampled"] == {"unit": "persons", "count": 4}
    (grouping,) = found["groups"]
    assert grouping["column"] == "sex"
    females, men = grouping["groups"]
    assert (females["name"], females["persons"], men["persons"]) == ("f", 1, 2)
    assert females["faces"] + men["faces"] + grouping["unknown"] == found["n"]
    page = (place / "page.html").read_text()
    assert "<h2>Groups</h2>" in page
    assert "intervals over 4 persons" in page


def test_the_table_may_name_images(place: Path, tiny_samples: Samples) -> None:
    samples = tiny_samples.only("val")
    path = place / "images.csv"
    path.write_text("name;age\n" + "".join(f"{name};{20 + k}\n" for k, name in enumerate(samples.names)))
    columns = read_groups(path, samples)
    assert columns["age"].tolist() == [str(20 + k) for k in range(len(samples))]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("who,sex\nS0,f\n", "expected the column name or subject"),
        ("subject\nS0\n", "expected the column name or subject"),
        ("subject,sex,sex\nS0,f,f\n", "each once"),
        ("subject,sex\nS0,f\nS0,m\n", "line 3: subject 'S0' is there twice"),
        ("subject,sex\nX9,f\n", "no subject of the table is that of a face"),
    ],
)
def test_a_wrong_table_is_refused_before_the_evaluation(place: Path, table: str, message: str) -> None:
    path = place / "wrong.csv"
    path.write_text(table)
    with pytest.raises(DataError, match=message):
        read_groups(path, store.load(place / "faces.h5", "val"))


def test_a_store_without_persons_needs_names(place: Path, tiny_samples: Samples) -> None:
    with pytest.raises(DataError, match="does not know its persons"):
        read_groups(place / "people.csv", replace(tiny_samples, subjects=None))
