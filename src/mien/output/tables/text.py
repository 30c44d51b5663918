"""Tables of text with one row per face: CSV and JSON lines, with the same columns in the same order."""

import csv
import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from mien.files import new_file, write_errors
from mien.output.base import TableFormat
from mien.output.rows import Row, Value
from mien.output.styles import MIEN, Style
from mien.results import FrameResult

__all__ = ["TABLES", "CsvTable", "JsonlTable"]


class _TextTable(ABC):
    """A table in a text file, or on a text stream.

    Rows are written through at once. A file gets its name at a clean end; after an exception the rows so far
    stay in `<name>.partial`.

    Args:
        target: A path, "-" for standard output, or an open text stream, which is left open.
        emotions: The columns of probabilities; the results must have the same, in this order.
        style: The names of the columns.

    Raises:
        OutputError: On entering, the place cannot be written.
    """

    def __init__(self, target: str | Path | TextIO, emotions: Sequence[str], style: Style = MIEN) -> None:
        self.target = target
        self.emotions = tuple(emotions)
        self.style = style
        self._stream: TextIO | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stream = stack.enter_context(_text(self.target))
            self._put(self._head())
            self._closing = stack.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Adds the rows of one result.

        Raises:
            OutputError: The place cannot be written, for example because the disk is full.
            ValueError: The table is not open, or the emotions are others than the table's.
        """
        self._put("".join(self._line(row) for row in self.style.rows(result, self.emotions)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream = None
        self._closing.__exit__(kind, error, trace)

    def _put(self, text: str) -> None:
        if self._stream is None:
            raise ValueError("the table is not open: use it in a with statement")
        # A terminal or a pipe may not know every letter of a file name.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with write_errors(self.target):
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()

    @abstractmethod
    def _head(self) -> str:
        """What stands before the rows."""

    @abstractmethod
    def _line(self, row: Row) -> str:
        """One row, with its newline."""


class CsvTable(_TextTable):
    """Comma-separated values: a line of names, then one line per row; nothing is an empty cell."""

    def _head(self) -> str:
        return _csv_line(column.name for column in self.style.columns(self.emotions))

    def _line(self, row: Row) -> str:
        return _csv_line(str(value).lower() if isinstance(value, bool) else value for value in row.values())


class JsonlTable(_TextTable):
    """JSON lines: one object per row; nothing is null."""

    def _head(self) -> str:
        return ""

    def _line(self, row: Row) -> str:
        return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


# What `open_table` finds: the formats of this module by suffix.
TABLES: Final[dict[str, TableFormat]] = {".csv": CsvTable, ".jsonl": JsonlTable}


def _csv_line(cells: Iterable[Value]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


@contextmanager
def _text(target: str | Path | TextIO) -> Iterator[TextIO]:
    """A text stream that ends in `target`."""
    if not isinstance(target, (str, Path)):
        yield target
    elif str(target) == "-":
        yield sys.stdout
    else:
        with new_file(target, "w", encoding="utf-8", newline="") as stream:
            yield stream
