"""`mien compare`: models, files, runs and ensembles in, one table and one report out."""

import json
import tempfile
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import bar, console, say, tell
from mien.cli.evaluate import ScoringOptions
from mien.cli.options import Only, command
from mien.cli.outputs import Target
from mien.errors import DataError, exit_code
from mien.expression import ClassifierOptions
from mien.files import check_folder

if TYPE_CHECKING:
    from mien.evaluation.compare import Comparison


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where the comparison goes besides the terminal."""

    json: Annotated[bool, "Print JSON."] = False
    out: Annotated[Path | None, "Write the report, and every table as CSV and PNG, into this folder."] = None
    report: Annotated[Path | None, "Write only the report to this .html file."] = None


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(command(compare))


def compare(
    models: Annotated[
        list[str] | None,
        "Names of shipped models and classic networks (`mien models list`), .onnx files, folders of runs; A,B for an "
        "ensemble and its members. The others are tested against the first one named.",
    ] = None,
    *,
    data: Annotated[Path, "The store to evaluate on, from `mien data build`."],
    classifier: Annotated[ClassifierOptions, Only({"vote", "emotions", "tta", "prior"})],
    scoring: Annotated[ScoringOptions, Only({"split", "protocol"})],
    output: OutputOptions,
) -> None:
    """Compares models on the same faces: scores with intervals, McNemar's test against the first, size and speed.

    A run is exported first, with temperatures fitted on the store's val split, and the file is evaluated. A model that
    cannot be evaluated is reported, and the others are still compared; the exit code is then that of its error.
    """
    from mien.datasets import store
    from mien.evaluation.compare import candidates
    from mien.evaluation.compare import compare as compared
    from mien.evaluation.report.comparison_files import comparison_text, need_plots, write_folder
    from mien.evaluation.report.comparison_page import comparison_page
    from mien.evaluation.report.page import need_templates
    from mien.evaluation.report.text import open_report

    out, report = output.out, output.report
    page_file = Target("--report", report, ".html", ".htm") if report else None
    if out:
        check_folder(out)
        need_plots()
    if out or report:
        need_templates()
    samples = store.load(data, scoring.split)
    with ExitStack() as stack:
        report_file = stack.enter_context(open_report(report)) if report else None
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-compare-")))
        with console().status("preparing"):
            given = candidates(models or (), partial(_export, data=data), place)
        early = [each for each in given if each.error]
        if len(early) < len(given):
            for each in early:
                say("error", "red", f"{each.name}: {each.error}")
        progress = stack.enter_context(bar(f"evaluating {len(given)} models on {len(samples):,} faces"))
        comparison = compared(
            given,
            samples,
            split=scoring.split,
            protocols=scoring.protocol,
            options=classifier,
            progress=progress,
        )
        page = comparison_page(comparison, samples, data=data.name) if out or report else ""
        if report_file:
            report_file.write(page)
        written = write_folder(comparison, out, page) if out else []
    print(json.dumps(comparison.as_dict(), indent=1) if output.json else comparison_text(comparison))
    if page_file:
        tell(str(page_file))
    if written:
        tell(f"written: {len(written)} files in {out}")
    _say_errors(comparison, {each.name for each in early})
    if errors := [row.error for row in comparison.failed if row.error and not row.part]:
        raise typer.Exit(exit_code(errors[0]))


def _export(run: Path, target: Path, *, data: Path) -> None:
    """Exports a run, with temperatures fitted on the store's val split."""
    from mien.datasets import store
    from mien.training import export_run

    try:
        everything = store.load(data)
        held_out = everything.only("val")
    except DataError as error:
        raise DataError(
            f"{run}: a run is exported first, on the split val: {error.message}",
            hint=f"compare its file instead, made with the store it was trained on: mien export {run} --data STORE",
        ) from error
    trained = everything.only("train") if "train" in everything.counts() else None
    export_run(run, held_out, target, trained=trained)


def _say_errors(comparison: "Comparison", told: Collection[str]) -> None:
    """Says why models have no scores, but for those of which it is told already."""
    for row in comparison.failed:
        if row.error is None or row.name in told:
            continue
        if row.part:
            reason = f"cannot be evaluated alone: {row.error.message}"
            say("note", "cyan", f"{row.name} is a member of an ensemble, but {reason}")
        else:
            say("error", "red", f"{row.name}: {row.error}")
