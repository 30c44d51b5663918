"""`mien evaluate`: a model and a store in, its scores out."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mien.cli import bar, console

if TYPE_CHECKING:
    from mien.expression.tta import Tta

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
    ensemble: Annotated[
        list[str] | None,
        typer.Option(help="Several models that vote: A,B,C, or this option repeated.", show_default="one model"),
    ] = None,
    vote: Annotated[str | None, typer.Option(help="How an ensemble votes: soft or hard.", show_default="soft")] = None,
    split: Annotated[str, typer.Option(help="Which rows: train, val (PublicTest) or test (PrivateTest).")] = "val",
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Who counts as the truth; may be repeated.", show_default="all that data and model allow"),
    ] = None,
    tta: Annotated[str, typer.Option(help="Average over tta of each face: none, flip or ten-crop.")] = "none",
    detector: Annotated[
        str | None,
        typer.Option(help="Let this detector find the faces first, on a canvas.", show_default="faces as they are"),
    ] = None,
    detector_weights: Annotated[
        Path | None,
        typer.Option(help="The detector's network, where it needs one.", show_default="from `mien models fetch`"),
    ] = None,
    corruption: Annotated[
        list[str] | None,
        typer.Option(
            help="Read the faces again spoilt in this way (jitter, small-24, dark, ...; all): what does it cost?",
            show_default="none",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.", show_default=False)] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with curves and images (.html) as well.", show_default=False)
    ] = None,
) -> None:
    """Judges a model: accuracy, F1, confusion, cross-entropy, calibration, each with its 95% interval.

    The protocol is named with every score: FER2013's labels, or FER+'s votes by majority or by argmax.
    """
    from mien.datasets import store
    from mien.evaluation import evaluate_model
    from mien.evaluation.report.page import page
    from mien.evaluation.report.text import open_report, text
    from mien.expression import ClassifierOptions

    samples = store.load(data, split)
    with ExitStack() as stack:
        out_file = stack.enter_context(open_report(out)) if out else None
        report_file = stack.enter_context(open_report(report)) if report else None
        report_progress = stack.enter_context(bar(f"judging {len(samples):,} faces"))
        evaluation = evaluate_model(
            model,
            samples,
            split=split,
            protocols=protocol,
            tta=cast("Tta", tta),
            detector=detector,
            detector_weights=detector_weights,
            ensemble=ClassifierOptions(tuple(ensemble)).models if ensemble else (),
            vote=vote,
            progress=report_progress,
            corruptions=[name.strip() for word in corruption or () for name in word.split(",")],
        )
        plain = json.dumps(evaluation.as_dict(), indent=1)
        if out_file:
            out_file.write(plain + "\n")
        if report_file:
            report_file.write(page(evaluation, samples, data=data.name))
    if as_json:
        print(plain)
    else:
        for name, scores in evaluation.scores.items():
            print(text(scores, evaluation.accuracy_drops.get(name, ())))
            print()
    if report:
        console().print(f"written: {report}", style="dim")
