"""`mien export`: a finished run in, an ONNX file out."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run, from `mien train`.", show_default=False)],
    data: Annotated[Path, typer.Option(help="The store whose val split sets temperatures and scores.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    checkpoint: Annotated[str, typer.Option(help="Which checkpoint of the run: best or last.")] = "best",
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the file's info.")] = "",
) -> None:
    """Exports a trained model: fused, calibrated, measured, and checked against its checkpoint.

    Beside the .onnx file come its unfused training form (.safetensors, fp16) and its manifest info (.entry.toml).
    """
    from mien.training import load_recipe, task_spec  # says what to install where torch is missing

    recipe = load_recipe(run / "recipe.toml")
    with console().status("exporting and judging"):
        written = task_spec(recipe.task).export(recipe, run, data, out, checkpoint=checkpoint, licence=licence)
    for path in written:
        print(f"{path}  {path.stat().st_size:,} bytes")
