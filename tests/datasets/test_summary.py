"""What `mien data show` says of a store: figures counted by hand, and images that are images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import drawn_samples

from mien.datasets import Samples, ferplus, store
from mien.datasets.summary import plot, summarise, text
from mien.emotions import ALL
from mien.errors import OutputError


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=3, emotions=8)


def ballots(*rows: dict[str, int]) -> ferplus.Votes:
    return np.array([[row.get(name, 0) for name in ALL] for row in rows], np.uint8)


def test_entropy_of_votes() -> None:
    votes = ballots({"fear": 10}, {"fear": 5, "anger": 5}, {"fear": 1, "anger": 9}, {})
    expected = [0, np.log(2), -(0.1 * np.log(0.1) + 0.9 * np.log(0.9)), 0]
    assert ferplus.entropy(votes) == pytest.approx(expected)


def test_one_annotator_against_the_rest() -> None:
    votes = ballots(
        {"fear": 10},
        {"fear": 9, "anger": 1},  # the nine see eight against one, the one sees nine
        {"neutral": 1, "anger": 1},  # each sees only the other
        {"neutral": 2, "anger": 2},  # each sees two of the other kind against one
        {"neutral": 3, "anger": 2},  # after a vote for neutral a tie, which neutral wins
        {},
    )
    assert ferplus.one_against_rest(votes) == pytest.approx([1, 0.9, 0, 0, 3 / 5, 0])


def test_the_figures(samples: Samples) -> None:
    images = samples.images.copy()
    first = int(np.flatnonzero(samples.split == 1)[0])
    images[first] = 7
    labels = samples.labels.copy()
    labels[:2] = -1
    summary = summarise(replace(samples, images=images, labels=labels))
    assert summary.constant == {"train": 0, "val": 1, "test": 0}
    assert summary.unlabelled == {"train": 2, "val": 0, "test": 0}
    assert summary.duplicates == {"train": 0, "val": 2, "test": 0}
    assert sum(summary.counts["train"].values()) == (samples.split == 0).sum() - 2
    found = summary.agreement["val"]
    assert samples.votes is not None
    votes = samples.votes[samples.split == 1]
    assert found.faces == len(votes)  # every drawn face has an emotion on top
    assert found.one_against_rest == pytest.approx(ferplus.one_against_rest(votes).mean())
    assert 0 < found.entropy < np.log(8)


def test_the_text(samples: Samples) -> None:
    lines = text(summarise(samples)).splitlines()
    assert lines[0].split() == ["class", "train", "val", "test"]
    assert next(line for line in lines if line.startswith("duplicates")).split() == ["duplicates", "0", "2", "0"]
    assert "mean entropy" in text(summarise(samples))
    assert "votes" not in text(summarise(replace(samples, votes=None))).lower()
    assert "without a label" not in "\n".join(lines)


def test_the_images(samples: Samples, tmp_path: Path) -> None:
    written = plot(samples, tmp_path / "plots")
    assert {path.name for path in written} == {
        "counts.png",
        "agreement.png",
        *(f"contact-{name}.png" for name in samples.classes),
    }
    for path in written:
        with Image.open(path) as image:
            assert image.width > 500
            assert len(image.convert("L").getcolors() or []) > 20  # something is drawn


def test_a_folder_that_cannot_be(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*: file exists"):
        plot(samples, tmp_path / "file")


def test_the_command(samples: Samples, tmp_path: Path) -> None:
    store.save(samples, tmp_path / "faces.h5")
    result = run_command("data", "show", "faces.h5", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("class")
    result = run_command("data", "show", "nowhere.h5", cwd=tmp_path)
    assert result.returncode == 3
    assert "Traceback" not in result.stderr
