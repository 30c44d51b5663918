"""Lists of images to leave out, as people edit them, and as they belong to other data: `--exclude` of the builders."""

import csv
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import run_command
from tests.drawn import write_fer_csv

from mien.datasets import Samples, store
from mien.datasets.builders import builder, fer2013, names
from mien.datasets.exclude import RowOptions, excluded, fingerprint

FULL = ("keep", "name", "split", "row", "reason", "score", "label", "proposed", "also", "note", "image")


@pytest.fixture(scope="module")
def fer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """fer2013.csv and its votes, of drawn faces."""
    return write_fer_csv(tmp_path_factory.mktemp("fer"), np.random.default_rng(0), 6, duplicates=2)


@pytest.fixture(scope="module")
def samples(fer: tuple[Path, Path]) -> Samples:
    return fer2013.build(csv=fer[0], choice=RowOptions(keep_duplicates=True))


def lines_of(samples: Samples, rows: list[int], **cells: str) -> list[dict[str, str]]:
    return [
        {"name": str(samples.names[row]), "image": fingerprint(samples.images[row]), "reason": "label", **cells}
        for row in rows
    ]


def write(path: Path, lines: list[dict[str, str]], columns: tuple[str, ...] = FULL, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", delimiter=delimiter)
        writer.writeheader()
        writer.writerows(lines)
    return path


def built(fer: tuple[Path, Path], path: Path, out: Path, *more: object) -> tuple[int, str]:
    done = run_command(
        "data", "build", "fer2013", "--csv", fer[0], "--keep-duplicates", "--exclude", path, "--out", out, *more
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_every_builder_has_the_option() -> None:
    for name in names():
        found = run_command("data", "build", name, "--help")
        assert "--exclude" in found.stdout, name
        assert (
            "exclude" in str(inspect.signature(builder(name)))
            or "choice" in inspect.signature(builder(name)).parameters
        )


def test_edited_lines_count(fer: tuple[Path, Path], samples: Samples, tmp_path: Path) -> None:
    lines = [*lines_of(samples, [1, 2]), *lines_of(samples, [3], keep="yes"), *lines_of(samples, [4], keep="no")]
    code, told = built(fer, write(tmp_path / "list.csv", lines), tmp_path / "a.h5")
    assert code == 0, told
    left = store.load(tmp_path / "a.h5")
    assert sorted(set(samples.names) - set(left.names), key=int) == ["1", "2", "4"]
    assert "left out 3 images; 1 stay, by their column keep" in told
    assert "dropped by the list: 3" in told


def test_spreadsheets_write_semicolons_and_a_mark(fer: tuple[Path, Path], samples: Samples, tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", lines_of(samples, [1]), ("Keep", "name", "image"), ";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    code, told = built(fer, path, tmp_path / "a.h5")
    assert code == 0, told
    assert "1" not in store.load(tmp_path / "a.h5").names


def test_a_list_of_names_alone_is_enough(fer: tuple[Path, Path], samples: Samples, tmp_path: Path) -> None:
    code, told = built(fer, write(tmp_path / "list.csv", lines_of(samples, [5, 6]), ("name",)), tmp_path / "a.h5")
    assert code == 0, told
    assert len(store.load(tmp_path / "a.h5")) == len(samples) - 2


def test_lines_that_are_not_found_are_named(fer: tuple[Path, Path], samples: Samples, tmp_path: Path) -> None:
    lines = [*lines_of(samples, [1]), {"name": "happy/7.png", "image": "0" * 16}, {"name": "99999"}]
    code, told = built(fer, write(tmp_path / "list.csv", lines), tmp_path / "a.h5")
    assert code == 0, told
    assert "left out 1 images; 2 were not found: happy/7.png, 99999" in told


@pytest.mark.parametrize("name", ["happy/0.png", "3"])
def test_a_list_of_another_data_set_is_an_error(name: str, fer: tuple[Path, Path], tmp_path: Path) -> None:
    """A row number means another face in every file; the pixels tell."""
    path = write(tmp_path / "list.csv", [{"name": name, "image": "0123456789abcdef", "reason": "label"}])
    code, told = built(fer, path, tmp_path / "a.h5")
    assert code == 4
    assert f"none of its 1 images is in this data set; the first: '{name}'" in told
    assert not (tmp_path / "a.h5").exists()


def test_rows_without_a_name_are_found_by_their_pixels(
    fer: tuple[Path, Path], samples: Samples, tmp_path: Path
) -> None:
    """FER+ names no image that is not a face; a list of the store without votes finds them in that with votes."""
    voted = fer2013.build(csv=fer[0], votes=fer[1], choice=RowOptions(keep_duplicates=True))
    (rows,) = np.nonzero(voted.names == "")
    assert len(rows) >= 2
    path = write(tmp_path / "list.csv", lines_of(samples, [int(rows[0])]))
    code, told = built(fer, path, tmp_path / "a.h5", "--votes", fer[1])
    assert code == 0, told
    left = store.load(tmp_path / "a.h5")
    assert len(left) == len(voted) - 1
    assert (left.names == "").sum() == len(rows) - 1


def test_of_equal_images_without_names_one_stays(samples: Samples, tmp_path: Path) -> None:
    part = samples.subset(np.array([0, 1, 2, 3]))
    part.images[2] = part.images[3] = part.images[0]
    part.names[:] = ""
    path = write(tmp_path / "list.csv", [line | {"name": ""} for line in lines_of(part, [2, 3])])
    assert excluded(part, path).rows.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", 4, "the header lacks name"),
        ("file,label\na.png,happy\n", 4, "the header lacks name"),
        ("name,image\n,\n", 4, "line 2 has neither a name nor an image"),
        (None, 3, "no such file"),
    ],
)
def test_what_is_no_list(text: str | None, code: int, told: str, fer: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    found, message = built(fer, path, tmp_path / "a.h5")
    assert (found, told in message) == (code, True), message


def test_no_class_may_lose_all_its_images(fer: tuple[Path, Path], samples: Samples, tmp_path: Path) -> None:
    rows = np.flatnonzero((samples.labels == 1) & (samples.split == 0)).tolist()
    code, told = built(fer, write(tmp_path / "list.csv", lines_of(samples, rows)), tmp_path / "a.h5")
    assert code == 4
    assert f"leaves out every training image of the class '{samples.classes[1]}'" in told


def test_a_list_may_keep_everything(fer: tuple[Path, Path], samples: Samples, tmp_path: Path) -> None:
    code, told = built(fer, write(tmp_path / "list.csv", lines_of(samples, [1, 2], keep="x")), tmp_path / "a.h5")
    assert code == 0, told
    assert "left out 0 images; 2 stay" in told
    assert len(store.load(tmp_path / "a.h5")) == len(samples)


def test_counts_of_the_source_are_those_of_what_is_left(
    fer: tuple[Path, Path], samples: Samples, tmp_path: Path
) -> None:
    code, _ = built(fer, write(tmp_path / "list.csv", lines_of(samples, [1, 2, 3])), tmp_path / "a.h5")
    assert code == 0
    left = store.load(tmp_path / "a.h5")
    sources: Any = left.about["sources"]
    assert sum(
        entry[split] for entry in sources.values() for split in ("train", "val", "test") if split in entry
    ) == len(left)
