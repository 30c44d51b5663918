"""`mien personalise`: a few labelled faces of one person in, a model that is better on them out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from mien.cli import console, print_line, say, tell
from mien.cli.options import AsJson, Only, command
from mien.cli.outputs import Target
from mien.datasets.class_names import NameOptions
from mien.errors import EXIT_CODES, InputError
from mien.faces.detectors import DetectorOptions
from mien.personalise.adapt import PersonaliseOptions

_SHOWN: Final = 10


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("personalise")(command(personalise))


def personalise(
    source: Annotated[Path, "Class folders (DIR/happy/*.jpg), a folder with a label.csv, or a corrected .csv table."],
    *,
    out: Annotated[Path, typer.Option("--out", help="The .onnx file to write.", show_default=False)],
    options: PersonaliseOptions,
    names: NameOptions,
    detector: Annotated[DetectorOptions, Only({"name", "weights", "min_score"})],
    as_json: AsJson = False,
) -> None:
    """Makes a model better on the faces of one person, from five or more images of each emotion.

    SOURCE may be the table of `mien analyze --table`, with the emotions corrected. Accuracies before and after are
    measured on held-out faces and on a general set of other people. If it does not help, nothing is written. Images
    that are faces already need --detector whole-image.
    """
    from mien.personalise import NotHelpfulError
    from mien.personalise import personalise as run
    from mien.personalise.run import check_model_file

    check_model_file(out)
    target = Target("--out", out)
    try:
        with console().status("looking at the faces"):
            done = run(source, out, options, names=names, detector=detector)
    except NotHelpfulError as error:
        _say_what_was_used(error.notes, error.left_out)
        raise
    _say_what_was_used(done.notes, done.left_out)
    if as_json:
        print(json.dumps(done.as_dict(), indent=1))
    else:
        for line in done.text().splitlines():
            print_line(line)
    if not done.adaptation.changes:
        say("note", "cyan", "nothing was learnt: the file classifies as the model does; written because of --force")
    elif not done.helps:
        say("note", "cyan", "it does not help; written because of --force")
    tell(f"{target}; use it with --model {out}")
    if done.left_out:
        raise typer.Exit(EXIT_CODES[InputError])


def _say_what_was_used(notes: Sequence[str], left_out: Sequence[tuple[str, str]]) -> None:
    """Says what was done with the images that the user may not expect, and which were left out."""
    for note in notes:
        say("note", "cyan", note)
    for name, reason in left_out[:_SHOWN]:
        say("left out", "yellow", f"{name}: {reason}")
    if len(left_out) > _SHOWN:
        say("left out", "yellow", f"and {len(left_out) - _SHOWN} more")
