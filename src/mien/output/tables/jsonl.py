"""Tables as JSON lines."""

from typing import Final

from mien.names import to_json
from mien.output.base import TableFormat, TextTable
from mien.output.schema import Row


class JsonlTable(TextTable):
    """JSON lines: one object per row; a missing value is null."""

    def line(self, row: Row) -> str:
        """One row, with its newline."""
        return to_json(row, encoding=self.encoding, allow_nan=False) + "\n"


TABLE: Final[TableFormat] = JsonlTable
