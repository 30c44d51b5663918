"""Tables as comma-separated values."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from mien.output.base import TableFormat, TextTable
from mien.output.schema import Row, Value


class CsvTable(TextTable):
    """Comma-separated values: a line of column names, then one line per row; a missing value is an empty cell."""

    def head(self) -> str:
        """The line of column names."""
        return _line(column.name for column in self.style.columns(self.layout))

    def line(self, row: Row) -> str:
        """One row, with its newline."""
        return _line(str(value).lower() if isinstance(value, bool) else value for value in row.values())


def _line(cells: Iterable[Value]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


TABLE: Final[TableFormat] = CsvTable
