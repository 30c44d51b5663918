"""`mien evaluate`: a model and a store in, its scores out."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(evaluate)


def evaluate(
    data: Annotated[Path, typer.Argument(help="The store to judge on, from `mien data build`.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(help="A shipped model's name or an exported .onnx file.", show_default="the shipped one"),
    ] = None,
    split: Annotated[str, typer.Option(help="Which rows: train, val (PublicTest) or test (PrivateTest).")] = "val",
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Who counts as the truth; may be repeated.", show_default="all that data and model allow"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.", show_default=False)] = None,
) -> None:
    """Judges a model: accuracy, F1, confusion, cross-entropy, calibration, each with its 95% interval.

    The protocol is named with every score: FER2013's labels, or FER+'s votes by majority or by argmax.
    """
    from mien.datasets import store
    from mien.evaluation import evaluate_model, report

    samples = store.read(data, split)
    with console().status(f"judging {len(samples):,} faces"):
        evaluation = evaluate_model(model, samples, split=split, protocols=protocol)
    text = json.dumps(evaluation.as_dict(), indent=1)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
    else:
        for judgement in evaluation.judgements.values():
            print(report.text(judgement))
            print()
