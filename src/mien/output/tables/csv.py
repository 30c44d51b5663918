"""Tables as comma-separated values."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from mien.names import printable, to_cell
from mien.output.base import TableFormat, TextTable
from mien.output.schema import Row, Value


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


TABLE: Final[TableFormat] = CsvTable
