"""Reads the tables that `mien analyze --table` wrote: CSV, JSON lines or Parquet."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.errors import DataError, InputError, MissingExtraError
from mien.names import delimiter_of, from_cell
from mien.output.schema import Layout, columns
from mien.results import AFFECT

_FIXED: Final = frozenset(column.name for column in columns(Layout((), keypoints=1)))
_OTHER: Final = re.compile(r"smoothed_.+|[xy]_\d+")
_COMMA: Final = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_NEEDED: Final = ("source", "timestamp", "face", "emotion")


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table that is being read, once.

    Attributes:
        path: The file.
        emotions: The names of the classes.
        rows: The cells by the names of the columns, text or numbers as the format has them.
    """

    path: Path
    emotions: tuple[str, ...]
    rows: Iterator[Mapping[str, Any]]

    def each(self, use: Callable[[Mapping[str, Any]], None]) -> int:
        """Calls a function with every row; gives their number.

        Raises:
            DataError: A cell is not what the schema says; the message names the row.
        """
        done = 0
        try:
            for row in self.rows:
                use(row)
                done += 1
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise DataError(f"'{self.path}', row {done + 1}: {error}") from error
        return done


def number(value: object) -> float:
    """A cell as a number; NaN if it is empty."""
    if value is None or value == "":
        return math.nan
    return float(value)  # type: ignore[arg-type]


def open_rows(path: Path) -> TableRows:
    """Begins to read a table.

    Raises:
        InputError: The file cannot be read.
        DataError: It is not such a table.
        MissingExtraError: Parquet needs packages that are not installed.
    """
    names, rows = _rows(path)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        hint = "make one with mien analyze IMAGES --table faces.csv, without --style"
        if {"schema", "faces"} <= set(names):
            hint = "these are the results of --json; mien analyze IMAGES --table faces.jsonl makes a table"
        raise DataError(f"'{path}' is not a table of mien: it has no column {', '.join(missing)}", hint=hint)
    # The columns of probabilities are all that the schema does not name.
    # A class may have the name of a dimension; its table has no dimensions, which stand behind `emotion`.
    own = set(AFFECT) & set(names[: names.index("emotion")])
    emotions = tuple(name for name in names if name in own or (name not in _FIXED and not _OTHER.fullmatch(name)))
    return TableRows(path, emotions, rows)


def _rows(path: Path) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    """The names of the columns, and the rows."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _parquet(path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read '{path}': {getattr(error, 'strerror', None) or 'it is not text in UTF-8'}"
        ) from error
    if suffix == ".jsonl":
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise DataError(f"'{path}' is not JSON lines: {error}") from error
        if not all(isinstance(row, dict) for row in found):
            raise DataError(f"'{path}' is not a table of mien: its lines are no objects")
        return list(found[0]) if found else [], iter(found)
    if suffix != ".csv":
        raise DataError(
            f"no table format for '{path}': expected the suffix .csv, .jsonl or .parquet, found '{suffix}'",
            hint="mien analyze IMAGES --table faces.csv makes a table",
        )
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


def _parquet(path: Path) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "report") from error
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise DataError(f"'{path}' is not a Parquet file: {error}") from error
    return list(table.column_names), iter(table.to_pylist())
