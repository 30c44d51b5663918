"""The predictions of an evaluation as a file: from it, the scores can be computed again."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command

from mien import __version__
from mien.assets.manifest import model_info
from mien.datasets import Samples, store


@pytest.fixture(scope="module")
def written(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, what an evaluation printed, and its predictions."""
    place = tmp_path_factory.mktemp("predictions")
    store.save(tiny_samples, place / "faces.h5")
    outputs = ("--out", "scores.json", "--predictions", "rows.csv")
    done = run_command("evaluate", "faces.h5", "--model", "mien-s", *outputs, cwd=place)
    assert done.returncode == 0, done.stderr
    return place


def rows_of(place: Path) -> list[dict[str, str]]:
    with (place / "rows.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_scores_can_be_computed_again(written: Path, tiny_samples: Samples) -> None:
    scores = json.loads((written / "scores.json").read_text())["protocols"]
    val, rows = tiny_samples.only("val"), rows_of(written)
    assert {row["protocol"] for row in rows} == set(scores)
    for protocol, found in scores.items():
        mine = [row for row in rows if row["protocol"] == protocol]
        assert len(mine) == found["n"]
        assert np.mean([row["correct"] == "true" for row in mine]) == pytest.approx(found["accuracy"]["value"])
        classes = [each["emotion"] for each in found["classes"]]
        logs = [-np.log(float(row[row["truth"]])) for row in mine]
        assert np.mean(logs) == pytest.approx(found["nll_nats"]["value"], abs=2e-3)
        for row in mine:
            chances = {name: float(row[name]) for name in classes}
            assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
            assert chances[row["predicted"]] == max(chances.values()) == float(row["confidence"])
            assert row["name"] == str(val.names[int(row["row"])])
            if protocol == "labels":
                assert row["truth"] == val.classes[val.labels[int(row["row"])]]
                assert row["contempt"] == ""


def test_the_json_says_what_was_evaluated(written: Path) -> None:
    found = json.loads((written / "scores.json").read_text())
    assert found["data"]["file"] == "faces.h5"
    assert found["data"]["sha256"] == hashlib.sha256((written / "faces.h5").read_bytes()).hexdigest()
    record = found["record"]
    assert record["versions"]["mien"] == __version__
    assert record["bootstrap"] == {"draws": 1000, "seed": 0}
    (network,) = record["networks"]
    assert network["name"] == "mien-s"
    assert list(network["files"].values()) == [model_info("mien-s").sha256]


def test_another_suffix_is_refused(written: Path) -> None:
    done = run_command("evaluate", "faces.h5", "--predictions", "rows.txt", cwd=written)
    assert done.returncode == 2
    assert "--predictions" in done.stderr
