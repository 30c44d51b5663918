"""Tables with one row per face: CSV and JSON lines, with the same columns in the same order."""

import csv
import io
import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from mien.output.contract import TableFormat, cannot_write, replacing
from mien.results import LANDMARKS, Face, FrameResult

__all__ = ["TABLES", "CsvTable", "JsonlTable", "Value", "rows", "table_columns"]

Value = str | int | float | bool | None

_BOX: Final = ("x0", "y0", "x1", "y1")
_POINTS: Final = tuple(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")

# Decimals: a hundredth of a pixel; probabilities such that a row's still sum to 1 within 1e-5; microseconds.
_PIXEL, _PROBABILITY, _SECOND = 2, 6, 6


def table_columns(emotions: Sequence[str]) -> tuple[str, ...]:
    """The names of a table's columns, in order; `emotions` are the columns of probabilities."""
    return (
        *("source", "frame", "timestamp", "face"),
        *_BOX,
        "score",
        *_POINTS,
        *emotions,
        *("emotion", "confidence", "uncertain", "error"),
    )


def rows(result: FrameResult, emotions: Sequence[str]) -> list[dict[str, Value]]:
    """The rows of one result, each with the keys of `table_columns` in their order; None for an empty cell.

    One row per face, numbered from 0 in `face`. A picture without a face or with an error gives one row,
    without a number.

    Raises:
        ValueError: A face's expression has other emotions than the table.
    """
    blank: dict[str, Value] = dict.fromkeys(table_columns(emotions))
    blank |= {
        "source": _on_one_line(result.source),
        "frame": result.frame,
        "timestamp": None if result.timestamp is None else _rounded(result.timestamp, _SECOND),
        "error": None if result.error is None else _on_one_line(result.error),
    }
    if not result.faces:
        return [blank]
    return [blank | {"face": number} | _face(face, emotions) for number, face in enumerate(result.faces)]


def _face(face: Face, emotions: Sequence[str]) -> dict[str, Value]:
    cells: dict[str, Value] = {
        name: _rounded(value, _PIXEL) for name, value in zip(_BOX, face.box.tolist(), strict=True)
    }
    cells["score"] = _rounded(face.score, _PROBABILITY)
    if face.landmarks is not None:
        places = zip(_POINTS, face.landmarks.ravel().tolist(), strict=True)
        cells |= {name: _rounded(value, _PIXEL) for name, value in places}
    expression = face.expression
    if expression is not None:
        if expression.emotions != tuple(emotions):
            raise ValueError(f"emotions: this table has {tuple(emotions)}, the face has {expression.emotions}")
        cells |= {name: _rounded(value, _PROBABILITY) for name, value in expression.as_dict().items()}
        cells["emotion"] = expression.emotion
        cells["confidence"] = _rounded(expression.confidence, _PROBABILITY)
        cells["uncertain"] = expression.uncertain
    return cells


def _on_one_line(text: str) -> str:
    """The text with what a file name may have and a line of text may not (breaks, stray bytes) escaped."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]",
        lambda found: found[0].encode("unicode_escape").decode(),
        text,
    )


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # adding turns -0.0 into 0.0


class _TextTable(ABC):
    """A table in a text file, or on a text stream.

    Rows are written through at once. A file gets its name at a clean end; after an exception the rows so far
    stay in `<name>.partial`.

    Args:
        target: A path, "-" for standard output, or an open text stream, which is left open.
        emotions: The columns of probabilities; the results must have the same, in this order.

    Raises:
        OutputError: On entering, the place cannot be written.
    """

    def __init__(self, target: str | Path | TextIO, emotions: Sequence[str]) -> None:
        self.target = target
        self.emotions = tuple(emotions)
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
        self._put("".join(self._line(row) for row in rows(result, self.emotions)))

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
        with _refusals(self.target):
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()

    @abstractmethod
    def _head(self) -> str:
        """What stands before the rows."""

    @abstractmethod
    def _line(self, row: dict[str, Value]) -> str:
        """One row, with its newline."""


class CsvTable(_TextTable):
    """Comma-separated values: a line of names, then one line per row; nothing is an empty cell."""

    def _head(self) -> str:
        return _csv_line(table_columns(self.emotions))

    def _line(self, row: dict[str, Value]) -> str:
        return _csv_line(str(value).lower() if isinstance(value, bool) else value for value in row.values())


class JsonlTable(_TextTable):
    """JSON lines: one object per row; nothing is null."""

    def _head(self) -> str:
        return ""

    def _line(self, row: dict[str, Value]) -> str:
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
        with replacing(Path(target)) as partial:
            with _refusals(target):
                stream = partial.open("w", encoding="utf-8", newline="")
            with stream:
                yield stream


@contextmanager
def _refusals(target: str | Path | TextIO) -> Iterator[None]:
    """Turns what the system refuses into an OutputError; a reader who has left stays a BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        is_path = isinstance(target, (str, Path))
        raise cannot_write(target if is_path else getattr(target, "name", "the stream"), error) from error
