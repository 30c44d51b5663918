"""`mien compare`: models, files, runs and ensembles in, one table and one report out."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mien.cli import console, say
from mien.errors import exit_code

if TYPE_CHECKING:
    from mien.expression.tta import Tta

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(compare)


def compare(
    data: Annotated[Path, typer.Option(help="The store to judge on, from `mien data build`.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Shipped models' names, exported .onnx files, folders of runs; the first is held against.",
            show_default=False,
        ),
    ] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(help="Compare an ensemble too, and its members: A,B,C; may be repeated.", show_default=False),
    ] = None,
    vote: Annotated[str, typer.Option(help="How ensembles vote: soft or hard.")] = "soft",
    split: Annotated[str, typer.Option(help="Which rows: train, val (PublicTest) or test (PrivateTest).")] = "val",
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Who counts as the truth; may be repeated.", show_default="all that data and models allow"),
    ] = None,
    tta: Annotated[str, typer.Option(help="Average over tta of each face: none, flip or ten-crop.")] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report, and every table as CSV and PNG, into this folder.", show_default=False),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report alone (.html).", show_default=False)] = None,
) -> None:
    """Compares models on the same faces: scores with intervals, McNemar's test against the first, size and speed.

    A run is exported first and judged by the file, its temperatures fitted on the store's val split. One that cannot
    be judged is named, and the others go on; the exit code is then that of its error.
    """
    from mien.datasets import store
    from mien.evaluation.compare import candidates
    from mien.evaluation.compare import compare as compared
    from mien.evaluation.report.comparison_files import comparison_text, need_plots, write_folder
    from mien.evaluation.report.comparison_page import comparison_page
    from mien.evaluation.report.text import open_report

    def export(run: Path, target: Path) -> None:
        from mien.training import export_run

        export_run(run, store.load(data, "val"), target)

    if out:
        need_plots()
    samples = store.load(data, split)
    with ExitStack() as stack:
        report_file = stack.enter_context(open_report(report)) if report else None
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-compare-")))
        status = stack.enter_context(console().status("making ready"))
        given = candidates(models or (), ensemble or (), export, place)
        comparison = compared(
            given,
            samples,
            split=split,
            protocols=protocol,
            tta=cast("Tta", tta),
            vote=vote,
            begun=lambda name: status.update(f"judging {name} on {len(samples):,} faces"),
        )
        page = comparison_page(comparison, samples, data=data.name)
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
            say("note", "cyan", f"{row.name} votes, but cannot be judged alone: {row.error.message}")
        elif row.error:
            say("error", "red", f"{row.name}: {row.error}")
    if errors:
        raise typer.Exit(exit_code(errors[0]))
