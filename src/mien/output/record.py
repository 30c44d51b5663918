"""The record of an analysis, beside its table: what made the results, and how many there are, as one JSON object."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mien.files import DiscardError, new_file, writable, write_errors
from mien.output.base import checked_result
from mien.results import FrameResult

VERSION: Final = 1  # of the names and meanings; a new name does not change it


class Record:
    """An output that keeps no result: it counts them, and says at the end what they come from.

    `images`, `frames`, `faces` and `failed` are the numbers of images that were read, frames of videos, faces, and
    results with an error. `complete` is false if an error or the user ended the analysis before its end.

    Args:
        target: The file; it is written at the end, also after an error.
        made_by: What makes the results, as JSON can hold it: `mien.analyzer.record_of`.

    Attributes:
        complete: Whether all inputs were given; set it to False if not.

    Raises:
        OutputError: On entering, nothing can be written there; at the end, the file cannot be written.
    """

    def __init__(self, target: str | Path, made_by: Mapping[str, Any]) -> None:
        self.target = Path(target)
        self.complete = True
        self._made_by = made_by
        self._counts: dict[str, int] | None = None

    def __enter__(self) -> Self:
        writable(self.target)
        self._began, self._start = datetime.now(UTC), time.perf_counter()
        self._counts = dict.fromkeys(("images", "frames", "faces", "failed"), 0)
        return self

    def write(self, result: FrameResult) -> None:
        """Counts one result.

        Raises:
            ValueError: The record is not open.
            TypeError: It is no result.
        """
        if self._counts is None:
            raise ValueError("the record is not open: use it in a with statement")
        checked_result(result)
        kind = "failed" if result.error is not None else "images" if result.timestamp is None else "frames"
        self._counts[kind] += 1
        self._counts["faces"] += len(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        counts, self._counts = self._counts, None
        if counts is None or isinstance(error, DiscardError):
            return
        found = {
            "record": VERSION,
            "began": self._began.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 3),
            "complete": self.complete and error is None,
            **counts,
            **self._made_by,
        }
        with new_file(self.target, "w", encoding="utf-8") as file, write_errors(self.target):
            file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
