"""Goes on with a table whose analysis ended before its inputs did: what is in it already, and where to go on.

A process that is killed leaves `<name>.partial`; one that is stopped gives the table its name.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from mien.errors import ConfigError, DataError, InputError, OutputError
from mien.files import append, partial_of
from mien.names import from_cell

_BLOCK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Begun:
    """A part of a table that stays.

    Attributes:
        path: The file that has it.
        size: The bytes of the file that stay: with the head, and all rows of `sources`.
        sources: The images and videos that are in it with all their rows.
    """

    path: Path
    size: int
    sources: frozenset[str]

    def put_into(self, file: io.FileIO, table: Path) -> None:
        """Leaves this part and nothing else in a file that nobody else is writing, to go on at its end.

        Args:
            file: The partial file of the table, open for reading and writing.
            table: The table.

        Raises:
            OSError: It cannot be written.
            OutputError: Another process has changed it meanwhile.
        """
        if self.path != partial_of(table):
            file.truncate(0)
            with self.path.open("rb") as before:
                left = self.size
                while left and (content := before.read(min(left, _BLOCK))):
                    append(file, content)
                    left -= len(content)
        if file.seek(0, io.SEEK_END) < self.size:
            raise OutputError(f"'{self.path}' was changed by another process", hint="start the command again")
        file.truncate(self.size)
        file.seek(self.size)


def begun(table: Path, format: str) -> Begun | None:
    """What a table has that was begun earlier; None if there is none, or nothing in it that stays.

    It may have its name, `<name>.partial` beside it, or both: the one with more in it counts.

    The last image or video is left out: of a video, frames may be missing. If the last row is cut, as after a power
    failure, so is the one before it.

    Args:
        table: The file that the analysis writes.
        format: Its format: "csv" or "jsonl".

    Raises:
        ConfigError: Tables of this format cannot be continued.
        InputError: The file cannot be read.
        DataError: It is no such table.
    """
    if format not in _READERS:
        raise ConfigError(
            f"--resume: a table in the format {format} cannot be continued",
            hint=f"use a file ending in {' or '.join(f'.{name}' for name in _READERS)}",
        )
    found = [_begun(path, format) for path in (partial_of(table), table) if path.is_file()]
    return max((each for each in found if each), key=lambda each: len(each.sources), default=None)


def _begun(path: Path, format: str) -> Begun | None:
    starts: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            lines = _Lines(file)
            end = 0
            for source in _READERS[format](lines):
                starts.setdefault(source, end if starts else lines.head)
                end = lines.read
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}", hint="give another --table") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"'{path}' cannot be continued: it is no table of mien in the format {format}", hint="give another --table"
        ) from error
    left_out = list(starts)[-(1 if lines.is_whole else 2) :]
    sources = frozenset(starts.keys() - set(left_out))
    return Begun(path, starts[left_out[0]], sources) if sources else None


class _Lines:
    """The lines of a file as text, and how many bytes have been read of it.

    Attributes:
        read: Bytes of the lines so far.
        head: Bytes before the first row.
        is_whole: Whether the last line has its end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.read = self.head = 0
        self.is_whole = True

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.read += len(line)
            self.is_whole = line.endswith(b"\n")
            if self.is_whole:
                yield line.decode("utf-8")


def _of_csv(lines: _Lines) -> Iterator[str]:
    """The source of each row."""
    reader = csv.reader(iter(lines))
    place = next(reader, ["source"]).index("source")
    lines.head = lines.read
    for cells in reader:
        yield from_cell(cells[place])


def _of_json(lines: _Lines) -> Iterator[str]:
    for line in lines:
        row: dict[str, Any] = json.loads(line)
        yield str(row["source"])


_READERS: Final[dict[str, Callable[[_Lines], Iterator[str]]]] = {"csv": _of_csv, "jsonl": _of_json}
# The formats of tables that can be continued.
RESUMABLE: Final = tuple(_READERS)
