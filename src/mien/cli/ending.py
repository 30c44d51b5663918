"""How a command ends before its work is done: signals between two results, and readers of its output who leave.

Either way the files that it writes are completed.
"""

import errno
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    from mien.output import Output
    from mien.results import FrameResult

Item = TypeVar("Item")
_END: Final[Any] = object()

# Ctrl-C, `kill`, and a terminal that is closed, which Windows does not have.
_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP")
# People press Ctrl-C twice; who presses it so many times does not want to wait for the files, or cannot: a terminal
# that shows nothing more blocks.
_AT_ONCE: Final = 3


class Stop:
    """Lets Ctrl-C, SIGTERM and SIGHUP end a loop between two items; use it in a `with` statement.

    While the loop waits for its next item it ends at once. While it handles one, that is finished first: no row is cut.
    Further signals do not disturb the end, but for a third Ctrl-C or SIGTERM, which ends the process.

    Attributes:
        asked: Whether the user asked to stop before the last item.
    """

    def __init__(self) -> None:
        self.asked = False
        self._waits = self._is_over = False
        self._times = 0

    def __enter__(self) -> Self:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # by nohup
                    continue
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def until(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items until the user asks to stop."""
        try:
            while True:
                self._waits = True
                if self.asked:
                    return
                item = next(items, _END)
                self._waits = False
                if item is _END:
                    return
                yield item
        except KeyboardInterrupt:
            if not self.asked:
                raise
        finally:
            self._waits, self._is_over = False, True

    def _handle(self, number: int, frame: object) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self._times += 1
            if self._times >= _AT_ONCE:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
        else:
            _leave_terminal()
        self.asked = self.asked or not self._is_over
        if self._waits:
            self._waits = False  # once: a second exception could come while the sources are closed
            raise KeyboardInterrupt


class Printed:
    """An output on standard output beside others in files: when nobody reads it (`| head`), only the printing ends.

    Args:
        output: The output, not yet open.
    """

    def __init__(self, output: "Output") -> None:
        self._output = output
        self._is_open = False
        self._on_terminal = sys.stdout.isatty()

    def __enter__(self) -> Self:
        with self._until_left():
            self._output.__enter__()
            self._is_open = True
        return self

    def write(self, result: "FrameResult") -> None:
        """Prints one result, if someone still reads it."""
        if self._is_open:
            with self._until_left():
                self._output.write(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            with self._until_left():
                self._output.__exit__(kind, error, trace)
                sys.stdout.flush()

    @contextmanager
    def _until_left(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            is_closed_terminal = self._on_terminal and error.errno == errno.EIO
            if not (isinstance(error, BrokenPipeError) or is_closed_terminal):
                raise
            self._is_open = False
            discard(sys.stdout)


def discard(stream: IO[str]) -> None:
    """Sends what is written to standard output or error from now on, and what could not be written, nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _leave_terminal() -> None:
    """Discards what would be written to a terminal that was closed: each line would be an error."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # a stream of a test has no file
            if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode) and not stream.isatty():
                discard(stream)
