"""`mien data build`: data sets into the HDF5 store, one sub-command a data set, made from its `build` function."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from mien import datasets
from mien.cli import console
from mien.datasets import Samples

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    data = typer.Typer(help="Builds the stores that training and judging read.", no_args_is_help=True)
    build = typer.Typer(help="Builds a store from a data set's own files.", no_args_is_help=True)
    for name in datasets.names():
        build.command(name)(_command(datasets.builder(name)))
    data.add_typer(build, name="build")
    app.add_typer(data, name="data")


def _command(build: Callable[..., Samples]) -> Callable[..., None]:
    """The command for a `build` function: its keyword arguments become options, and `--out` joins them."""

    def command(*, out: Path, **options: Any) -> None:
        from mien.datasets import store

        with console().status("building"):
            samples = build(**options)
            store.write(samples, out)
        _tell(samples, out)

    hints = get_type_hints(build, include_extras=True)
    parameters = []
    for name, parameter in inspect.signature(build).parameters.items():
        kind, help_text = get_args(hints[name])
        option = typer.Option(f"--{name.replace('_', '-')}", help=help_text)
        parameters.append(parameter.replace(annotation=Annotated[kind, option]))
    out_option = Annotated[Path, typer.Option("--out", help="The store to write (.h5).")]
    parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=out_option))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = (build.__doc__ or "").partition("Raises:")[0]
    return command


def _tell(samples: Samples, out: Path) -> None:
    """Counts by split and class, and what was left out and why."""
    counts = samples.counts()
    width = max(len(name) for name in (*samples.classes, "class"))
    print(f"{'class':<{width}}" + "".join(f"{split:>10}" for split in counts))
    for name in samples.classes:
        print(f"{name:<{width}}" + "".join(f"{table[name]:>10,}" for table in counts.values()))
    print(f"{'all':<{width}}" + "".join(f"{sum(table.values()):>10,}" for table in counts.values()))
    for key, value in samples.about.items():
        if key.startswith("dropped") and value:
            print(f"{key.replace('_', ' ')}: {value:,}")
    print(f"written: {out}")
