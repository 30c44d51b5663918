"""`mien train`: a recipe and a store in, a run folder out."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(train)


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's .toml file, or the name of a shipped one.", show_default=False)
    ],
    data: Annotated[Path, typer.Option(help="The store to learn from, from `mien data build`.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/NAME")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe, as in optimizer.lr=0.01.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was cut off.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Trains a model by a recipe.

    The run's folder gets the resolved recipe, a log of every epoch (metrics.csv), its curves (curves.png) and the best
    and the last checkpoint. A run that was cut off goes on from its last whole epoch with --resume.
    """
    from mien.training import fit, kind, load_recipe  # says what to install where torch is missing

    plan = load_recipe(recipe, settings or ())
    folder = out or Path("runs") / plan.name
    best = fit(plan, kind(plan.task).read(data), folder, resume=resume, progress=not quiet)
    print(f"best checkpoint: {best}")
    print(f"next: mien export {folder} --data {data} --out {plan.name}.onnx")
