"""`mien compare`: models, files, runs and ensembles in, one table and one report out."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import console, say
from mien.cli.options import AsJson, Only, command
from mien.errors import exit_code
from mien.expression import ClassifierOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(command(compare))


def compare(
    data: Annotated[Path, typer.Option(help="The store to evaluate on, from `mien data build`.")],
    classifier: Annotated[ClassifierOptions, Only({"vote", "tta"})],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of shipped models, .onnx files, folders of runs; A,B for an ensemble and its members. "
            "The others are tested against the first.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which faces: train, val (PublicTest) or test (PrivateTest).")] = "val",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Definition of the true labels; can be repeated.", show_default="all that data and models allow"
        ),
    ] = None,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report, and every table as CSV and PNG, into this folder.", show_default=False),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write only the report (.html).", show_default=False)] = None,
) -> None:
    """Compares models on the same faces: scores with intervals, McNemar's test against the first, size and speed.

    A run is exported first, with temperatures fitted on the store's val split, and the file is evaluated. A model that
    cannot be evaluated is named, and the others continue; the exit code is then that of its error.
    """
    from mien.datasets import store
    from mien.evaluation.compare import candidates
    from mien.evaluation.compare import compare as compared
    from mien.evaluation.report.comparison_files import comparison_text, need_plots, write_folder
    from mien.evaluation.report.comparison_page import comparison_page
    from mien.evaluation.report.page import need_templates
    from mien.evaluation.report.text import open_report

    def export(run: Path, target: Path) -> None:
        from mien.training import export_run

        export_run(run, store.load(data, "val"), target)

    if out:
        need_plots()
    if out or report:
        need_templates()
    samples = store.load(data, split)
    with ExitStack() as stack:
        report_file = stack.enter_context(open_report(report)) if report else None
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-compare-")))
        status = stack.enter_context(console().status("preparing"))
        comparison = compared(
            candidates(models or (), export, place),
            samples,
            split=split,
            protocols=protocol,
            options=classifier,
            begun=lambda name: status.update(f"evaluating {name} on {len(samples):,} faces"),
        )
        page = comparison_page(comparison, samples, data=data.name) if out or report else ""
        if report_file:
            report_file.write(page)
        written = write_folder(comparison, out, page) if out else []
    print(json.dumps(comparison.as_dict(), indent=1) if as_json else comparison_text(comparison))
    if report:
        console().print(f"written: {report}", style="dim")
    if written:
        console().print(f"written: {len(written)} files in {out}", style="dim")
    errors = [row.error for row in comparison.failed if row.error and not row.part]
    for row in comparison.failed:
        if row.error and row.part:
            say(
                "note",
                "cyan",
                f"{row.name} is a member of an ensemble, but cannot be evaluated alone: {row.error.message}",
            )
        elif row.error:
            say("error", "red", f"{row.name}: {row.error}")
    if errors:
        raise typer.Exit(exit_code(errors[0]))
