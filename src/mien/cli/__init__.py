"""The command `mien`: one file per command, each with `register(app)`; they parse, call and print.

This module holds what the commands share: the console for people (standard error), progress bars, and the one place
where an error becomes a line of text and an exit code.
"""

import errno
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import textwrap
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from mien.errors import MienError, OutputError, exit_code
from mien.names import escape_unencodable, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from rich.console import Console

__all__ = [
    "Stop",
    "bar",
    "build_app",
    "console",
    "main",
    "print_fitted",
    "print_line",
    "print_table",
    "say",
    "say_error",
    "tell",
]


Item = TypeVar("Item")
_END: Any = object()


def console() -> "Console":
    """Messages for people go to standard error, so that standard output holds only data."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def bar(text: str) -> "Iterator[Callable[[int, int | None], None]]":
    """A progress bar on standard error; call the yielded function with what is done, and the total or None."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as view:
        task = view.add_task("", total=None)

        def report(done: int, total: int | None) -> None:
            view.update(task, completed=done, total=total)

        yield report


class Stop:
    """Lets Ctrl-C and SIGTERM end a loop between two items; use it in a `with` statement.

    While the loop waits for its next item it ends at once. While it handles one, that is finished first: no row is cut.

    Attributes:
        asked: Whether the user asked to stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self._waits = False

    def __enter__(self) -> "Stop":
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def until(self, items: "Iterator[Item]") -> "Iterator[Item]":
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
            self._waits = False

    def _handle(self, number: int, frame: object) -> None:
        again, self.asked = self.asked, True
        if self._waits or again:
            raise KeyboardInterrupt


def say(word: str, colour: str, text: str) -> None:
    """Prints one line with its first word ("error", "note") in a colour; brackets in the text are not markup."""
    from rich.text import Text

    # Several errors have an indented line each; any other line break belongs to a name.
    text = "\n  ".join(map(printable, text.split("\n  ")))
    console().print(Text(f"{word}: ", style=f"bold {colour}") + Text(text, style="default"))


def tell(text: str) -> None:
    """Prints one dim line on standard error: what was written, counts, times."""
    from rich.text import Text

    console().print(Text(printable(text), style="dim"))


def print_line(text: str) -> None:
    """Prints one line on standard output, which may have names of files in it."""
    print(printable(text))


def print_fitted(lines: "Iterable[tuple[str, int]]") -> None:
    """Prints lines; on a terminal, long ones continue on the next line with this many blanks. Pipes get whole lines."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for whole, indent in lines:
        line = printable(whole)
        fitted = textwrap.wrap(line, width, subsequent_indent=" " * indent, break_on_hyphens=False) if width else [line]
        print("\n".join(fitted))


def print_table(heads: "Sequence[str]", rows: "Iterable[Sequence[str]]", right: "Collection[int]" = ()) -> None:
    """Prints a table; on a terminal, long cells are wrapped to its width. Columns in `right` are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    width = shutil.get_terminal_size().columns - 2 if sys.stdout.isatty() else 10_000
    view = Console(width=width, highlight=False, markup=False)
    with view.capture() as text:
        view.print(table)
    print("\n".join(f"  {line}".rstrip() for line in text.get().splitlines()))


def say_error(error: MienError) -> None:
    """Prints one line for what is wrong, and one for what to do."""
    say("error", "red", error.message)
    if error.hint:
        say("  try", "default", error.hint)


def build_app(only: str | None = None) -> typer.Typer:
    """The application, with every command of this folder.

    Args:
        only: A command whose module is enough, for a quick start; all are imported if there is none of this name.
    """
    app = typer.Typer(
        name="mien",
        help="Recognises facial expressions, and trains, evaluates and exports the models for this task.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if only in modules and _register(only):
        modules = [only]
    for register in filter(None, map(_register, modules)):
        register(app)
    _with_checks(app)

    @app.callback(invoke_without_command=True)
    def options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            from mien import __version__

            print(__version__)
            raise typer.Exit

    return app


def _register(module: str) -> "Callable[[typer.Typer], None] | None":
    """What adds the command of a module of this folder; None for those without, `options` and `usage`."""
    return getattr(importlib.import_module(f"{__name__}.{module}"), "register", None)


def _with_checks(app: typer.Typer) -> None:
    """Gives every command and group the class that checks how it is used, unless it has one of that kind."""
    from mien.cli.usage import Command, Group

    if not (isinstance(app.info.cls, type) and issubclass(app.info.cls, Group)):
        app.info.cls = Group
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            _with_checks(group.typer_instance)
            group.cls = group.typer_instance.info.cls


def main() -> None:
    """Runs the command line; a `MienError`, or a full disk behind standard output, becomes a line and an exit code."""
    escape_unencodable()
    try:
        try:
            from mien.cli.usage import expanded

            words = expanded(sys.argv[1:])
            build_app(next(iter(words), None))(words)
        finally:
            sys.stdout.flush()
    except MienError as error:
        _leave(error)
    except BrokenPipeError:  # for example `mien ... | head`
        _drop_output()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _leave(OutputError(f"standard output cannot be written: {(error.strerror or str(error)).lower()}"))


def _leave(error: MienError) -> NoReturn:
    say_error(error)
    _drop_output()
    sys.exit(exit_code(error))


def _drop_output() -> None:
    """Discards what could not be written: Python would try it again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
