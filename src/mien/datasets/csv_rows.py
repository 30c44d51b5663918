"""Rows of the CSV files of data sets, and the errors in these rows, collected so that one message reports them all.

A CSV file may be packed as it was downloaded: in a .zip or .tar archive, or compressed with gzip, bzip2 or xz.
"""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from mien.errors import DataError, InputError, LimitError
from mien.files import new_file
from mien.names import delimiter_of

# Characters of a cell, which may hold all pixels of an image. The limit is that of the process: set and left, because
# rows of several files may be read in turn.
_CELL: Final = 2**31 - 1
_SHOWN: Final = 5  # errors that a message names; the others are counted
_LONGEST: Final = 60  # characters of a cell that a message repeats
_HINT: Final = "use the file as it was published"
# Unpacked bytes that are read from an archive, and the entries of its table of contents. fer2013.csv has 301 million.
_ROOM: Final = 2 * 2**30
_ENTRIES: Final = 100_000
_COMPRESSED: Final = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# What the errors of damaged archives and compressed files are, besides OSError.
_DAMAGED: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def rows(path: Path, preferred: Sequence[str] = ()) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of each row that is not empty.

    Args:
        path: The CSV file, or an archive with it.
        preferred: Names of the CSV file in an archive with several, the best first.

    Raises:
        InputError: The file does not exist or cannot be read.
        DataError: The file is not CSV text, or an archive without one CSV file to choose.
        LimitError: The unpacked file is too large.
    """
    _check_file(path)
    csv.field_size_limit(_CELL)
    try:
        with _opened(path, preferred) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            reader = csv.reader(itertools.chain([first], file), delimiter=delimiter_of(first))
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV text file: {error}", hint=_HINT) from error
    except _DAMAGED as error:
        raise DataError(f"{path}: the archive is damaged: {error}", hint="download it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", hint="check the file") from error


def header(path: Path, preferred: Sequence[str] = ()) -> list[str]:
    """The stripped cells of the first row; empty if the file has no rows. Errors are those of `rows`."""
    lines = rows(path, preferred)
    try:
        return next(lines, (0, []))[1]
    finally:
        lines.close()  # type: ignore[attr-defined]


def records(path: Path, columns: Sequence[str], preferred: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the named columns of each row below the header; a missing cell is an empty string.

    Raises:
        InputError: The file does not exist or cannot be read.
        DataError: The file is not CSV text, or its header lacks a column.
    """
    lines = rows(path, preferred)
    _, found = next(lines, (0, []))
    check_columns(path, found, columns)
    places = {name: found.index(name) for name in columns}
    for line, cells in lines:
        yield line, {name: cells[place] if place < len(cells) else "" for name, place in places.items()}


def check_columns(path: Path, found: Sequence[str], columns: Sequence[str]) -> None:
    """Makes sure that a header has these columns.

    Raises:
        DataError: It lacks some. The hint says what the file is, if it is one that people download by mistake.
    """
    if not (missing := [name for name in columns if name not in found]):
        return
    first = found[0].lower() if found else ""
    hint = f"expected {','.join(columns)}"
    if first.startswith(("<!doctype", "<html")):
        hint = "it is a web page: sign in on the site, and download the file again"
    elif first.startswith("version https://git-lfs"):
        hint = "it is a pointer of Git LFS: run `git lfs pull`"
    raise DataError(
        f"{path}: the header lacks {', '.join(missing)}; found {quoted(', '.join(found))}",
        hint=hint,
    )


def _check_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(each.name for each in path.iterdir() if each.suffix.lower() == ".csv")
        found = f"give a file in it: {path / inside[0]}" if inside else "give the CSV file"
        raise InputError(f"{path}: no such file, it is a folder", hint=found)
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="check the path")


