"""Tables in Parquet: typed columns with their schema, read by pandas, polars, R, DuckDB and Spark (`mien[report]`)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from mien.errors import MissingExtraError
from mien.files import write_errors
from mien.output.base import TableFormat, binary_stream
from mien.output.schema import SCHEMA, Layout, Row
from mien.output.styles import MIEN, Style
from mien.results import FrameResult

__all__ = ["TABLE", "ParquetTable"]

# Rows in a group: a few hundred kilobytes of memory, however long the table grows.
_GROUP: Final = 4096


class ParquetTable:
    """A table in a Parquet file, or on a binary stream.

    Rows are written in groups, so that memory stays flat. The file's metadata has the version of the schema
    (`mien_schema`) and the style of the names (`mien_style`). A file gets its name at a clean end; after an exception
    the rows so far stay in `<name>.partial`, which is a complete Parquet file unless the disk refused a write.

    Args:
        target: A path, "-" for standard output, or an open binary stream, which is left open.
        layout: The columns; the results must have the same emotions.
        style: The names of the columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OutputError: On entering, the destination cannot be written.
    """

    def __init__(self, target: str | Path | IO[bytes], layout: Layout, style: Style = MIEN) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError("a Parquet table", "report") from None
        self._arrow = pyarrow
        self.target = target
        self.layout = layout
        self.style = style
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
        self._writer: Any = None
        self._waiting: list[Row] = []
        self._refused = False

    def __enter__(self) -> Self:
        self._waiting, self._refused = [], False
        with ExitStack() as stack:
            stream = stack.enter_context(binary_stream(self.target))
            self._writer = stack.enter_context(self._writing(stream))
            self._closing = stack.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Adds the rows of one result.

        Raises:
            OutputError: The destination cannot be written, for example because the disk is full.
            ValueError: The table is not open, or its emotions differ from the result's.
        """
        if self._writer is None:
            raise ValueError("the table is not open: use it in a with statement")
        self._waiting += self.style.rows(result, self.layout)
        if len(self._waiting) >= _GROUP:
            self._put(self._writer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer = None
        self._closing.__exit__(kind, error, trace)

    @contextmanager
    def _writing(self, stream: IO[bytes]) -> Iterator[Any]:
        """Pyarrow's writer; at the end, the waiting rows and the file's footer are written."""
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
        """Writes the waiting rows as one group."""
        rows, self._waiting = self._waiting, []
        self._refused = True  # until the group is written: a file with a gap is not continued
        with write_errors(self.target):
            writer.write_batch(self._arrow.RecordBatch.from_pylist(rows, self._schema))
        self._refused = False


TABLE: Final[TableFormat] = ParquetTable
