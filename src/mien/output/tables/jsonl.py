"""Tables as JSON lines."""

import json
from typing import Final

from mien.output.base import TableFormat, TextTable
from mien.output.schema import Row


class JsonlTable(TextTable):
    """JSON lines: one object per row; a missing value is null."""

    def line(self, row: Row) -> str:
        """One row, with its newline."""
        return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


TABLE: Final[TableFormat] = JsonlTable
