"""The command `mien`: one file a command, each with `register(app)`. They parse, call, print; no logic.

This module has what the commands share: the console for people (standard error), the exit codes, and the one place
where an error becomes a line of text.
"""

import errno
import importlib
import os
import pkgutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from mien.errors import MienError, OutputError, exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

__all__ = ["bar", "build_app", "console", "main", "say", "say_error"]


def console() -> "Console":
    """Where people are spoken to: standard error, so that standard output stays data."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def bar(text: str) -> "Iterator[Callable[[int, int], None]]":
    """A progress bar on standard error; yields what it is told by: how much is done, of how much."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as view:
        task = view.add_task("", total=None)

        def report(done: int, total: int) -> None:
            view.update(task, completed=done, total=total)

        yield report


def say(word: str, colour: str, text: str) -> None:
    """One line, its first word ("error", "note") in a colour; the text as it is, whatever brackets it has."""
    from rich.text import Text

    console().print(Text(f"{word}: ", style=f"bold {colour}") + Text(text, style="default"))


def say_error(error: MienError) -> None:
    """One line for what is wrong, one for what to do."""
    say("error", "red", error.message)
    if error.hint:
        say("  try", "default", error.hint)


def build_app() -> typer.Typer:
    """The application, with every command of this folder."""
    app = typer.Typer(
        name="mien",
        help="Reads emotions from faces; trains, judges and exports the models that do it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        importlib.import_module(f"{__name__}.{module.name}").register(app)

    @app.callback(invoke_without_command=True)
    def options(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
        if version:
            from mien import __version__

            print(__version__)
            raise typer.Exit

    return app


def main() -> None:
    """Runs the command line; a `MienError` becomes its line and its exit code, and so does a full disk behind it."""
    try:
        try:
            build_app()()
        finally:
            sys.stdout.flush()
    except MienError as error:
        _leave(error)
    except BrokenPipeError:  # the reader has seen enough
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
    """What standard output could not take would be tried again, and complained about, when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
