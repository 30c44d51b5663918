"""The command `mien`: one file per command, each with `register(app)`; they parse, call and print.

This module holds what the commands share: the console for people (standard error), progress bars, and the one place
where an error becomes a line of text and an exit code.
"""

import errno
import importlib
import pkgutil
import shlex
import shutil
import signal
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NoReturn

from mien.cli.ending import discard
from mien.errors import EXIT_CODES, MienError, OutputError, StoppedError, exit_code
from mien.names import escape_unencodable, printable

if TYPE_CHECKING:  # typer is imported by `main`, where Ctrl-C during imports ends the command without a traceback
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    import typer
    from rich.console import Console

__all__ = [
    "bar",
    "build_app",
    "console",
    "main",
    "print_fitted",
    "print_line",
    "print_table",
    "quoted",
    "say",
    "say_error",
    "tell",
]


def console() -> "Console":
    """Messages for people go to standard error, so that standard output holds only data."""
    from rich.console import Console

    class Messages(Console):
        def on_broken_pipe(self) -> None:  # `mien ... 2>&1 | head` ends the messages, and not the command
            discard(sys.stderr)

    return Messages(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def bar(text: str) -> "Iterator[Callable[[int, int | None], None]]":
    """A progress bar on standard error; call the yielded function with what is done, and the total or None."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    messages = console()
    # Elsewhere than on a terminal it would leave an empty line behind.
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as view:
        task = view.add_task("", total=None)

        def report(done: int, total: int | None) -> None:
            view.update(task, completed=done, total=total)

        yield report


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


def quoted(path: "str | Path") -> str:
    """A path in a command that is printed to be copied."""
    return shlex.quote(str(path))


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


def print_table(
    heads: "Sequence[str]",
    rows: "Iterable[Sequence[str]]",
    right: "Collection[int]" = (),
    whole: "Collection[int]" = (),
) -> None:
    """Prints a table; on a terminal, long cells are wrapped to its width.

    Args:
        heads: The names of the columns.
        rows: The cells.
        right: Columns that are right-aligned.
        whole: Columns whose cells stay on one line, so that they can be copied.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for number, head in enumerate(heads):
        side: Literal["right", "left"] = "right" if number in right else "left"
        table.add_column(head, justify=side, overflow="fold", no_wrap=number in whole)
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


def build_app(only: str | None = None) -> "typer.Typer":
    """The application, with every command of this folder.

    Args:
        only: A command whose module is enough, for a quick start; all are imported if there is none of this name.
    """
    import typer

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


def _with_checks(app: "typer.Typer") -> None:
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
    """Runs the command line; a `MienError`, or a full disk behind standard output, becomes a line and an exit code.

    Ctrl-C ends it without a word, unless the command has more to say.
    """
    with _noticed_interrupts() as pressed:
        try:
            _run()
        except (KeyboardInterrupt, RuntimeError, ImportError) as error:
            # While a module is loaded, Ctrl-C becomes an ImportError if it is one in C, and before Python 3.12 a
            # RuntimeError while a class is made.
            if not (pressed or isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)):
                raise
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # pressed again, it ends at once, and without a traceback
            _drop_output()
            sys.exit(EXIT_CODES[StoppedError])


@contextmanager
def _noticed_interrupts() -> "Iterator[list[int]]":
    """Ctrl-C raises as always; the list is no longer empty then."""
    pressed: list[int] = []

    def interrupt(number: int, frame: "FrameType | None") -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield pressed
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _run() -> None:
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
        discard(sys.stdout)