@contextmanager
def _opened(path: Path, preferred: Sequence[str]) -> Iterator[IO[bytes]]:
    """The bytes of the CSV file, unpacked."""
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        magic = file.read(8)
        file.seek(0)
        if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            archive = stack.enter_context(zipfile.ZipFile(file))
            sizes = {info.filename: info.file_size for info in archive.infolist()[:_ENTRIES] if not info.is_dir()}
            inner = stack.enter_context(archive.open(_chosen(path, list(sizes), preferred)))
            yield _Bounded.over(inner, path)
            return
        unpack = next((opener for start, opener in _COMPRESSED.items() if magic.startswith(start)), None)
        plain: IO[bytes] = stack.enter_context(unpack(file)) if unpack else file  # type: ignore[operator]
        if members := _tar_members(plain, path, stack):
            tar, names = members
            inner_file = tar.extractfile(_chosen(path, names, preferred))
            if inner_file is None:
                raise DataError(f"{path}: its CSV file is a link", hint="unpack the archive, and give the CSV file")
            yield _Bounded.over(stack.enter_context(inner_file), path)
            return
        plain.seek(0)
        yield _Bounded.over(plain, path) if unpack else plain


def _tar_members(file: IO[bytes], path: Path, stack: ExitStack) -> tuple[tarfile.TarFile, list[str]] | None:
    """The archive and the names of its files, if the file is a tar archive."""
    start = file.read(512)
    file.seek(0)
    if start[257:262] != b"ustar":
        return None
    tar = stack.enter_context(tarfile.TarFile(fileobj=file))
    names: list[str] = []
    read = 0
    for entry in tar:
        read += entry.size
        if len(names) > _ENTRIES or read > _ROOM:
            raise LimitError(f"{path}: holds more than mien unpacks", hint="unpack it, and give the CSV file")
        if entry.isfile():
            names.append(entry.name)
    return tar, names


def _chosen(path: Path, names: Sequence[str], preferred: Sequence[str]) -> str:
    """The CSV file of an archive."""
    tables = [
        name
        for name in names
        if name.lower().endswith(".csv")
        and not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    ]
    for wanted in preferred:
        if fitting := [name for name in tables if PurePosixPath(name).name.lower() == wanted]:
            tables = fitting
            break
    if len(tables) != 1:
        found = ", ".join(tables[:_SHOWN]) if tables else "none"
        nested = [name for name in names if name.lower().endswith((".zip", ".gz", ".tgz", ".tar"))]
        inside = f"; it holds the archive {nested[0]}" if nested and not tables else ""
        raise DataError(
            f"{path}: expected one CSV file in the archive, found {found}{inside}",
            hint="unpack it, and give the CSV file",
        )
    return tables[0]


class _Bounded(io.RawIOBase):
    """A stream that ends with an error after `_ROOM` bytes: a small archive can hold endless zeros."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__()
        self._file, self._path, self._left = file, path, _ROOM

    @classmethod
    def over(cls, file: IO[bytes], path: Path) -> IO[bytes]:
        """The bounded stream, buffered."""
        return io.BufferedReader(cls(file, path), 2**20)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise LimitError(
                f"{self._path}: its CSV file has more than {_ROOM / 2**30:.0f} GiB unpacked",
                hint="unpack it, and give the CSV file",
            )
        buffer[: len(data)] = data
        return len(data)


class RowError(Exception):
    """The error of one row, in words."""


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


class LeftOut(list[tuple[str, str, str]]):
    """Files that a builder leaves out: the name of each, the kind of the reason, and the reason."""

    def about(self, *kinds: str) -> dict[str, object]:
        """What a store notes of them: the number of each kind, and the first few; `kinds` are noted even if none is."""
        counts = dict.fromkeys(kinds, 0) | dict(sorted(Counter(kind for _, kind, _ in self).items()))
        return {
            **{f"dropped_{kind}": count for kind, count in counts.items()},
            "left_out": [f"{name}: {why}" for name, _, why in self[:_SHOWN]],
        }

    def write(self, path: Path) -> None:
        """Writes all of them to a CSV file.

        Raises:
            OutputError: The file exists, or cannot be written.
        """
        with new_file(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "kind", "reason"])
            writer.writerows(self)
