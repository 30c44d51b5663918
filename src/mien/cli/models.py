"""`mien models`: the models that ship, the weights that can be fetched, and the networks that can be trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console

if TYPE_CHECKING:
    from mien.assets.manifest import ModelInfo
    from mien.assets.remote import Fetchable
    from mien.training.catalogue import Listed

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    models = typer.Typer(help="Shows the models, and fetches weights that do not ship.", no_args_is_help=True)
    models.command("list")(list_models)
    models.command()(show)
    models.command()(fetch)
    app.add_typer(models, name="models")


def list_models() -> None:
    """Shows the models that ship with mien, the weights that can be fetched, and the networks that can be trained."""
    from mien.assets.manifest import default_model, shipped_models
    from mien.assets.remote import fetchables
    from mien.errors import MissingExtraError

    print("shipped:")
    for info in shipped_models().values():
        print("\n".join(_shipped(info, default=info.name == default_model(info.task))))
    print("fetched on request, by `mien models fetch NAME`:")
    for weights in fetchables().values():
        print("\n".join(_on_request(weights)))
    print("trained by `mien train RECIPE`, drawn by `mien models show NAME`:")
    try:
        from mien.training.catalogue import catalogue
    except MissingExtraError as error:
        print(f"  networks and recipes are shown after {error.hint}")
        return
    print("\n".join(_aligned([_TRAINED, *map(_trained, catalogue())], right=(2, 3))))


def show(
    name: Annotated[str, typer.Argument(help="A network or a recipe, as `mien models list` names them.")],
    svg: Annotated[Path | None, typer.Option(help="Draw it into this file, as SVG.", show_default=False)] = None,
) -> None:
    """Prints the layers of a network as a recipe builds it, and draws it with --svg."""
    from mien.files import replacing
    from mien.training.catalogue import listed

    found = listed(name)
    print("\n".join(_anatomy(found)))
    if svg is not None:
        from mien.models.blocks.drawing import draw_network

        with replacing(svg) as partial:
            partial.write_text(
                draw_network(found.recipe.name, found.anatomy, found.recipe.description), encoding="utf-8"
            )
        print(f"drawn: {svg}")


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

    from mien.assets.download import fetch as fetch_weights

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


def _shipped(info: "ModelInfo", *, default: bool) -> list[str]:
    from mien.assets.manifest import FOLDER

    path = FOLDER / info.file
    size = _megabytes(path) if path.exists() else "missing"
    spec = info.image.spec
    scores = info.scores.values() if info.task == "expression" else ()
    return [
        f"  {info.name}{' (default)' if default else ''}: {info.description}",
        f"    input   {f'{spec.size}x{spec.size} {spec.channels}' if spec else 'images of any size'}",
        *(f"    head    {head.name}: {', '.join(head.emotions)}" for head in info.heads),
        *(
            f"    score   accuracy {score['accuracy']:.1%} on {score['faces']:,} faces ({score['protocol']})"
            for score in scores
        ),
        f"    file    {info.file}, {info.form}, {size}, {info.licence}",
    ]


def _on_request(weights: "Fetchable") -> list[str]:
    return [
        f"  {weights.name}: {weights.description}",
        f"    state   {weights.state()}: {weights.folder}",
        f"    files   {', '.join(file.name for file in weights.files)}; {weights.size / 1e6:.1f} MB, {weights.licence}",
    ]


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


_TRAINED = ("network", "recipe", "parameters", "MMAC", "input", "score")


def _trained(found: "Listed") -> tuple[str, ...]:
    recipe, anatomy = found.recipe, found.anatomy
    side = recipe.input.size
    return (
        recipe.model.name,
        recipe.name,
        f"{anatomy.trained:,}",
        f"{anatomy.fused_operations / 1e6:,.1f}",
        f"{side}x{side} {recipe.input.channels}",
        found.score,
    )


def _anatomy(found: "Listed") -> list[str]:
    anatomy = found.anatomy
    frozen = f" ({anatomy.trained:,} of them learn)" if anatomy.trained != anatomy.parameters else ""
    rows = [
        (layer.name, layer.title, "x".join(map(str, layer.shape)), f"{layer.parameters:,}", f"{layer.operations:,}")
        for layer in anatomy.layers
    ]
    return [
        f"{found.recipe.model.name}, by the recipe {found.recipe.name}: {found.recipe.description}",
        f"  input       {anatomy.input.size}x{anatomy.input.size} {anatomy.input.channels}",
        f"  parameters  {anatomy.parameters:,}{frozen}",
        f"  operations  {anatomy.fused_operations:,} multiply-adds a face, as exported",
        f"  score       {found.score}",
        *([f"  recipes     {', '.join(found.others)} teach this network as well"] if found.others else []),
        *_aligned([("layer", "what it is", "gives", "parameters", "multiply-adds"), *rows], right=(2, 3, 4)),
    ]


def _aligned(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> list[str]:
    """The rows in columns, those in `right` ending together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.rjust(wide) if number in right else cell.ljust(wide)
            for number, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
