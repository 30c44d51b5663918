"""A scores as plain text: aligned columns, ASCII, no colour, the same in a terminal, a pipe and a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.calibration import BINS
from mien.evaluation.intervals import Estimate
from mien.evaluation.robustness import AccuracyDrop
from mien.evaluation.score import COVERAGE, Scores
from mien.files import cannot_write, replacing

__all__ = ["columns", "opened", "points", "text"]


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file to write a report to; it takes its name when it is whole, and nothing is left of one that is not.

    Open it before the judging: what cannot be written is then said at once.

    Raises:
        OutputError: The folder is missing, the path is no file's, or the system refuses to write.
    """
    with replacing(path) as partial:
        try:
            with partial.open("w", encoding="utf-8") as file:
                yield file
        except BaseException as error:
            with suppress(OSError):
                partial.unlink()
            if isinstance(error, OSError):
                raise cannot_write(path, error) from error
            raise


def text(scores: Scores, losses: Sequence[AccuracyDrop] = ()) -> str:
    """The whole scores, in lines that fit 100 columns with up to ten classes; then what spoilt faces cost."""
    parts = [
        _headline(scores),
        _scores(scores),
        _classes(scores),
        "Confusion in % of the true class (row: truth, column: read as)",
        _matrix(scores.classes, _percents(scores.confusion)),
        "Confusion in faces",
        _matrix(scores.classes, _counts(scores.confusion)),
        *([_losses(losses)] if losses else []),
        "In brackets: 95% bootstrap intervals. Macro F1 covers the classes that the truth holds.",
    ]
    return "\n\n".join(parts) + "\n"


def _headline(scores: Scores) -> str:
    line = f"{scores.protocol}: {scores.n:,} faces"
    if scores.dropped:
        line += f", {scores.dropped:,} left out by the protocol"
    return f"{line}\n{'=' * len(line)}"


def _scores(scores: Scores) -> str:
    rows = []
    if scores.found:
        rows.append(("faces found", f"{scores.found}", "the others are left out of all scores"))
    rows += [
        ("accuracy", f"{scores.accuracy}", ""),
        ("macro F1", f"{scores.macro_f1}", ""),
        (f"accuracy of the nms {COVERAGE:.0%}", f"{scores.selective}", "abstaining from the rest"),
        ("negative log-likelihood", f"{scores.nll:.3f}", "nats"),
    ]
    if scores.cross_entropy and scores.jensen_shannon:
        faces = "" if scores.voted == scores.n else f", {scores.voted:,} faces with votes"
        rows += [
            ("cross-entropy to the votes", f"{scores.cross_entropy:.3f}", f"nats{faces}"),
            ("Jensen-Shannon to the votes", f"{scores.jensen_shannon:.3f}", f"nats{faces}"),
        ]
    if scores.human:
        rows.append(("  between halves of them", f"{scores.human:.3f}", "nats: people among themselves"))
    rows += [
        ("calibration error", f"{scores.calibration_error}", f"{BINS} bins of equal mass"),
        ("  of perfect calibration", f"{scores.perfect_error}", "by chance, with these confidences"),
        ("  above that", f"{scores.excess_error}", ""),
    ]
    return columns(rows, "<<<")


def _classes(scores: Scores) -> str:
    rows = [("class", "faces", "read as", "precision", "recall", "F1")]
    rows += [
        (row.name, f"{row.support:,}", f"{row.predicted:,}", f"{row.precision}", f"{row.recall}", f"{row.f1}")
        for row in scores.rows
    ]
    return columns(rows, "<>>>>>")


def _losses(losses: Sequence[AccuracyDrop]) -> str:
    rows = [("spoilt by", "accuracy", "lost, points", "faces are")]
    rows += [(loss.corruption, f"{loss.accuracy}", points(loss.fall), loss.meaning) for loss in losses]
    return columns(rows, "<>><")


def points(fall: Estimate) -> str:
    """A difference of accuracies in points of percent: `1.2 (0.8-1.6)`, or `0.2 (-0.3 to 0.7)`."""
    value, low, high = (f"{100 * number:.1f}".replace("-0.0", "0.0") for number in (fall.value, fall.low, fall.high))
    return f"{value} ({low}{' to ' if '-' in low + high else '-'}{high})"


def _matrix(classes: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Cells (C, C) under and beside their names, the diagonal in brackets."""
    rows = [("", *(f"{name} " for name in _short(classes)))]
    for i, (name, row) in enumerate(zip(classes, cells, strict=True)):
        rows.append((name, *(f"[{cell}]" if i == j else f"{cell} " for j, cell in enumerate(row))))
    return columns(rows, "<" + ">" * len(classes))


def _counts(confusion: NDArray[np.int64]) -> list[list[str]]:
    return [[str(count) if count else "." for count in row] for row in confusion.tolist()]


def _percents(confusion: NDArray[np.int64]) -> list[list[str]]:
    return [[_percent(count, sum(row)) for count in row] for row in confusion.tolist()]


def _percent(count: int, support: int) -> str:
    """In whole percent, but 0 (a dot) and 100 only where exact; a dash where the truth lacks the class."""
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
    """The first letters of each name: three, or as many as it takes to tell all names apart."""
    width = 3
    while len({name[:width] for name in names}) < len(set(names)):
        width += 1
    return [name[:width] for name in names]


def columns(rows: Sequence[Sequence[str]], alignment: str) -> str:
    """Rows of equal length as lines with columns two blanks apart; `alignment` has < or > for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, alignment, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
