"""`mien export`: a finished run in, an ONNX file out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.cli import console, print_line
from mien.cli.options import command
from mien.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(command(export))


def export(
    run: Annotated[Path, "The folder of a run, from `mien train`; or its best.ckpt or last.ckpt."],
    *,
    data: Annotated[Path, "The store whose val split calibrates and evaluates the model."],
    out: Annotated[Path, "The .onnx file to write."],
    checkpoint: Annotated[Literal["best", "last"] | None, "The checkpoint to export.", {"show_default": "best"}] = None,
    licence: Annotated[str, "Licence of the weights, for the description in the file."] = "",
) -> None:
    """Exports a trained model: fused, calibrated, evaluated, and compared with its checkpoint.

    Two files are written beside the .onnx file: the unfused training form (.safetensors, fp16), and the entry
    for the manifest (.entry.toml).
    """
    from mien.assets.recognise import run_and_checkpoint
    from mien.training import load_recipe, task_spec  # without torch, this raises an error that names what to install

    folder, named = run_and_checkpoint(run)
    if named and checkpoint and named != checkpoint:
        raise ConfigError(f"{run} and --checkpoint {checkpoint} contradict each other", hint=f"give {folder}")
    recipe = load_recipe(folder / "recipe.toml")
    with console().status("exporting and evaluating"):
        written = task_spec(recipe.task).export(
            recipe, folder, data, out, checkpoint=checkpoint or named or "best", licence=licence
        )
    for path in written:
        print_line(f"{path}  {path.stat().st_size:,} bytes")
