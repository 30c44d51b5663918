"""`mien train`: a recipe and a store in, a folder with a run out."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console, print_line, quoted, say
from mien.cli.options import command
from mien.errors import ConfigError, StoppedError


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is trained, and where."""

    out: Annotated[Path | None, "The folder of the run; by default runs/NAME."] = None
    settings: Annotated[tuple[str, ...] | None, "Change a key of the recipe: optimizer.lr=0.01.", "--set"] = None
    resume: Annotated[Path | None, "Continue the interrupted run in this folder."] = None
    init_from: Annotated[
        str | None,
        "Start from the weights of a shipped model, a .safetensors file or a run, at a tenth of its learning rate.",
        "--from",
    ] = None
    tensorboard: Annotated[bool, "Also write logs for TensorBoard."] = False
    devices: Annotated[int, "Processes on each machine, one per device.", {"min": 1}] = 1
    nodes: Annotated[int, "Machines; start the same command on each.", {"min": 1}] = 1
    strategy: Annotated[str, "Strategy of lightning.fabric for several devices."] = "auto"
    quiet: Annotated[bool, "Show no progress.", "--quiet", "-q"] = False

    def __post_init__(self) -> None:
        if self.resume and (self.init_from or self.out):
            raise ConfigError("--resume continues a run as it was started", hint="omit --from and --out")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train")(command(train))


def train(
    recipe: Annotated[
        str | None, "A .toml file, or the name of a shipped recipe; not needed with --resume or --from."
    ] = None,
    *,
    data: Annotated[Path, "The store to train on, from `mien data build`."],
    run: RunOptions,
) -> None:
    """Trains a model from a recipe.

    The folder of the run contains the resolved recipe, a log of every epoch (metrics.csv), its curves (curves.png), and
    the best and the last checkpoint. After an interruption, --resume continues from the last complete epoch.
    """
    with console().status("loading"):
        from mien import training  # without torch, this raises an error that names what to install

    plan, notes = training.resolve_recipe(
        recipe, run.settings or (), resume=run.resume, init_from=run.init_from, name=_name(run, data)
    )
    folder = run.resume or run.out or Path("runs") / plan.name

    def tell(line: str) -> None:
        if training.first_process():
            say("note", "cyan", line)

    for note in notes:
        tell(note)
    options = training.FitOptions(
        resume=run.resume is not None,
        progress=not run.quiet,
        tensorboard=run.tensorboard,
        hardware=training.Hardware(run.devices, run.nodes, run.strategy),
        tell=tell,
    )
    try:
        best = training.fit(plan, training.task_spec(plan.task).read(data), folder, options)
    except StoppedError as error:
        raise StoppedError(
            error.message, hint=f"to continue: mien train --resume {quoted(folder)} --data {quoted(data)}"
        ) from None
    if training.first_process():
        print_line(f"best checkpoint: {best}")
        file = f"{folder.resolve().name}.onnx"
        print_line(f"next: mien export {quoted(folder)} --data {quoted(data)} --out {quoted(file)}")


def _name(run: RunOptions, data: Path) -> str:
    """The name of a run that has the recipe of the weights it starts from: of its folder, or of weights and data."""
    text = run.out.name if run.out else f"{Path(run.init_from or '').stem}-{data.stem}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._") or "fine-tuned"
