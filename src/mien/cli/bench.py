"""`mien bench`: how quick mien is on this machine."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mien.cli import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(bench)


def bench(
    model: Annotated[
        str | None,
        typer.Option(help="A shipped model's name or an exported .onnx file.", show_default="the shipped one"),
    ] = None,
    detector: Annotated[str | None, typer.Option(help="Face detector.", show_default="the default")] = None,
    repeats: Annotated[int, typer.Option(min=5, help="Of the quick measurements.")] = 200,
    threads: Annotated[int, typer.Option(min=1, help="For the network.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures ms a face, faces a second, the detector, the cold start and the memory on this machine."""
    from mien.bench import bench as measured

    with console().status("measuring"):
        timings = measured(model=model, detector=detector, repeats=repeats, threads=threads)
    if as_json:
        print(json.dumps([asdict(timing) for timing in timings], indent=1))
        return
    width = max(len(timing.what) for timing in timings)
    for timing in timings:
        spread = f"quartiles {timing.low:,.2f} to {timing.high:,.2f}" if timing.low < timing.high else ""
        print(f"{timing.what:<{width}}  {timing.value:>10,.2f} {timing.unit:<8} {spread}".rstrip())
