"""Scores of groups of faces: from a table, by the command, and by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command

from mien.datasets import Samples, store
from mien.datasets.samples import SPLITS
from mien.errors import DataError
from mien.evaluation import evaluate_model
from mien.evaluation.groups import Answers, Columns, Group, Grouping, group_scores, read_groups
from mien.evaluation.intervals import ALONE, Resampling, difference_estimate, person_difference

LABELS = np.array([0, 0, 1, 1, 0, 1, 0, 1])
SURE = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6]])
# Right or wrong: 1 1 1 0 0 0 1 1


def groups_of(**columns: list[str]) -> dict[str, Group]:
    arrays = {name: np.array(values) for name, values in columns.items()}
    (values,) = arrays.values()
    return {group.name: group for group in scored(values, SURE, LABELS).groups}


def scored(
    values: list[str] | np.ndarray, sure: np.ndarray, labels: np.ndarray, how: Resampling = ALONE, **more: np.ndarray
) -> Grouping:
    names = [f"class {k}" for k in range(sure.shape[1])]
    return group_scores("column", Answers(names, sure, labels, np.array(values), how=how, **more))


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
    found = scored(ages.astype(int).astype(str), np.eye(2)[labels], labels)
    assert [(group.name, group.faces) for group in found.groups] == [
        ("20 to 29", 10), ("30 to 39", 10), ("40 to 49", 10), ("50 to 59", 10),
    ]  # fmt: skip


def test_spellings_of_a_number_are_one_group_and_words_with_numbers_are_in_order() -> None:
    assert list(groups_of(size=["1", "1.0", "2,5", "2.5", "10", "10", "1", "1"])) == ["1", "2,5", "10"]
    assert list(groups_of(age=["10-19", "3-9", "20-29", "3-9", "0-2", "0-2", "10-19", "20-29"])) == [
        "0-2", "3-9", "10-19", "20-29",
    ]  # fmt: skip
    labels = np.zeros(12, int)
    days = [f"202301{day:02}" for day in range(1, 13)]
    assert scored(days, np.eye(2)[labels], labels).groups[0].name == "20230101 to 20230103"


def test_few_persons_make_no_difference_clear() -> None:
    """40 persons of whom no group is better: the interval excludes 0 in about one of twenty."""
    random = np.random.default_rng(6)
    persons = np.repeat([f"S{k:02}" for k in range(40)], 20)
    how = Resampling.together(persons, "persons")
    clear = {2: 0, 3: 0, 10: 0}
    for _ in range(200):
        right = random.random(800) < np.repeat(np.clip(0.7 + 0.2 * random.standard_normal(40), 0, 1), 20)
        for count in clear:
            first = np.arange(800) < 20 * count
            owners = how.owners
            assert owners is not None
            gap = person_difference(right[first], right[~first], owners[first], owners[~first])
            clear[count] += not (np.isnan(gap.value) or gap.low <= 0 <= gap.high)
    assert clear[2] == 0  # undefined
    assert clear[3] < 25  # of 200
    assert clear[10] < 25


def test_a_difference_of_few_faces_is_wide() -> None:
    one, two = np.ones(1, bool), np.arange(100) < 70
    gap = difference_estimate(one, two)
    assert gap.low < 0 < gap.high
    # Newcombe 1998, table II, example (a): 56 of 70 and 48 of 80.
    gap = difference_estimate(np.arange(70) < 56, np.arange(80) < 48)
    assert (gap.low, gap.high) == pytest.approx((0.0524, 0.3339), abs=2e-4)


def test_a_person_in_both_groups_counts_with_the_difference() -> None:
    """The same persons in light and in the dark: what makes some of them easy does not count."""
    random = np.random.default_rng(2)
    rates = np.clip(0.6 + 0.3 * random.standard_normal(30), 0.05, 0.95)
    right = random.random((2, 30, 40)) < rates[:, None]
    owners = np.repeat(np.arange(30), 40)
    paired = person_difference(right[0].ravel(), right[1].ravel(), owners, owners)
    apart = person_difference(right[0].ravel(), right[1].ravel(), owners, owners + 30)
    assert paired.value == apart.value
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)


def test_mean_recall_is_over_the_emotions_of_both_sides() -> None:
    labels = np.array([0, 0, 1, 1, 0, 0, 2, 2])
    said = np.array([0, 0, 0, 1, 0, 1, 2, 0])
    first, other = scored(["a"] * 4 + ["b"] * 4, np.eye(3)[said], labels).groups
    assert (first.classes, other.classes) == (1, 1)
    assert (first.mean_recall.value, other.mean_recall.value) == (1, 0.5)
    assert first.recalls["class 1"][0] == 2
    assert first.recalls["class 1"][1].value == 0.5
    assert list(other.recalls) == ["class 0", "class 2"]


def test_faces_that_are_not_found_count_against_their_group() -> None:
    missed = np.array(["f", "f", "", "m"])
    f, m = scored(["f"] * 2 + ["m"] * 6, SURE, LABELS, missed=missed).groups
    assert f.found
    assert f.found.value == 0.5
    assert m.found
    assert m.found.value == pytest.approx(6 / 7)


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
    lines = "".join(f"{name};{20 + k};note {k};NA;\n" for k, name in enumerate(samples.names))
    path.write_text(f"Name;age;comment;sex;\n{lines};9;x;f;\n", encoding="utf-8-sig")
    columns = read_groups(path, samples)
    assert columns.left_out["sex"] == "is empty for all faces of this split"
    assert len(samples) <= 50 or "different values" in columns.left_out["comment"]
    assert columns.values["age"].tolist() == [str(20 + k) for k in range(len(samples))]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("who,sex\nS0,f\n", "expected the column name or subject"),
        ("subject\nS0\n", "expected the column name or subject"),
        ("subject,sex,sex\nS0,f,f\n", "each once"),
        ("subject,sex\nS0,f\nS0,m\n", "line 3: subject 'S0' is there twice"),
        ("subject,sex\nS0,\nS1,NA\n", "the column sex is empty"),
        ("subject,sex\nX9,f\n", "no subject of the table is that of a face"),
    ],
)
def test_a_wrong_table_is_refused_before_the_evaluation(place: Path, table: str, message: str) -> None:
    path = place / "wrong.csv"
    path.write_text(table)
    with pytest.raises(DataError, match=message):
        read_groups(path, store.load(place / "faces.h5", "val"))


def test_rows_are_those_of_the_samples_that_were_given(tiny_samples: Samples) -> None:
    evaluation = evaluate_model("mien-s-int8", tiny_samples, split="val", protocols=["labels"])
    splits = Columns({"split": tiny_samples.split.astype(str)})
    ((grouping,),) = evaluation.with_groups(splits).groups.values()
    assert [group.name for group in grouping.groups] == [str(SPLITS.index("val"))]


def test_a_store_without_persons_needs_names(place: Path, tiny_samples: Samples) -> None:
    with pytest.raises(DataError, match="does not know its persons"):
        read_groups(place / "people.csv", replace(tiny_samples, subjects=None))
