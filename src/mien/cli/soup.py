"""`mien soup`: several runs in, a run with the mean of their weights out."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(soup)


def soup(
    run: Annotated[Path, typer.Argument(help="The folder of a run, from `mien train`.", show_default=False)],
    others: Annotated[
        list[str],
        typer.Argument(
            help="What to take the mean with: runs, .safetensors files or shipped models.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the new run.")],
) -> None:
    """Makes a run whose weights are the mean of several, which began from the same weights.

    The mean of a run and the one it began from is often better than both. Export and judge it like any run.
    """
    from mien.training import average_runs  # says what to install where torch is missing

    average_runs(run, others, out)
    print(f"written: {out}, the mean of {1 + len(others)}; mien export {out} --data STORE --out MODEL.onnx")
