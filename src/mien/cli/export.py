"""`mien export`: a finished run in, an ONNX file out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.cli import console, print_line
from mien.cli.options import command


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(command(export))


def export(
    run: Annotated[Path, "The folder of a run, from `mien train`."],
    *,
    data: Annotated[Path, "The store whose val split calibrates and evaluates the model."],
    out: Annotated[Path, "The .onnx file to write."],
    checkpoint: Annotated[Literal["best", "last"], "The checkpoint to export."] = "best",
    licence: Annotated[str, "Licence of the weights, for the description in the file."] = "",
) -> None:
    """Exports a trained model: fused, calibrated, evaluated, and compared with its checkpoint.

    Two files are written beside the .onnx file: the unfused training form (.safetensors, fp16), and the entry
    for the manifest (.entry.toml).
    """
    from mien.training import load_recipe, task_spec  # without torch, this raises an error that names what to install

    recipe = load_recipe(run / "recipe.toml")
    with console().status("exporting and evaluating"):
        written = task_spec(recipe.task).export(recipe, run, data, out, checkpoint=checkpoint, licence=licence)
    for path in written:
        print_line(f"{path}  {path.stat().st_size:,} bytes")
