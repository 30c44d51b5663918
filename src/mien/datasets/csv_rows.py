"""Rows of the CSV files of data sets, and the errors in these rows, collected so that one message reports them all."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mien.errors import DataError, InputError

_SHOWN: Final = 5  # errors that a message names; the others are counted
_LONGEST: Final = 60  # characters of a cell that a message repeats
_HINT: Final = "use the file as it was published"


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of each row that is not empty.

    Raises:
        InputError: The file does not exist or cannot be read.
        DataError: The file is not CSV text.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="check the path")
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV text file: {error}", hint=_HINT) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="check the file's permissions") from error
    finally:
        csv.field_size_limit(limit)


def records(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the named columns of each row below the header; a missing cell is an empty string.

    Raises:
        InputError: The file does not exist or cannot be read.
        DataError: The file is not CSV text, or its header lacks a column.
    """
    lines = rows(path)
    _, header = next(lines, (0, []))
    if missing := [name for name in columns if name not in header]:
        raise DataError(
            f"{path}: the header lacks {', '.join(missing)}; found {quoted(', '.join(header))}",
            hint=f"expected {','.join(columns)}",
        )
    places = {name: header.index(name) for name in columns}
    for line, cells in lines:
        yield line, {name: cells[place] if place < len(cells) else "" for name, place in places.items()}


class RowErrors:
    """Collects the errors of a file, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    def add(self, line: int, text: str) -> None:
        """Adds the error of one line."""
        self.found.append(f"line {line}: {text}")

    def check(self, hint: str) -> None:
        """Raises one error for all that was added.

        Raises:
            DataError: The file has errors; the message names the first few and counts the others.
        """
        if self.found:
            more = f"; and {len(self.found) - _SHOWN} more" if len(self.found) > _SHOWN else ""
            raise DataError(f"{self.path}: {'; '.join(self.found[:_SHOWN])}{more}", hint=hint)


def quoted(cell: str) -> str:
    """The content of a cell for a message: on one line, and not too long."""
    return repr(cell if len(cell) <= _LONGEST else cell[:_LONGEST] + "...")
