"""`mien bench`: the speed of mien on this machine."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mien.cli import console
from mien.cli.options import AsJson, Only, command
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bench")(command(bench))


def bench(
    classifier: Annotated[ClassifierOptions, Only({"model", "vote", "tta", "threads"})],
    detector: Annotated[DetectorOptions, Only({"name", "weights"})],
    repeats: Annotated[int, typer.Option(min=5, help="Repetitions of the fast measurements.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Measures the time per face, faces per second, the detector, the cold start and the memory on this machine."""
    from mien.analyzer import AnalyzerOptions
    from mien.bench import bench as measured

    with console().status("measuring"):
        timings = measured(AnalyzerOptions(detector, classifier), repeats=repeats)
    if as_json:
        print(json.dumps([asdict(timing) for timing in timings], indent=1))
        return
    width = max(len(timing.what) for timing in timings)
    for timing in timings:
        spread = f"quartiles {timing.low:,.2f} to {timing.high:,.2f}" if timing.low < timing.high else ""
        print(f"{timing.what:<{width}}  {timing.value:>10,.2f} {timing.unit:<8} {spread}".rstrip())
