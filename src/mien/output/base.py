"""The interface of every output, and the base of tables that are text."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from mien.errors import OutputError
from mien.files import new_file, write_errors
from mien.output.schema import Layout, Row
from mien.output.styles import MIEN, Style
from mien.results import FrameResult

__all__ = ["Output", "TableFormat", "TextTable", "binary_stream"]


class Output(Protocol):
    """A destination for results: used in a `with` statement, given one result at a time."""

    def __enter__(self) -> Self: ...

    def write(self, result: FrameResult) -> None:
        """Adds one result.

        Raises:
            OutputError: The destination cannot be written.
            ValueError: The output is not open: it is used outside `with`.
        """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TableFormat(Protocol):
    """The `TABLE` of a module in `output/tables`: a table class, or another callable that makes an `Output`."""

    def __call__(self, target: str | Path, layout: Layout, style: Style) -> Output:
        """A table for a path ("-": standard output) with the columns of this layout and style."""


class TextTable(ABC):
    """A table in a text file or on a text stream.

    Each row is written at once. A file gets its name at a clean end; after an exception the rows so far stay in
    `<name>.partial`.

    Args:
        target: A path, "-" for standard output, or an open text stream, which is left open.
        layout: The columns; the results must have the same emotions.
        style: The names of the columns.

    Raises:
        OutputError: On entering, the destination cannot be written.
    """

    def __init__(self, target: str | Path | IO[str], layout: Layout, style: Style = MIEN) -> None:
        self.target = target
        self.layout = layout
        self.style = style
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stream = stack.enter_context(_text_stream(self.target))
            self._put(self.head())
            self._closing = stack.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Adds the rows of one result.

        Raises:
            OutputError: The destination cannot be written, for example because the disk is full.
            ValueError: The table is not open, or its emotions differ from the result's.
        """
        self._put("".join(self.line(row) for row in self.style.rows(result, self.layout)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream = None
        self._closing.__exit__(kind, error, trace)

    def _put(self, text: str) -> None:
        if self._stream is None:
            raise ValueError("the table is not open: use it in a with statement")
        # The encoding of a terminal or a pipe may lack characters of a file name.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with write_errors(self.target):
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()

    @abstractmethod
    def head(self) -> str:
        """The text before the rows."""

    @abstractmethod
    def line(self, row: Row) -> str:
        """One row, with its newline."""


@contextmanager
def _text_stream(target: str | Path | IO[str]) -> Iterator[IO[str]]:
    """A text stream that ends in `target`."""
    if not isinstance(target, (str, Path)):
        yield target
    elif str(target) == "-":
        yield sys.stdout
    else:
        with new_file(target, "w", encoding="utf-8", newline="") as stream:
            yield stream


@contextmanager
def binary_stream(target: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A binary stream that ends in `target`: a path, "-" for standard output, or an open stream.

    Raises:
        OutputError: Standard output is a terminal, or the file cannot be made.
    """
    if not isinstance(target, (str, Path)):
        yield target
    elif str(target) == "-":
        if sys.stdout.isatty():
            raise OutputError(
                "a binary table cannot be printed on a terminal", hint="write a file: --table out.parquet"
            )
        sys.stdout.flush()
        yield sys.stdout.buffer
    else:
        with new_file(target, "wb") as stream:
            yield stream
