"""The scores as plain text: aligned columns, ASCII, no colour; the same in a terminal, a pipe and a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.calibration import BINS
from mien.evaluation.groups import Grouping
from mien.evaluation.intervals import LEAST_UNITS, Estimate
from mien.evaluation.robustness import AccuracyDrop
from mien.evaluation.score import COVERAGE, Scores
from mien.files import new_file, write_errors
from mien.names import printable


@contextmanager
def open_report(path: Path) -> Iterator[TextIO]:
    """Opens a text file for a report; it gets its name when it is complete, and an incomplete one is deleted.

    Open it before the evaluation, so that a path that cannot be written fails at once.

    Raises:
        OutputError: The folder is missing, the path is not that of a file, or the system refuses to write.
    """
    with new_file(path, "w", encoding="utf-8") as file:
        try:
            with write_errors(path):
                yield file
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise


def text(scores: Scores, drops: Sequence[AccuracyDrop] = (), groups: Sequence[Grouping] = ()) -> str:
    """All scores, accuracy drops and scores of groups.

    Lines have at most 100 columns for up to ten classes; those of groups may be longer.
    """
    line = f"{scores.protocol}: {scores.n:,} faces"
    if scores.dropped:
        line += f", {scores.dropped:,} excluded by the protocol"
    line += over(scores)
    parts = [
        f"{line}\n{'=' * len(line)}",
        _scores(scores),
        _classes(scores),
        *([_rare(scores)] if scores.rare else []),
        "Confusion in % of the true class (row: true class, column: predicted class)",
        _matrix(scores.classes, _percents(scores.confusion)),
        "Confusion in faces",
        _matrix(scores.classes, _counts(scores.confusion)),
        *([_drops(drops)] if drops else []),
        *([_groups(groups, scores.unit)] if groups else []),
        "In brackets: 95% intervals, bootstrapped, or Wilson's for few faces. Macro F1 and mean recall: over\n"
        "the classes that occur in the labels.",
    ]
    return "\n\n".join(parts) + "\n"


def over(scores: Scores) -> str:
    """What the intervals are resampled over, if it is not the faces: `, intervals over 12 persons`."""
    return "" if scores.unit == "faces" else f", intervals over {scores.units:,} {scores.unit}"


def _scores(scores: Scores) -> str:
    rows = []
    if scores.found:
        rows.append(("faces found", f"{scores.found}", "all other scores exclude the faces not found"))
    rows += [
        ("accuracy", f"{scores.accuracy}", ""),
        ("macro F1", f"{scores.macro_f1}", ""),
        ("mean recall", f"{scores.mean_recall}", ""),
    ]
    if scores.mean_recall_of_seven:
        rows.append(("  without contempt", f"{scores.mean_recall_of_seven}", "of the seven emotions of FER2013"))
    rows += [
        ("selective accuracy", f"{scores.selective}", f"on the {COVERAGE:.0%} of faces with the highest confidence"),
        ("negative log-likelihood", f"{scores.nll:.3f}", "nats"),
    ]
    if scores.cross_entropy and scores.jensen_shannon:
        faces = "" if scores.voted == scores.n else f", {scores.voted:,} faces with votes"
        rows += [
            ("cross-entropy to the votes", f"{scores.cross_entropy:.3f}", f"nats{faces}"),
            ("Jensen-Shannon to the votes", f"{scores.jensen_shannon:.3f}", f"nats{faces}"),
        ]
    if scores.human:
        rows.append(("  between halves of the votes", f"{scores.human:.3f}", "nats, annotators among themselves"))
    rows += [
        ("calibration error", f"{scores.calibration_error}", f"{BINS} bins of equal mass"),
        ("  by chance", f"{scores.perfect_error}", "of a perfectly calibrated model"),
        ("  above chance", f"{scores.excess_error}", ""),
    ]
    if scores.assumed_error:
        rows.append(("  at assumed shares", f"{scores.assumed_error}", "above chance; classes weighted by the prior"))
    return columns(rows, "<<<")


def _rare(scores: Scores) -> str:
    rows = [("class with few faces", "faces", "found", "recall")]
    rows += [(each.name, f"{each.support:,}", f"{each.found:,}", f"{each.recall}") for each in scores.rare]
    return columns(rows, "<>>>")


def _classes(scores: Scores) -> str:
    rows = [("class", "faces", "predicted", "precision", "recall", "F1")]
    rows += [
        (row.name, f"{row.support:,}", f"{row.predicted:,}", f"{row.precision}", f"{row.recall}", f"{row.f1}")
        for row in scores.rows
    ]
    return columns(rows, "<>>>>>")


def _drops(drops: Sequence[AccuracyDrop]) -> str:
    rows = [("corruption", "accuracy", "drop, points", "overconfident", "description")]
    rows += [
        (
            drop.corruption,
            f"{drop.accuracy.value:.1%}",
            points(drop.fall),
            f"{drop.overconfidence.value:+.1%}",
            drop.meaning,
        )
        for drop in drops
    ]
    return columns(rows, "<>>><")


def _groups(groups: Sequence[Grouping], unit: str) -> str:
    known = any(group.persons is not None for grouping in groups for group in grouping.groups)
    searched = any(group.found for grouping in groups for group in grouping.groups)
    parts = []
    for grouping in groups:
        rows = [
            [
                printable(grouping.column),
                "faces",
                *[unit] * known,
                *["found"] * searched,
                "accuracy",
                "less the others'",
                "mean recall",
                "of",
                "overconfident",
            ]
        ]
        rows += [
            [
                printable(group.name),
                f"{group.faces:,}",
                *[f"{group.persons or 0:,}"] * known,
                *[f"{group.found.value if group.found else 1:.1%}"] * searched,
                f"{group.accuracy}",
                points(group.difference),
                f"{group.mean_recall}",
                f"{group.classes}",
                f"{group.overconfidence:+.1%}",
            ]
            for group in grouping.groups
        ]
        if grouping.unknown:
            rows.append(["unknown", f"{grouping.unknown:,}", *[""] * (len(rows[0]) - 2)])
        parts.append(columns(rows, "<" + ">" * (len(rows[0]) - 1)))
    parts.append(
        "Accuracy less that of the faces of all other groups, in points. Mean recall: over so many emotions, those\n"
        "that the others have, too. Of many groups, some differ by chance."
        + f"\nA difference needs {LEAST_UNITS} {unit} on each side."
        * known
    )
    return "\n\n".join(parts)


def points(fall: Estimate) -> str:
    """A difference of accuracies in percentage points: `1.2 (0.8-1.6)`, or `0.2 (-0.3 to 0.7)`; `-` if undefined."""
    if np.isnan(fall.value):
        return "-"
    value, low, high = (f"{100 * number:.1f}".replace("-0.0", "0.0") for number in (fall.value, fall.low, fall.high))
    return f"{value} ({low}{' to ' if '-' in low + high else '-'}{high})"


def _matrix(classes: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Cells (C, C) with the names of rows and columns; the diagonal in brackets."""
    rows = [("", *(f"{name} " for name in _short(classes)))]
    for i, (name, row) in enumerate(zip(classes, cells, strict=True)):
        rows.append((name, *(f"[{cell}]" if i == j else f"{cell} " for j, cell in enumerate(row))))
    return columns(rows, "<" + ">" * len(classes))


def _counts(confusion: NDArray[np.int64]) -> list[list[str]]:
    return [[str(count) if count else "." for count in row] for row in confusion.tolist()]


def _percents(confusion: NDArray[np.int64]) -> list[list[str]]:
    return [[_percent(count, sum(row)) for count in row] for row in confusion.tolist()]


def _percent(count: int, support: int) -> str:
    """In whole percent; 0 (a dot) and 100 only if exact, a dash for a class without faces."""
    if not support:
        return "-"
    if not count:
        return "."
    percent = 100 * count / support
    if percent < 1:
        return "<1"
    if 99 < percent < 100:
        return ">99"
    return f"{percent:.0f}"


def _short(names: Sequence[str]) -> list[str]:
    """The first letters of each name: three, or as many as are needed to distinguish all names."""
    width = 3
    while len({name[:width] for name in names}) < len(set(names)):
        width += 1
    return [name[:width] for name in names]


def columns(rows: Sequence[Sequence[str]], alignment: str) -> str:
    """Rows of equal length as lines, columns separated by two spaces; `alignment` has < or > for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, alignment, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
