"""The record of an analysis, beside its table: how the results were produced, and how many there are, in JSON."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mien.errors import OutputError
from mien.files import DiscardError, new_file, writable, write_errors
from mien.output.base import checked_result
from mien.results import FrameResult

SCHEMA: Final = 1  # of the names and meanings; a further name does not change it


class Record:
    """An output that keeps no result: it counts them, and writes at the end where they come from.

    `images`, `frames`, `faces` and `failed` are the numbers of images that were read, frames of videos, faces, and
    results with an error.

    Args:
        target: The file. It gets its name at a clean end; after an exception it is `<name>.partial`, as tables are.
        provenance: How the results are produced, as JSON can hold it: `mien.analyzer.record_of`.

    Attributes:
        complete: Whether the analysis reached the end of its inputs; set it to False if not.

    Raises:
        OutputError: The target is "-"; on entering, nothing can be written there; at the end, the file cannot be
            written.
        TypeError: JSON cannot hold `provenance`.
    """

    def __init__(self, target: str | Path, provenance: Mapping[str, Any]) -> None:
        if str(target) == "-":
            raise OutputError("a record needs a file", hint="for example faces.json")
        self.target = Path(target)
        self.complete = True
        self._provenance: Mapping[str, Any] = json.loads(json.dumps(dict(provenance)))
        self._counts: dict[str, int] | None = None

    def __enter__(self) -> Self:
        writable(self.target)
        self._started, self._start = datetime.now(UTC), time.perf_counter()
        self._counts = dict.fromkeys(("images", "frames", "faces", "failed"), 0)
        self.complete = True
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
        head = {
            "schema": SCHEMA,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 3),
            "complete": self.complete and error is None,
            **counts,
        }
        rest = {name: value for name, value in self._provenance.items() if name not in head}
        place = self.target if error is None else self.target.with_name(f"{self.target.name}.partial")
        with new_file(place, "w", encoding="utf-8") as file, write_errors(place):
            file.write(json.dumps(head | rest, indent=2, ensure_ascii=False) + "\n")
