"""Comparisons: the scores are those of each model alone, and a model that fails does not stop the others."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.evaluation.report.test_page import CHROMIUM, Page, complaints
from tests.expression.test_ensemble import linear_model

from mien.datasets import Samples, store
from mien.emotions import vocabulary
from mien.errors import ConfigError, MienError, OutputError, WeightsError
from mien.evaluation import evaluate_model
from mien.evaluation.compare import Candidate, Comparison, candidates, compare
from mien.evaluation.intervals import mcnemar
from mien.evaluation.report.comparison_files import comparison_text, write_folder
from mien.evaluation.report.comparison_page import comparison_page


@pytest.fixture(scope="module")
def val(tiny_samples: Samples) -> Samples:
    return tiny_samples.only("val")


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without the classes of the votes."""
    return linear_model(tmp_path_factory.mktemp("seven") / "seven<b>.onnx", vocabulary(7), size=32, channels="rgb")


@pytest.fixture(scope="module")
def comparison(tiny_model: Path, seven: Path, val: Samples, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    place = tmp_path_factory.mktemp("place")
    given = candidates(["mien-s", "nobody", str(seven), f"mien-s,{tiny_model}"], lambda *_: None, place)
    return compare(given, val, split="val", repeats=5)


def test_every_candidate_has_its_row(comparison: Comparison) -> None:
    assert [row.name for row in comparison.rows] == ["mien-s", "nobody", "seven<b>", "mien-s + tiny", "tiny"]
    assert [row.name for row in comparison.failed] == ["nobody"]
    assert comparison.rows[-2].members == ("mien-s", "tiny")
    assert list(comparison.protocols) == ["labels", "majority", "argmax"]


def test_figures_are_those_of_each_alone(comparison: Comparison, tiny_model: Path, val: Samples) -> None:
    alone = {
        "mien-s": evaluate_model("mien-s", val, split="val"),
        "tiny": evaluate_model(tiny_model, val, split="val"),
        "mien-s + tiny": evaluate_model(["mien-s", tiny_model], val, split="val"),
    }
    rows = {row.name: row for row in comparison.good}
    for name, expected in alone.items():
        found = rows[name].evaluation
        assert found is not None
        assert json.dumps(found.as_dict()) == json.dumps(expected.as_dict())
    for protocol, predicted in alone["tiny"].predictions.items():
        expected_test = mcnemar(alone["mien-s"].predictions[protocol].correct, predicted.correct)
        assert rows["tiny"].against[protocol] == expected_test
    assert rows["mien-s"].against == {}


def test_differences_are_paired(comparison: Comparison, tiny_model: Path, val: Samples) -> None:
    first, *others = comparison.good
    assert first.differences == {}
    for row in others:
        assert row.differences.keys() == row.against.keys()
        for name, found in row.differences.items():
            assert row.evaluation is not None
            assert first.evaluation is not None
            gap = row.evaluation.scores[name].accuracy.value - first.evaluation.scores[name].accuracy.value
            assert found.value == pytest.approx(gap)
            assert found.low <= found.value <= found.high
            test = row.against[name]
            assert found.value * row.evaluation.scores[name].n == pytest.approx(test.second_only - test.first_only)
    text = comparison_text(comparison)
    assert "difference" in text
    assert re.search(r"[+-]\d+\.\d \([+-]\d+\.\d to [+-]\d+\.\d\)", text)


def test_a_model_takes_part_where_it_can(comparison: Comparison) -> None:
    row = next(row for row in comparison.good if row.name == "seven<b>")
    assert row.evaluation is not None
    assert list(row.evaluation.scores) == list(row.against) == ["labels"]
    assert row.cost is not None
    assert row.cost.parameters == row.cost.operations == 32 * 32 * 3 * 7


def test_the_text_has_every_score(comparison: Comparison) -> None:
    text = comparison_text(comparison)
    for row in comparison.good:
        assert row.evaluation is not None
        for scores in row.evaluation.scores.values():
            assert f"{scores.accuracy}" in text
        for test in row.against.values():
            assert f"{test.second_only:,} / {test.first_only:,}" in text
    assert "there is no model 'nobody'" in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "in points, to mien-s, the\nfirst model" in text


def test_the_page_is_whole(comparison: Comparison, val: Samples) -> None:
    html = comparison_page(comparison, val, data="<drawn>.h5")
    found = Page(html)
    assert found.open == []
    assert len(set(found.ids)) == len(found.ids)
    assert not {"script", "b>", "drawn", "link"} & set(found.tags)
    assert "seven&lt;b&gt;" in html
    assert html.count("<section>") == 3
    assert "there is no model &#39;nobody&#39;" in html
    for row in comparison.good:
        assert row.evaluation is not None
        for scores in row.evaluation.scores.values():
            assert f"{scores.accuracy.value:.1%}" in html
    labels, majority, _ = html.split("<section>")[1:]
    assert labels.count('class="confusion"') == 4
    assert majority.count('class="confusion"') == 3
    assert "without its classes: seven&lt;b&gt;" in majority


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_it_without_complaint(comparison: Comparison, val: Samples, tmp_path: Path) -> None:
    assert complaints(comparison_page(comparison, val), tmp_path) == []
    with Image.open(tmp_path / "page.png") as image:
        assert len(image.convert("RGB").getcolors(1_000_000) or []) > 200


def test_the_folder_holds_every_table_and_image(comparison: Comparison, val: Samples, tmp_path: Path) -> None:
    written = write_folder(comparison, tmp_path / "a" / "out", "<html>")
    assert sorted(written) == sorted((tmp_path / "a" / "out").iterdir())
    count = sum(len(row.evaluation.scores) for row in comparison.good if row.evaluation)
    assert len(written) == 3 + 4 * count
    with (tmp_path / "a" / "out" / "comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count + 1
    assert [row["model"] for row in rows if row["error"]] == ["nobody"]
    base = next(row for row in comparison.good if row.name == "mien-s")
    assert base.evaluation is not None
    found = base.evaluation.scores["labels"]
    first = next(row for row in rows if (row["model"], row["protocol"]) == ("mien-s", "labels"))
    assert float(first["accuracy"]) == pytest.approx(found.accuracy.value, abs=1e-6)
    with (tmp_path / "a" / "out" / "mien-s-labels-confusion.csv").open(newline="", encoding="utf-8") as file:
        header, *body = list(csv.reader(file))
    assert tuple(header[1:]) == found.classes
    np.testing.assert_array_equal(np.array([line[1:] for line in body], int), found.confusion)
    with (tmp_path / "a" / "out" / "mien-s-labels-classes.csv").open(newline="", encoding="utf-8") as file:
        classes = list(csv.DictReader(file))
    assert [float(row["recall"]) for row in classes] == pytest.approx(
        [row.recall.value for row in found.rows], abs=1e-6
    )
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 200
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_folder(comparison, tmp_path / "file", "")


def test_another_comparison_in_the_same_folder_replaces_the_files_of_the_first(
    comparison: Comparison, tmp_path: Path
) -> None:
    mine = tmp_path / "my-confusion.csv"
    mine.write_text("own", encoding="utf-8")
    first = write_folder(comparison, tmp_path, "<html>")
    one = replace(comparison, rows=comparison.good[:1])
    second = write_folder(one, tmp_path, "<html>")
    assert len(second) < len(first)
    assert sorted(tmp_path.iterdir()) == sorted([*second, mine])
    (tmp_path / "comparison.json").write_text("[]", encoding="utf-8")  # of something else: nothing is known of it
    assert write_folder(one, tmp_path, "<html>") == second


def test_of_several_splits_the_named_one_is_scored(tiny_model: Path, tiny_samples: Samples) -> None:
    alone, named = (evaluate_model(tiny_model, each, split="val") for each in (tiny_samples.only("val"), tiny_samples))
    assert {name: scores.n for name, scores in named.scores.items()} == {
        name: scores.n for name, scores in alone.scores.items()
    }


def test_nothing_to_compare(val: Samples) -> None:
    with pytest.raises(ConfigError, match="no models to compare"):
        compare([], val, split="val")
    with pytest.raises(ConfigError, match="no model 'nobody'"):
        compare([Candidate("nobody", ("nobody",)), Candidate("no", ("no",))], val, split="val")


def test_the_first_that_can_is_what_is_held_against(val: Samples) -> None:
    found = compare([Candidate("no", ("no",)), Candidate("a", ("mien-s",)), Candidate("b", ("mien-s",))], val,
                    split="val", protocols=["labels"], repeats=5)  # fmt: skip
    assert [len(row.against) for row in found.rows] == [0, 0, 1]
    assert found.rows[2].against["labels"].p == 1


def test_progress_goes_over_all_candidates(val: Samples) -> None:
    said: list[tuple[int, int]] = []
    given = [Candidate("a", ("mien-s",)), Candidate("no", ("no",)), Candidate("b", ("mien-s",))]
    compare(given, val, split="val", repeats=1, progress=lambda done, total: said.append((done, total)))
    assert said == sorted(said)
    assert said[-1] == (3 * len(val), 3 * len(val))


def test_runs_are_exported_and_names_differ(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "run").mkdir(parents=True)
        (tmp_path / place / "run" / "best.ckpt").touch()
    (tmp_path / "empty").mkdir()
    told: list[Path] = []

    def export(run: Path, target: Path) -> None:
        told.append(run)
        if run.parent.name == "b":
            raise WeightsError("broken")
        target.write_bytes(b"onnx")

    a, b, empty = (str(tmp_path / place) for place in ("a/run", "b/run", "empty"))
    (tmp_path / "place").mkdir()
    found = candidates([a, b, empty, "mien-s", f"{a},{b}", f"{a},y.onnx", f"{a},mien-m"], export, tmp_path / "place")
    assert told == [Path(a), Path(b)]  # once each
    assert [each.name for each in found] == [
        "run", b, "empty", "mien-s", f"run + {b}", "run + y", "y", "run + mien-m", "mien-m",
    ]  # fmt: skip
    assert [type(each.error) for each in found] == [
        type(None), WeightsError, ConfigError, type(None), WeightsError, WeightsError, WeightsError,
        type(None), type(None),
    ]  # fmt: skip
    assert isinstance(found[0].models[0], Path)
    assert found[0].models[0].read_bytes() == b"onnx"
    assert found[-2].models == (found[0].models[0], "mien-m")
    assert isinstance(found[2].error, MienError)
    assert "is not the folder of a run" in found[2].error.message


def test_the_order_is_that_of_the_user(tmp_path: Path) -> None:
    """The first is what the others are tested against: also if it is an ensemble."""
    found = candidates(["mien-s,mien-m", "mien-l", "mien-s"], lambda *_: None, tmp_path)
    assert [each.name for each in found] == ["mien-s + mien-m", "mien-m", "mien-l", "mien-s"]
    assert [each.part for each in found] == [False, True, False, False]
    named = candidates(["mien-x", "mien-m"], lambda *_: None, tmp_path)
    assert [each.name for each in named] == ["mien-x", "mien-m-int8", "mien-l", "mien-m"]


def test_the_command(tiny_run: Path, tiny_samples: Samples, tmp_path: Path) -> None:
    store.save(tiny_samples, tmp_path / "faces.h5")
    run = tmp_path / "my-run"
    run.mkdir()
    for name in ("recipe.toml", "best.ckpt"):
        shutil.copy(tiny_run / name, run)

    def mien(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_command("compare", *arguments, "--data", "faces.h5", "--protocol", "labels", cwd=tmp_path)

    done = mien("mien-s", "my-run", "mien-s,my-run", "--vote", "hard", "--json", "--out", "out")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["rows"]] == ["mien-s", "my-run", "mien-s + my-run"]
    taught = found["rows"][1]["evaluation"]["protocols"]["labels"]["accuracy"]["value"]
    assert taught > found["rows"][0]["evaluation"]["protocols"]["labels"]["accuracy"]["value"]
    assert (tmp_path / "out" / "report.html").is_file()
    assert sorted(path.name for path in run.iterdir()) == ["best.ckpt", "recipe.toml"]  # nothing is left in the run
    done = mien("mien-s", "none.onnx", "--report", "out.html")
    assert done.returncode == 5  # of wrong weights
    assert done.stderr.count("none.onnx: no such weights") == 1
    assert "mien-s " in done.stdout
    assert Page((tmp_path / "out.html").read_text(encoding="utf-8")).open == []
    assert mien("nobody").returncode == 2


def test_members_without_all_the_classes_may_vote(seven: Path, val: Samples, tmp_path: Path) -> None:
    three = linear_model(tmp_path / "three.onnx", ("anger", "fear", "neutral"), size=24)
    given = candidates([str(seven), f"{seven},{three},mien-s"], lambda *_: None, tmp_path / "place")
    assert [each.part for each in given] == [False, False, True, True]
    found = compare(given, val, split="val", protocols=["labels"], repeats=3)
    assert [row.name for row in found.failed] == ["three"]
    assert all(row.part for row in found.failed)
    assert found.rows[1].evaluation is not None
    store.save(val, tmp_path / "faces.h5")
    line = ["compare", f"mien-s,{three}", "--data", "faces.h5", "--protocol", "labels"]
    done = run_command(*line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "three is a member of an ensemble, but cannot be evaluated alone" in done.stderr
    alone = run_command(*line, three, cwd=tmp_path)
    assert alone.returncode == 2
    assert "error: three: " in alone.stderr
