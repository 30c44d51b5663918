"""Tables as comma-separated values."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mien.names import delimiter_of, from_cell, printable, to_cell
from mien.output.base import ReadRows, TableFormat, TextTable
from mien.output.schema import Row, Value

_COMMA: Final = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


class CsvTable(TextTable):
    """Comma-separated values (RFC 4180): a line of column names, then one per row; a missing value is an empty cell.

    Names are exact: one with a line break is quoted, and one with bytes that are not UTF-8 is written by
    `mien.names.to_cell`. A terminal gets `mien.names.printable` instead.
    """

    def head(self) -> str:
        """The line of column names."""
        return self._line(column.name for column in self.style.columns(self.layout))

    def line(self, row: Row) -> str:
        """One row, with its newline."""
        return self._line(str(value).lower() if isinstance(value, bool) else value for value in row.values())

    def _line(self, cells: Iterable[Value]) -> str:
        text = printable if self.on_terminal else to_cell
        line = io.StringIO(newline="")
        # csv quotes only the line breaks that its own line end has; a name may have both.
        writer = csv.writer(line, lineterminator="\r\n")
        writer.writerow([text(cell) if isinstance(cell, str) else cell for cell in cells])
        return line.getvalue().removesuffix("\r\n") + "\n"


def read_rows(path: Path) -> ReadRows:
    """The columns and rows of such a file; also as a spreadsheet saved it, with semicolons and decimal commas."""
    with path.open(encoding="utf-8-sig", newline="") as file:  # line ends in a name stay as they are
        text = file.read()
    delimiter = delimiter_of(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = list(reader.fieldnames or ())
    rows: Iterator[Mapping[str, Any]] = iter(reader)
    if delimiter == ";":  # of a spreadsheet in a language whose decimals have a comma
        rows = ({name: cell if name == "source" else _with_point(cell) for name, cell in row.items()} for row in reader)
    return names, ({**row, "source": from_cell(str(row.get("source")))} for row in rows)


def _with_point(cell: Any) -> Any:
    """A number with a decimal comma as one with a point; any other cell as it is."""
    return cell.replace(",", ".") if isinstance(cell, str) and _COMMA.fullmatch(cell) else cell


TABLE: Final[TableFormat] = CsvTable
