"""`mien evaluate`: a model and a store in, its scores out."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import bar, console
from mien.cli.options import AsJson, Only, command
from mien.expression import ClassifierOptions
from mien.faces import detectors

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(command(evaluate))


def evaluate(
    data: Annotated[Path, typer.Argument(help="The store to evaluate on, from `mien data build`.", show_default=False)],
    classifier: Annotated[ClassifierOptions, Only({"model", "vote", "tta"})],
    split: Annotated[str, typer.Option(help="Which faces: train, val (PublicTest) or test (PrivateTest).")] = "val",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Definition of the true labels; can be repeated.", show_default="all that data and model allow"
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help=f"Let this detector find the faces first, on a canvas: {', '.join(detectors.names())}.",
            show_default="none: faces as stored",
        ),
    ] = None,
    detector_weights: Annotated[
        Path | None,
        typer.Option(help="The detector's network.", show_default="from `mien models fetch`"),
    ] = None,
    corruption: Annotated[
        list[str] | None,
        typer.Option(
            help="Also measure the accuracy drop on corrupted faces: jitter, small-24, dark, ..., or all.",
            show_default="none",
        ),
    ] = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.", show_default=False)] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write a page with charts and images to this .html file.", show_default=False),
    ] = None,
) -> None:
    """Evaluates a model: accuracy, F1, confusion, cross-entropy and calibration, each with its 95% interval.

    Every score names its protocol: the labels of FER2013, or the votes of FER+ by majority or by argmax.
    """
    from mien.datasets import store
    from mien.evaluation import evaluate_model
    from mien.evaluation.report.page import evaluation_page, need_templates
    from mien.evaluation.report.text import open_report, text

    if report:
        need_templates()
    options = None
    if detector or detector_weights:
        options = detectors.DetectorOptions(detector or detectors.DEFAULT, detector_weights)
    samples = store.load(data, split)
    with ExitStack() as stack:
        out_file = stack.enter_context(open_report(out)) if out else None
        report_file = stack.enter_context(open_report(report)) if report else None
        progress = stack.enter_context(bar(f"evaluating {len(samples):,} faces"))
        evaluation = evaluate_model(
            classifier,
            samples,
            split=split,
            protocols=protocol,
            corruptions=[name.strip() for word in corruption or () for name in word.split(",")],
            detector=options,
            progress=progress,
        )
        plain = json.dumps(evaluation.as_dict(), indent=1)
        if out_file:
            out_file.write(plain + "\n")
        if report_file:
            report_file.write(evaluation_page(evaluation, samples, data=data.name))
    if as_json:
        print(plain)
    else:
        for name, scores in evaluation.scores.items():
            print(text(scores, evaluation.accuracy_drops.get(name, ())))
            print()
    if report:
        console().print(f"written: {report}", style="dim")
