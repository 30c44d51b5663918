"""Tables in Parquet: typed columns with their schema, read by pandas, polars, R, DuckDB and Spark (`mien[report]`)."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from mien.errors import DataError, MissingExtraError, OutputError
from mien.files import new_file, write_errors
from mien.names import from_cell, to_cell
from mien.output.base import ReadRows, Table, TableFormat
from mien.output.schema import SCHEMA, Layout, Row
from mien.output.styles import MIEN, Style

# Rows in a group: a few hundred kilobytes of memory, however long the table grows.
_GROUP: Final = 4096
# Most bytes of a column of a group, beyond its values: headers of its pages, and its entry in the footer. Most bytes of
# the rest of a footer.
_COLUMN: Final = 512
_FOOTER: Final = 16_384


class ParquetTable(Table[IO[bytes]]):
    """A table in a Parquet file, or on a binary stream.

    Rows are written in groups, so that memory stays flat. The file's metadata has the version of the schema
    (`mien_schema`), the style of the names (`mien_style`) and the version of mien that wrote it (`mien_version`). A
    file gets its name at a clean end; after an exception the rows so far stay in `<name>.partial`, which is a complete
    Parquet file, also if the disk is full: room for the footer, without which nobody can read the rows, is kept free
    before each group is written.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OutputError: On entering, the destination cannot be written.
    """

    def __init__(self, target: str | Path | IO[bytes], layout: Layout, style: Style = MIEN) -> None:
        super().__init__(target, layout, style)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError("a Parquet table", "report") from None
        self._arrow = pyarrow
        types = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "boolean": pyarrow.bool_(),
        }
        version = importlib.import_module("mien").__version__  # an import statement would be a cycle: mien imports this
        self._schema = pyarrow.schema(
            [(column.name, types[column.type]) for column in style.columns(layout)],
            metadata={"mien_schema": str(SCHEMA), "mien_style": style.name, "mien_version": version},
        )
        self._waiting: list[Row] = []
        self._groups = 0
        self._refused = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Opens the file; at the end, the waiting rows and the footer are written."""
        self._waiting, self._groups, self._refused = [], 0, False
        self._room: _Room | None = None
        with ExitStack() as stack:
            if not isinstance(self.target, (str, Path)):
                stream = self.target
            elif str(self.target) != "-":
                stream = stack.enter_context(new_file(self.target, "wb"))
                self._room = _Room(stream)
            elif sys.stdout.isatty():
                raise OutputError("a Parquet table cannot be printed on a terminal", hint="--table out.parquet")
            else:
                sys.stdout.flush()
                stream = sys.stdout.buffer
            with write_errors(self.target):
                if self._room is not None:
                    self._room.keep(_FOOTER)
                self._writer = self._arrow.parquet.ParquetWriter(stream, self._schema)
            try:
                yield
            finally:
                try:
                    if not self._refused:
                        self._write_group()
                finally:
                    with write_errors(self.target):
                        if not self._refused or self._room is not None:
                            self._writer.close()
                            stream.flush()
                        if self._room is not None:
                            self._room.close()

    def put(self, rows: list[Row]) -> None:
        """See `Table.put`."""
        self._waiting += [
            {key: to_cell(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows
        ]
        if len(self._waiting) >= _GROUP:
            self._write_group()

    def _write_group(self) -> None:
        rows, self._waiting = self._waiting, []
        batch = self._arrow.RecordBatch.from_pylist(rows, self._schema)
        self._refused = True  # until the group is written: a file with a gap is not continued
        with write_errors(self.target):
            fits, full = self._fitting(batch)
            if fits:
                self._writer.write_batch(batch.slice(0, fits))
                self._groups += 1
            if full is not None:
                raise full
        self._refused = False

    def _fitting(self, batch: Any) -> tuple[int, OSError | None]:
        """How many rows of a record batch the disk has room for, with a footer behind them; and why not for more."""
        rows, full = batch.num_rows, None
        footer = len(self._schema) * (self._groups + 1) * _COLUMN + _FOOTER
        while rows and self._room is not None:
            try:
                self._room.keep(batch.slice(0, rows).nbytes + footer)
                break
            except OSError as error:
                rows, full = rows // 2, error
        return rows, full


class _Room:
    """Room on the disk behind the position of a file: what is kept can be written, whatever others write meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0

    def keep(self, size: int) -> None:
        """Keeps so many bytes from the position on; the position stays.

        Raises:
            OSError: The disk is full; what was kept before stays.
        """
        self._file.flush()
        place = self._file.tell()
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), place, size)
            else:
                self._file.write(bytes(size))
                self._file.flush()
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise
        finally:
            self._file.seek(place)
        self._end = place + size

    def close(self) -> None:
        """Gives back what was not used."""
        self._file.flush()
        self._file.truncate()


def read_rows(path: Path) -> ReadRows:
    """The columns and rows of such a file.

    Raises:
        DataError: It is not a Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "report") from error
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise DataError(f"'{path}' is not a Parquet file: {error}") from error
    rows = table.to_pylist()
    return list(table.column_names), ({**row, "source": from_cell(str(row.get("source")))} for row in rows)


TABLE: Final[TableFormat] = ParquetTable
