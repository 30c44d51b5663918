"""Tables that a spreadsheet has saved are read like those of mien."""

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.commands import run_command

from mien import emotions
from mien.output import open_table
from mien.output.saved_tables import open_rows
from mien.output.tables import table_formats
from mien.results import Expression, Face, FrameResult

CLASSES = emotions.vocabulary(7)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two faces in an image, whose name has a comma and digits."""
    chances = np.full(7, 0.05, np.float32)
    chances[3] = 0.7
    face = Face(box=np.array([10, 10, 60, 70], np.float32), score=0.9, expression=Expression(chances, CLASSES))
    path = tmp_path / "faces.csv"
    with open_table(path, CLASSES) as written:
        written.write(FrameResult("1,5", width=100, height=100, faces=(face, face)))
    return path


def saved_again(table: Path, name: str, delimiter: str, *, comma: bool) -> Path:
    """The table as a spreadsheet saves it: another delimiter, a byte order mark, perhaps decimal commas."""
    with table.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    places = [head.index("source")]
    with table.with_name(name).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(head)
        for row in rows:
            cells = [cell if not comma or place in places else cell.replace(".", ",") for place, cell in enumerate(row)]
            writer.writerow(cells)
    return table.with_name(name)


@pytest.mark.parametrize(("delimiter", "comma"), [(";", False), (";", True), ("\t", False)])
def test_a_spreadsheet_saves_other_delimiters(table: Path, delimiter: str, comma: bool) -> None:
    again = saved_again(table, "again.csv", delimiter, comma=comma)
    assert open_rows(again).emotions == open_rows(table).emotions == CLASSES
    mine, theirs = list(open_rows(table).rows), list(open_rows(again).rows)
    assert mine == theirs if not comma else [row["happiness"] for row in mine] == [row["happiness"] for row in theirs]
    told = [run_command("report", path, "--json").stdout for path in (table, again)]
    assert told[0] == told[1] != ""


def test_the_source_keeps_its_commas(table: Path) -> None:
    again = saved_again(table, "again.csv", ";", comma=True)
    assert {row["source"] for row in open_rows(again).rows} == {"1,5"}


@pytest.mark.parametrize("suffix", table_formats())
@pytest.mark.parametrize("name", ["a\r\nb\rc.jpg", "bad\udcff.jpg", "a\u2028b\x85c.jpg", "100%.jpg"])
def test_names_come_back_as_they_were(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"faces.{suffix}"
    with open_table(path, CLASSES) as written:
        written.write(FrameResult(name, width=100, height=100))
    assert [row["source"] for row in open_rows(path).rows] == [name]


def test_a_wrong_option_has_its_dashes(table: Path) -> None:
    done = run_command("report", table, "--smooth", "-1")
    assert done.returncode == 2
    assert "error: --smooth: expected seconds from 0" in done.stderr
