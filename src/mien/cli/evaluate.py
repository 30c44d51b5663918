"""`mien evaluate`: a model and a store in, its scores out."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import bar, tell
from mien.cli.options import Only, command
from mien.cli.outputs import Target
from mien.expression import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.files import sha256
from mien.names import printable

if TYPE_CHECKING:
    from mien.datasets import Samples
    from mien.evaluation.groups import Columns


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """The faces and the labels that a model is evaluated with."""

    split: Annotated[str, "Which faces: train, val (PublicTest) or test (PrivateTest)."] = "val"
    protocol: Annotated[
        tuple[str, ...] | None,
        "Definition of the true labels; may be repeated. By default all that fit.",
    ] = None
    corruption: Annotated[
        tuple[str, ...] | None,
        "Also measure the accuracy on corrupted faces: jitter, small-24, dark, ..., or all.",
    ] = None
    groups: Annotated[
        Path | None,
        "Also score groups of faces: a .csv file with the column name or subject, and others that divide them, as sex.",
    ] = None
    align: Annotated[bool, "Align the faces first where they are sure, as `mien analyze --faces-are-crops` does."] = (
        False
    )


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where the scores go besides the terminal."""

    json: Annotated[bool, "Print JSON."] = False
    out: Annotated[Path | None, "Also write the JSON to this .json file."] = None
    report: Annotated[Path | None, "Also write a page with charts and images to this .html file."] = None
    predictions: Annotated[
        Path | None, "Also write the truth and the probabilities of each face to this .csv file."
    ] = None


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(command(evaluate))


def evaluate(
    data: Annotated[Path, "The store to evaluate on, from `mien data build`."],
    classifier: Annotated[ClassifierOptions, Only({"model", "vote", "emotions", "tta", "prior"})],
    detector: Annotated[DetectorOptions | None, Only({"name", "weights"})],
    scoring: ScoringOptions,
    output: OutputOptions,
) -> None:
    """Evaluates a model: accuracy, F1, confusion, cross-entropy and calibration, each with its 95% interval.

    Every score names its protocol: the labels of FER2013, or the votes of FER+ by majority or by argmax. With
    --detector, each face is placed on a larger canvas, found there and cropped, as in a photograph. With --emotions,
    only faces of these emotions are scored, and only these are told apart. If the data knows the persons, intervals are
    resampled over them. If the data has valence and arousal, their
    concordance correlation (CCC) and root mean squared error are printed as well.
    """
    from mien.datasets import store
    from mien.evaluation import evaluate_model
    from mien.evaluation.report.page import evaluation_page, need_templates
    from mien.evaluation.report.predictions_file import write_predictions
    from mien.evaluation.report.text import open_report, text

    targets = [Target("--out", output.out, ".json")] if output.out else []
    if output.report:
        targets.append(Target("--report", output.report, ".html", ".htm"))
        need_templates()
    if output.predictions:
        targets.append(Target("--predictions", output.predictions, ".csv"))
    samples = store.load(data, scoring.split)
    columns = _groups(scoring.groups, samples)
    with ExitStack() as stack:
        out_file = stack.enter_context(open_report(output.out)) if output.out else None
        report_file = stack.enter_context(open_report(output.report)) if output.report else None
        rows_file = stack.enter_context(open_report(output.predictions)) if output.predictions else None
        progress = stack.enter_context(bar(f"evaluating {len(samples):,} faces"))
        evaluation = evaluate_model(
            classifier,
            samples,
            split=scoring.split,
            protocols=scoring.protocol,
            corruptions=[name.strip() for word in scoring.corruption or () for name in word.split(",")],
            detector=detector,
            align=scoring.align,
            progress=progress,
        ).with_groups(columns)
        plain = ""
        if output.json or out_file:  # the hash of a store takes a moment
            plain = json.dumps(evaluation.as_dict() | _described(data, samples, scoring.groups), indent=1)
        if out_file:
            out_file.write(plain + "\n")
        if report_file:
            report_file.write(evaluation_page(evaluation, samples, data=data.name))
        if rows_file:
            write_predictions(rows_file, evaluation, samples)
    if output.json:
        print(plain)
    else:
        for name, scores in evaluation.scores.items():
            print(text(scores, evaluation.accuracy_drops.get(name, ()), evaluation.groups[name]))
            print()
        if evaluation.affect:
            print(evaluation.affect.text())
    for target in targets:
        tell(str(target))


def _groups(path: Path | None, samples: "Samples") -> "Columns":
    """The columns of the table of groups; none without a table. Those that divide nothing are told."""
    from mien.evaluation.groups import Columns, read_groups

    columns = read_groups(path, samples) if path else Columns()
    for name, why in columns.left_out.items():
        tell(f"{columns.file}: the column {printable(name)} {why}; it is left out")
    return columns


def _described(data: Path, samples: "Samples", groups: Path | None) -> dict[str, object]:
    """The store that was evaluated on: its file, the hash of it, and how it was made; and the table of groups."""
    store = {"file": data.name, "sha256": sha256(data), "faces": len(samples), "about": samples.about}
    found: dict[str, object] = {"data": store}
    if groups:
        found["groups"] = {"file": groups.name, "sha256": sha256(groups)}
    return found
