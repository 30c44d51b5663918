"""`mien quantize`: an exported model in, its int8 form out, if no accuracy is lost."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import bar, print_line
from mien.cli.options import command
from mien.cli.outputs import exported, measured, older


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("quantize")(command(quantize))


def quantize(
    model: Annotated[
        str, "The name of a shipped model or a classic network (`mien models list`), or an exported .onnx file."
    ],
    *,
    data: Annotated[Path, "The store: its train split calibrates, its val split evaluates."],
    out: Annotated[Path, "The .onnx file to write."],
) -> None:
    """Makes the int8 form of an exported model, which is smaller and faster.

    It is written only if the accuracy falls by at most 0.3 points, and likelihood and calibration stay within their
    limits. Existing files are replaced, and missing folders made.
    """
    from mien import training  # first: without torch, this raises an error that names what to install
    from mien.datasets import store
    from mien.training.artifacts import check_name

    check_name(out)
    before = older(out)
    samples = store.load(data)
    with bar("quantising and evaluating") as progress:
        written = training.quantize(model, samples, out, progress=progress)
    for path in written:
        print_line(exported(path, before))
    for line in measured(out):
        print_line(line)
