"""`mien models`: the models that ship, and the weights that can be fetched."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console

if TYPE_CHECKING:
    from mien.assets.fetchable import Fetchable
    from mien.assets.manifest import Entry

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    models = typer.Typer(help="Shows the models, and fetches weights that do not ship.", no_args_is_help=True)
    models.command("list")(list_models)
    models.command()(fetch)
    app.add_typer(models, name="models")


def list_models() -> None:
    """Shows the models that ship with mien, and the weights that can be fetched."""
    from mien.assets.fetchable import fetchables
    from mien.assets.manifest import entries

    print("shipped:")
    for number, entry in enumerate(entries().values()):
        print("\n".join(_shipped(entry, default=number == 0)))
    print("fetched on request, by `mien models fetch NAME`:")
    for weights in fetchables().values():
        print("\n".join(_on_request(weights)))


def fetch(
    name: Annotated[str, typer.Argument(help="Weights to fetch, as `mien models list` names them.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="A mirror: address or path of the file or of its folder.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Fetches weights into the cache, goes on where it broke off, and checks their hash."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from mien.assets.fetch import fetch as fetch_weights

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console(), disable=quiet) as bars:
        tasks = {}

        def show(file: str, done: int, size: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=size)
            bars.update(tasks[file], completed=done)

        paths = fetch_weights(name, source, progress=show)
    if not quiet:
        for path in paths:
            print(path)


def _shipped(entry: "Entry", *, default: bool) -> list[str]:
    from mien.assets.manifest import FOLDER

    path = FOLDER / entry.file
    size = _megabytes(path) if path.exists() else "missing"
    side = entry.input.size
    lines = [
        f"  {entry.name}{' (default)' if default else ''}: {entry.description}",
        f"    input   {side}x{side} {entry.input.channels}",
        *(f"    head    {head.name}: {', '.join(head.emotions)}" for head in entry.heads),
        *(
            f"    score   accuracy {score['accuracy']:.1%} on {score['faces']:,} faces ({score['protocol']})"
            for score in entry.scores.values()
        ),
        f"    file    {entry.file}, {size}, {entry.licence}",
    ]
    return lines


def _on_request(weights: "Fetchable") -> list[str]:
    return [
        f"  {weights.name}: {weights.description}",
        f"    state   {weights.state()}: {weights.folder}",
        f"    files   {', '.join(file.name for file in weights.files)}; {weights.size / 1e6:.1f} MB, {weights.licence}",
    ]


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
