"""`mien average`: several runs in, a run with the mean of their weights out."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import print_line, quoted
from mien.cli.options import command


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("average")(command(average))


def average(
    run: Annotated[Path, "The folder of a run, from `mien train`."],
    others: Annotated[list[str], "The others: folders of runs, .safetensors files or names of shipped models."],
    *,
    out: Annotated[Path, "The folder of the new run."],
) -> None:
    """Averages the weights of runs that were trained from the same initial weights.

    The average of a run and of the run that it was fine-tuned from is often better than either. Runs that started from
    different weights are refused: their average is worthless. The new run can be exported and evaluated like any other.
    """
    from mien.training import average_runs  # without torch, this raises an error that names what to install

    average_runs(run, others, out)
    print_line(f"written: {out}, the mean of {1 + len(others)} runs")
    print_line(f"next: mien export {quoted(out)} --data STORE --out MODEL.onnx")
