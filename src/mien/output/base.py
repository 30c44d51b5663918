"""The interface of every output, and the base of tables."""

import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, Protocol, Self, TypeAlias, TypeVar

from mien.errors import ConfigError, InputError
from mien.files import append, new_file, write_errors
from mien.output.resuming import Begun
from mien.output.schema import Layout, Row
from mien.output.styles import MIEN, Style
from mien.results import Face, FrameResult

Stream = TypeVar("Stream", IO[str], IO[bytes])


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


def checked_result(result: object) -> FrameResult:
    """What a table takes: one result.

    Raises:
        TypeError: It is something else; the message has the conversion of faces.
    """
    if isinstance(result, FrameResult):
        return result
    is_face = isinstance(result, Face)
    conversion = "; to write faces, make a result of them: FrameResult('photo.jpg', faces=tuple(faces))" * is_face
    if isinstance(result, Iterable) and not isinstance(result, (str, bytes, Mapping)):
        conversion = "; write each: for result in results"
    raise TypeError(f"expected a FrameResult of mien.analyze, got {type(result).__name__}{conversion}")


class TableFormat(Protocol):
    """The `TABLE` of a module in `output/tables`: a table class, or another callable that makes an `Output`."""

    def __call__(self, target: str | Path, layout: Layout, style: Style) -> Output:
        """A table for a path ("-": standard output) with the columns of this layout and style."""


# What the `read_rows` of a module in `output/tables` gives for a path: the names of the columns, and each row by name.
# It raises OSError or UnicodeDecodeError if the file cannot be read, DataError if it is of another format.
ReadRows: TypeAlias = tuple[list[str], Iterator[Mapping[str, Any]]]


class Table(ABC, Generic[Stream]):
    """A table in a file or on a stream.

    A file gets its name at a clean end; after an exception the rows so far stay in `<name>.partial`.

    Args:
        target: A path, "-" for standard output, or an open stream, which is left open.
        layout: The columns; the results must have the same emotions.
        style: The names of the columns.

    Raises:
        OutputError: On entering, the destination cannot be written.
    """

    def __init__(self, target: str | Path | Stream, layout: Layout, style: Style = MIEN) -> None:
        self.target: str | Path | Stream = target
        self.layout = layout
        self.style = style
        self._closing: ExitStack | None = None
        self._written = 0  # results so far

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._written = 0
            stack.enter_context(self.opened())
            self._closing = stack.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Adds the rows of one result.

        Raises:
            OutputError: The destination cannot be written, for example because the disk is full.
            ValueError: The table is not open, or its emotions differ from the result's.
            TypeError: It is no result.
        """
        if self._closing is None:
            raise ValueError("the table is not open: use it in a with statement")
        checked_result(result)
        self.put(self.style.rows(result, self.layout, self._written))
        self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing, self._closing = self._closing, None
        if closing:
            closing.__exit__(kind, error, trace)

    @abstractmethod
    def opened(self) -> AbstractContextManager[None]:
        """Opens the destination and writes what comes before the rows; at its end, what comes after them."""

    @abstractmethod
    def put(self, rows: list[Row]) -> None:
        """Writes rows to the open destination."""


class TextTable(Table[IO[str]]):
    """A table of text; the rows of each result are written at once, and completely or not at all.

    Attributes:
        begun: The part of an earlier table to go on with, in the place of a new head; set it before entering.
    """

    begun: Begun | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """See `Table.opened`."""
        with ExitStack() as stack:
            self._file: io.FileIO | None = None
            self._stream: IO[str] = sys.stdout
            if not isinstance(self.target, (str, Path)):
                self._stream = self.target
            elif str(self.target) != "-":
                if self.begun is not None:
                    self._check_head(self.begun)
                mode = "wb" if self.begun is None else "r+b"
                self._file = stack.enter_context(new_file(self.target, mode, buffering=0))
            if self.begun is not None and self._file is not None:
                with write_errors(self.target):
                    self.begun.put_into(self._file, Path(str(self.target)))
            else:
                self._print(self.head())
            yield

    def _check_head(self, begun: Begun) -> None:
        """Refuses to go on with a table of other columns.

        Raises:
            ConfigError: It has others.
        """
        wanted = self.head() or self.line(dict.fromkeys((each.name for each in self.style.columns(self.layout)), None))
        try:
            with begun.path.open("rb") as file:
                found = file.readline().decode("utf-8", "replace")
        except OSError as error:
            raise InputError(f"cannot read '{begun.path}': {error.strerror}") from error
        if self.head():
            same = found == wanted
        else:
            same = not begun.sources or list(json.loads(found)) == list(json.loads(wanted))
        if not same:
            raise ConfigError(
                f"'{begun.path}' has other columns than this analysis writes, so it cannot be continued",
                hint="give the options of the analysis that began it, or another --table",
            )

    @property
    def encoding(self) -> str:
        """The encoding of the open destination."""
        return "utf-8" if self._file else getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def on_terminal(self) -> bool:
        """Whether the open destination is a terminal, which obeys control characters."""
        return self._file is None and self._stream.isatty()

    def put(self, rows: list[Row]) -> None:
        """See `Table.put`."""
        self._print("".join(map(self.line, rows)))

    def _print(self, text: str) -> None:
        # The encoding of a terminal or a pipe may lack characters of a file name.
        content = text.encode(self.encoding, "backslashreplace")
        with write_errors(self.target):
            if self._file is not None:
                append(self._file, content)
            else:
                self._stream.write(content.decode(self.encoding))
                self._stream.flush()

    def head(self) -> str:
        """The text before the rows."""
        return ""

    @abstractmethod
    def line(self, row: Row) -> str:
        """One row, with its newline."""
