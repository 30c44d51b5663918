"""`mien curate`: a labelled data set in, what is suspicious in it out."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from mien.cli import bar, print_line, say, tell
from mien.cli.options import AsJson, command
from mien.curate import CurateOptions
from mien.datasets.class_names import NameOptions
from mien.errors import EXIT_CODES, InputError
from mien.files import check_inputs_stay

_SHOWN: Final = 10


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("curate")(command(curate))


def curate(
    data: Annotated[Path, "A store (.h5), class folders, a .csv list of images, or fer2013.csv."],
    *,
    out: Annotated[Path, typer.Option("--out", help="The folder for the list, the sheet and the page.")],
    options: CurateOptions,
    names: NameOptions,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the list of an earlier run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Finds images with likely wrong labels, copies, images without a face, and images of low quality.

    Labels are judged by confident learning: a head on the features of a model, cross-validated, so that it has not
    seen the label. The folder gets curation.csv, a contact sheet and a page. Check them: fill the column keep of what
    is right, or delete its line. Then build the data without the rest: mien data build ... --exclude curation.csv.
    """
    from mien.curate.page import LIST, PAGE, SHEET, SUMMARY, check_out, write
    from mien.curate.run import curate as run
    from mien.evaluation.report.page import need_templates

    need_templates()
    check_out(out, force=force)
    check_inputs_stay({f"{name} in --out": out / name for name in (LIST, SHEET, PAGE, SUMMARY)}, [data])
    with bar("looking at the images") as progress:
        found = run(data, options, names=names, progress=progress)
        written = write(found, out, force=force)
    for note in found.notes:
        say("note", "cyan", note)
    for line in found.left_out[:_SHOWN]:
        say("left out", "yellow", line)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        for line in found.text().splitlines():
            print_line(line)
    for path in written:
        tell(f"written: {path}")
    if found.left_out:
        raise typer.Exit(EXIT_CODES[InputError])
