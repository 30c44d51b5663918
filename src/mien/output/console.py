"""Results on standard output while they are computed: a table for people, or JSON lines for programs.

Both take one result at a time and need to know neither the sources nor their number in advance.
"""

import json
import math
import shutil
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from mien.output.schema import BOX, document
from mien.results import Face, FrameResult

_GAP: Final = "  "
_STEP: Final = 8  # the first column grows in steps of this many characters, like tab stops
_NARROWEST: Final = 16  # of the first column, in characters


class _StandardOutput:
    """Standard output: there is nothing to open, and it stays open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class JsonLines(_StandardOutput):
    """One JSON object per image and line, as `mien.output.schema` defines it."""

    def write(self, result: FrameResult) -> None:
        """Prints one image."""
        print(json.dumps(document(result), ensure_ascii=False))


class ConsoleTable(_StandardOutput):
    """A table for people: one row per face, printed as soon as it is known.

    On a terminal, rows fit its width: the columns of all classes and of the box are left out if there is no room for
    them, and long paths are cut at their start. Without a terminal, for example in a pipe, nothing is left out or cut.

    Args:
        emotions: The classes, in the order of the results' probabilities.
    """

    def __init__(self, emotions: Sequence[str]) -> None:
        self.emotions = tuple(emotions)
        self._emotion = max(map(len, [*emotions, "no face"])) + 1
        self._source = 0  # width of the first column; 0 before the first row
        self._classes = self._box = True
        self._limit: float = math.inf

    def write(self, result: FrameResult) -> None:
        """Prints the rows of one image."""
        if not self._source:
            self._fit(result.source)
            print(self._row("image", ("face", "emotion", "confidence"), self.emotions, BOX))
        if result.error is not None or not result.faces:
            print(self._row(result.source, ("", "no face" if result.error is None else "error", "")))
        for number, face in enumerate(result):
            print(self._face(result.source, number, face))

    def _fit(self, source: str) -> None:
        """Chooses the columns by the width of the terminal and the first source."""
        self._source = max(len("image"), _STEP * math.ceil(len(source) / _STEP))
        if not sys.stdout.isatty():
            return
        fixed = len(f"{_GAP}face{_GAP}{_GAP}confidence") + self._emotion
        room = shutil.get_terminal_size().columns - fixed
        classes, box = sum(len(_GAP + name) for name in self.emotions), len(BOX) * len(_GAP + "12345")
        wanted = max(_NARROWEST, len(source))
        self._classes = wanted + classes <= room
        self._box = wanted + classes * self._classes + box <= room
        self._limit = max(_NARROWEST, room - classes * self._classes - box * self._box)
        self._source = min(self._source, int(self._limit))

    def _face(self, source: str, number: int, face: Face) -> str:
        found = face.expression
        box = [f"{value:.0f}" for value in face.box]
        if found is None:
            return self._row(source, (str(number), "", ""), [""] * len(self.emotions), box)
        confidence = f"{found.confidence:.0%}{'?' if found.uncertain else ' '}"
        shares = [f"{value:.0%}" for value in found.probabilities]
        return self._row(source, (str(number), found.emotion, confidence), shares, box)

    def _row(
        self, source: str, found: tuple[str, str, str], classes: Sequence[str] = (), box: Sequence[str] = ()
    ) -> str:
        """One line; `found` is the number of the face, its emotion and the confidence."""
        if len(source) > self._limit:
            source = "…" + source[1 - int(self._limit) :]
        self._source = max(self._source, len(source))
        face, emotion, confidence = found
        cells = [f"{source:<{self._source}}", f"{face:>4}", f"{emotion:<{self._emotion}}", f"{confidence:>10}"]
        if self._classes:
            cells += [f"{text:>{len(name)}}" for name, text in zip(self.emotions, classes, strict=False)]
        if self._box:
            cells += [f"{text:>5}" for text in box]
        return _GAP.join(cells).rstrip()
