"""What every output is."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mien.output.styles import Style
from mien.results import FrameResult

__all__ = ["Output", "TableFormat"]


class Output(Protocol):
    """A place for results: used in a `with` statement, fed one result at a time."""

    def __enter__(self) -> Self: ...

    def write(self, result: FrameResult) -> None:
        """Adds one result.

        Raises:
            OutputError: The place cannot be written.
            ValueError: It is not open: outside of `with`.
        """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TableFormat(Protocol):
    """What a module lists in its `TABLES`, by suffix: a table class, or whatever else makes an `Output`."""

    def __call__(self, target: str | Path, emotions: Sequence[str], style: Style) -> Output:
        """A table for a path ("-": standard output) with these columns of probabilities, named in this style."""
