"""Results on standard output while they are computed: a table for people, or JSON lines for programs.

Both take one result at a time, as soon as it is known.
"""

import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from rich.cells import cell_len

from mien.names import printable, to_json
from mien.output.schema import BOX, document
from mien.results import Face, FrameResult

_GAP: Final = "  "
_STEP: Final = 8  # of the width of the first column if the sources are not known, in characters
_NARROWEST: Final = 16  # of the first column, in characters
_TIME: Final = len("0:00:00.00")


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
        print(to_json(document(result), encoding=sys.stdout.encoding))


class ConsoleTable(_StandardOutput):
    """A table for people: one row per face, printed as soon as it is known.

    On a terminal, rows fit its width: the columns of all classes and of the box are left out if there is no room for
    them, and long paths are cut at their start. Without a terminal, for example in a pipe, nothing is left out or cut.
    Names are printed by `mien.names.printable`, and columns are measured in cells: a Korean letter takes two.

    Args:
        emotions: The classes, in the order of the results' probabilities.
        sources: The sources of all results, as far as they are known: the first column has room for each of them, so
            that all rows stand under the header.
        videos: Whether there are videos or cameras: the time and the track then have columns.
    """

    def __init__(self, emotions: Sequence[str], sources: Iterable[str] = (), *, videos: bool = False) -> None:
        self.emotions = tuple(emotions)
        self._videos = videos
        self._names = tuple(map(printable, emotions))
        self._emotion = max(map(cell_len, [*self._names, "no face"])) + 1
        self._source = max((cell_len(printable(source)) for source in sources), default=0)  # width of its column
        self._has_head = False
        self._classes = self._box = True
        self._limit: float = math.inf

    def write(self, result: FrameResult) -> None:
        """Prints the rows of one image."""
        source = printable(result.source)
        if not self._has_head:
            self._has_head = True
            self._fit(source)
            print(self._row("image", ("time", "track", "face", "emotion", "confidence"), self._names, BOX))
        time = "" if result.timestamp is None else exact_clock(result.timestamp)
        if result.error is not None or not result.faces:
            print(self._row(source, (time, "", "", "no face" if result.error is None else "error", "")))
        for number, face in enumerate(result):
            print(self._face(source, time, number, face))

    def _fit(self, source: str) -> None:
        """Chooses the columns by the width of the terminal and the first source."""
        width = self._source or _STEP * math.ceil(cell_len(source) / _STEP)
        self._source = max(len("image"), width, cell_len(source))
        if not sys.stdout.isatty():
            return
        fixed = len(f"{_GAP}face{_GAP}{_GAP}confidence") + self._emotion
        if self._videos:
            fixed += len(_GAP) + _TIME + len(f"{_GAP}track")
        room = shutil.get_terminal_size().columns - fixed
        classes, box = sum(cell_len(_GAP + name) for name in self._names), len(BOX) * len(_GAP + "12345")
        wanted = max(_NARROWEST, cell_len(source))
        self._classes = wanted + classes <= room
        self._box = wanted + classes * self._classes + box <= room
        self._limit = max(_NARROWEST, room - classes * self._classes - box * self._box)
        self._source = min(self._source, int(self._limit))

    def _face(self, source: str, time: str, number: int, face: Face) -> str:
        found = face.expression
        box = [f"{value:.0f}" for value in face.box]
        place = (time, "" if face.track is None else str(face.track), str(number))
        if found is None:
            return self._row(source, (*place, "", ""), [""] * len(self.emotions), box)
        confidence = f"{found.confidence:.0%}{'?' if found.uncertain else ' '}"
        shares = [f"{value:.0%}" for value in found.probabilities]
        return self._row(source, (*place, printable(found.emotion), confidence), shares, box)

    def _row(
        self, source: str, found: tuple[str, str, str, str, str], classes: Sequence[str] = (), box: Sequence[str] = ()
    ) -> str:
        """One line; `found` is the time, the track, the number of the face, its emotion and the confidence."""
        if cell_len(source) > self._limit:
            while cell_len(source) > self._limit - 1:
                source = source[1:]
            source = "…" + source
        self._source = max(self._source, cell_len(source))
        time, track, face, emotion, confidence = found
        cells = [_padded(source, self._source)]
        if self._videos:
            cells += [f"{time:>{_TIME}}", f"{track:>5}"]
        cells += [f"{face:>4}", _padded(emotion, self._emotion), f"{confidence:>10}"]
        if self._classes:
            cells += [
                _padded(text, cell_len(name), right=True) for name, text in zip(self._names, classes, strict=False)
            ]
        if self._box:
            cells += [f"{text:>5}" for text in box]
        return _GAP.join(cells).rstrip()


def exact_clock(seconds: float) -> str:
    """The time as 1:02.50, or 1:01:02.50 from an hour on, as `--start` takes it."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{before}:{rest // 100:02}.{rest % 100:02}"


def _padded(text: str, width: int, *, right: bool = False) -> str:
    """The text in a column of that many cells of the terminal."""
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks
