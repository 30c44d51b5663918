"""`mien train`: a recipe and a store in, a run folder out."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import say
from mien.errors import ConfigError, StoppedError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(train)


def train(
    data: Annotated[Path, typer.Option(help="What to learn from: a store, from `mien data build`.")],
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe's .toml file, or the name of a shipped one; not needed with --resume and --from.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/NAME")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe, as in optimizer.lr=0.01.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, which was cut off.", show_default=False)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Begin with the weights of a shipped model, a .safetensors file or a run, at a tenth of its rate.",
            show_default=False,
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's logs as well.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Processes on each machine, one a device.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines; start the same command on each.")] = 1,
    strategy: Annotated[str, typer.Option(help="Of Lightning, for several devices.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Trains a model by a recipe.

    The run's folder gets the resolved recipe, a log of every epoch (metrics.csv), its curves (curves.png) and the best
    and the last checkpoint. Ctrl-C ends it in good order; --resume goes on from the last whole epoch.
    """
    from mien import training  # says what to install if torch is missing

    if resume and (start or out):
        raise ConfigError("--resume goes on with a run as it is", hint="leave --from and --out out")
    plan, notes = training.resolve_recipe(recipe, settings or (), resume=resume, init_from=start)
    folder = resume or out or Path("runs") / plan.name

    def tell(line: str) -> None:
        if training.first_process():
            say("note", "cyan", line)

    for note in notes:
        tell(note)
    options = training.FitOptions(
        resume=resume is not None,
        progress=not quiet,
        tensorboard=tensorboard,
        hardware=training.Hardware(devices, nodes, strategy),
        tell=tell,
    )
    try:
        best = training.fit(plan, training.task_spec(plan.task).read(data), folder, options)
    except StoppedError as error:
        raise StoppedError(error.message, hint=f"mien train --resume {folder} --data {data} goes on") from None
    if training.first_process():
        print(f"best checkpoint: {best}")
        print(f"next: mien export {folder} --data {data} --out {plan.name}.onnx")
