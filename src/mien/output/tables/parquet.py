"""Tables in Parquet: typed columns with their schema, read by pandas, polars, R, DuckDB and Spark (`mien[report]`)."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from mien.errors import MissingExtraError, OutputError
from mien.files import new_file, write_errors
from mien.output.base import TableFormat
from mien.output.rows import Row
from mien.output.schema import SCHEMA
from mien.output.styles import MIEN, Style
from mien.results import FrameResult

__all__ = ["TABLES", "ParquetTable"]

# Rows are written in groups of so many: a few hundred kilobytes of memory, however long the table grows.
_GROUP: Final = 4096


class ParquetTable:
    """A table in a Parquet file, or on a binary stream.

    Rows are written in groups, so that memory stays flat. The file's metadata has the version of the schema
    (`mien_schema`) and the style of the names (`mien_style`). A file gets its name at a clean end; after an exception
    the rows so far stay in `<name>.partial`, a whole Parquet file too, unless it was the disk that refused.

    Args:
        target: A path, "-" for standard output, or an open binary stream, which is left open.
        emotions: The columns of probabilities; the results must have the same, in this order.
        style: The names of the columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OutputError: On entering, the place cannot be written.
    """

    def __init__(self, target: str | Path | IO[bytes], emotions: Sequence[str], style: Style = MIEN) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError("a Parquet table", "report") from None
        self._arrow = pyarrow
        self.target = target
        self.emotions = tuple(emotions)
        self.style = style
        types = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "boolean": pyarrow.bool_(),
        }
        self._schema = pyarrow.schema(
            [(column.name, types[column.type]) for column in style.columns(self.emotions)],
            metadata={"mien_schema": str(SCHEMA), "mien_style": style.name},
        )
        self._writer: Any = None
        self._waiting: list[Row] = []
        self._refused = False

    def __enter__(self) -> Self:
        self._waiting, self._refused = [], False
        with ExitStack() as stack:
            stream = stack.enter_context(_binary(self.target))
            self._writer = stack.enter_context(self._writing(stream))
            self._closing = stack.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Adds the rows of one result.

        Raises:
            OutputError: The place cannot be written, for example because the disk is full.
            ValueError: The table is not open, or the emotions are others than the table's.
        """
        if self._writer is None:
            raise ValueError("the table is not open: use it in a with statement")
        self._waiting += self.style.rows(result, self.emotions)
        if len(self._waiting) >= _GROUP:
            self._put(self._writer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer = None
        self._closing.__exit__(kind, error, trace)

    @contextmanager
    def _writing(self, stream: IO[bytes]) -> Iterator[Any]:
        """Pyarrow's writer; in the end the rows that wait and the file's foot are written."""
        with write_errors(self.target):
            writer = self._arrow.parquet.ParquetWriter(stream, self._schema)
        try:
            yield writer
        finally:
            if not self._refused:
                self._put(writer)
                with write_errors(self.target):
                    writer.close()
                    stream.flush()

    def _put(self, writer: Any) -> None:
        """Writes the rows that wait, as a group."""
        rows, self._waiting = self._waiting, []
        self._refused = True  # until it is written; a file with a hole in it is not gone on with
        with write_errors(self.target):
            writer.write_batch(self._arrow.RecordBatch.from_pylist(rows, self._schema))
        self._refused = False


# What `open_table` finds: the formats of this module by suffix.
TABLES: Final[dict[str, TableFormat]] = {".parquet": ParquetTable}


@contextmanager
def _binary(target: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A binary stream that ends in `target`."""
    if not isinstance(target, (str, Path)):
        yield target
    elif str(target) == "-":
        if sys.stdout.isatty():
            raise OutputError("a Parquet table is not for a terminal", hint="send it on: --table - > faces.parquet")
        sys.stdout.flush()
        yield sys.stdout.buffer
    else:
        with new_file(target, "wb") as stream:
            yield stream
