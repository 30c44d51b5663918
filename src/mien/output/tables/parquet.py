"""Tables in Parquet: typed columns with their schema, read by pandas, polars, R, DuckDB and Spark (`mien[report]`)."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from mien.errors import MissingExtraError, OutputError
from mien.files import new_file, write_errors
from mien.names import to_cell
from mien.output.base import Table, TableFormat
from mien.output.schema import SCHEMA, Layout, Row
from mien.output.styles import MIEN, Style

# Rows in a group: a few hundred kilobytes of memory, however long the table grows.
_GROUP: Final = 4096


class ParquetTable(Table[IO[bytes]]):
    """A table in a Parquet file, or on a binary stream.

    Rows are written in groups, so that memory stays flat. The file's metadata has the version of the schema
    (`mien_schema`) and the style of the names (`mien_style`). A file gets its name at a clean end; after an exception
    the rows so far stay in `<name>.partial`, which is a complete Parquet file unless the disk refused a write.

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
        self._schema = pyarrow.schema(
            [(column.name, types[column.type]) for column in style.columns(layout)],
            metadata={"mien_schema": str(SCHEMA), "mien_style": style.name},
        )
        self._waiting: list[Row] = []
        self._refused = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Opens the file; at the end, the waiting rows and the footer are written."""
        self._waiting, self._refused = [], False
        with ExitStack() as stack:
            if not isinstance(self.target, (str, Path)):
                stream = self.target
            elif str(self.target) != "-":
                stream = stack.enter_context(new_file(self.target, "wb"))
            elif sys.stdout.isatty():
                raise OutputError("a Parquet table cannot be printed on a terminal", hint="--table out.parquet")
            else:
                sys.stdout.flush()
                stream = sys.stdout.buffer
            with write_errors(self.target):
                self._writer = self._arrow.parquet.ParquetWriter(stream, self._schema)
            try:
                yield
            finally:
                if not self._refused:
                    self._write_group()
                    with write_errors(self.target):
                        self._writer.close()
                        stream.flush()

    def put(self, rows: list[Row]) -> None:
        """See `Table.put`."""
        self._waiting += [
            {key: to_cell(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows
        ]
        if len(self._waiting) >= _GROUP:
            self._write_group()

    def _write_group(self) -> None:
        rows, self._waiting = self._waiting, []
        self._refused = True  # until the group is written: a file with a gap is not continued
        with write_errors(self.target):
            self._writer.write_batch(self._arrow.RecordBatch.from_pylist(rows, self._schema))
        self._refused = False


TABLE: Final[TableFormat] = ParquetTable
