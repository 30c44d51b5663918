"""Reads the tables that `mien analyze --table` wrote, in each format whose module has `read_rows`."""

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.errors import DataError, InputError
from mien.output.base import ReadRows
from mien.output.schema import Layout, columns
from mien.output.tables import table_formats, table_module
from mien.results import AFFECT

_FIXED: Final = frozenset(column.name for column in columns(Layout((), keypoints=1)))
_OTHER: Final = re.compile(r"smoothed_.+|[xy]_\d+")
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
    names, rows = read_table(path)
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


def read_table(path: Path) -> ReadRows:
    """The names of the columns of any table in such a format, and its rows. Errors are those of `open_rows`."""
    formats = [name for name in table_formats() if hasattr(table_module(name), "read_rows")]
    suffix = path.suffix.lower()
    if suffix.removeprefix(".") not in formats:
        *others, last = (f".{name}" for name in formats)
        raise DataError(
            f"no table format for '{path}': expected the suffix {', '.join(others)} or {last}, found '{suffix}'",
            hint="mien analyze IMAGES --table faces.csv makes a table",
        )
    read: Callable[[Path], ReadRows] = table_module(suffix.removeprefix(".")).read_rows
    try:
        return read(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read '{path}': {getattr(error, 'strerror', None) or 'it is not text in UTF-8'}"
        ) from error
