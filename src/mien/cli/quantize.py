"""`mien quantize`: an exported model in, its int8 form out, if nothing is lost."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(quantize)


def quantize(
    model: Annotated[str, typer.Argument(help="A shipped model's name or an exported .onnx file.", show_default=False)],
    data: Annotated[Path, typer.Option(help="The store: its train split calibrates, its val split judges.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
) -> None:
    """Makes the int8 form of an exported model: smaller and quicker.

    It is written only if accuracy falls by at most 0.3 points and likelihood and calibration stay.
    """
    from mien import training  # first: says what to install where torch is missing
    from mien.datasets import store

    with console().status("quantising and judging"):
        written = training.quantize(model, store.load(data), out)
    for path in written:
        print(f"{path}  {path.stat().st_size:,} bytes")
