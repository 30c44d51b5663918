"""What is wrong with a data set's file, collected, so that all of it can be mended in one round."""

from pathlib import Path
from typing import Final

from mien.errors import DataError

__all__ = ["RowErrors", "quoted"]

_SHOWN: Final = 5  # mistakes named one by one; the rest are counted
_LONGEST: Final = 60  # characters of a cell that a message repeats


class RowErrors:
    """Collects mistakes, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    def add(self, line: int, text: str) -> None:
        """Notes one."""
        self.found.append(f"line {line}: {text}")

    def check(self, hint: str) -> None:
        """Goes on where there are none.

        Raises:
            DataError: There are; the first few are named.
        """
        if self.found:
            more = f"; and {len(self.found) - _SHOWN} more" if len(self.found) > _SHOWN else ""
            raise DataError(f"{self.path}: {'; '.join(self.found[:_SHOWN])}{more}", hint=hint)


def quoted(cell: str) -> str:
    """What a cell holds, on one line and short, for a message."""
    return repr(cell if len(cell) <= _LONGEST else cell[:_LONGEST] + "...")
