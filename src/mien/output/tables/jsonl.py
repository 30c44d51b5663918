"""Tables as JSON lines."""

import json
from pathlib import Path
from typing import Final

from mien.errors import DataError
from mien.names import to_json
from mien.output.base import ReadRows, TableFormat, TextTable
from mien.output.schema import Row


class JsonlTable(TextTable):
    """JSON lines: one object per row; a missing value is null."""

    def line(self, row: Row) -> str:
        """One row, with its newline."""
        return to_json(row, encoding=self.encoding, allow_nan=False) + "\n"


def read_rows(path: Path) -> ReadRows:
    """The columns and rows of such a file.

    Raises:
        DataError: A line is not JSON, or no object.
    """
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise DataError(f"'{path}' is not JSON lines: {error}") from error
    if not all(isinstance(row, dict) for row in found):
        raise DataError(f"'{path}' is not a table of mien: its lines are no objects")
    return list(found[0]) if found else [], iter(found)


TABLE: Final[TableFormat] = JsonlTable
