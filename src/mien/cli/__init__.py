"""The command `mien`: one file a command, each with `register(app)`. They parse, call, print; no logic.

This module has what the commands share: the console for people (standard error), the exit codes, and the one place
where an error becomes a line of text.
"""

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING

import typer

from mien.errors import MienError, exit_code

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["build_app", "console", "main", "say_error"]


def console() -> "Console":
    """Where people are spoken to: standard error, so that standard output stays data."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say_error(error: MienError) -> None:
    """One line for what is wrong, one for what to do."""
    from rich.text import Text

    out = console()
    out.print(Text("error: ", style="bold red") + Text(error.message, style="default"))
    if error.hint:
        out.print(Text("  try: ", style="bold") + Text(error.hint, style="default"))


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
    """Runs the command line; a `MienError` becomes its line and its exit code."""
    try:
        build_app()()
    except MienError as error:
        say_error(error)
        sys.exit(exit_code(error))
