"""A comparison as text, and as a folder with its page, tables and figures."""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.errors import MissingExtraError
from mien.evaluation.compare import Comparison, Row
from mien.evaluation.intervals import Estimate, McNemar
from mien.evaluation.report.text import columns, over
from mien.evaluation.score import Scores
from mien.files import new_file, replacing, write_errors
from mien.output.drawing.palette import colour_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_text(comparison: Comparison) -> str:
    """A table for each protocol, one of the costs, and the errors; aligned columns, ASCII except for names."""
    parts = []
    views = "single view" if comparison.tta == "none" else comparison.tta
    prior = "" if comparison.prior == "training" else f", prior {comparison.prior}"
    for name, title in comparison.protocols.items():
        scored = _scored(comparison, name)
        line = f"{title}, {comparison.split}, {views}{prior}: {scored[0][1].n:,} faces{over(scored[0][1])}"
        rows: list[tuple[str, ...]] = [
            (
                "model",
                "accuracy",
                "mean recall",
                "macro F1",
                "calibration error",
                "difference",
                "this / first only",
                "McNemar p",
            )
        ]
        for row, found in scored:
            values = [f"{getattr(found, score)}" for score in _SCORES]
            rows.append((row.name, *values, points(row.differences.get(name)), *_tested(row.against.get(name))))
        parts.append(f"{line}\n{'=' * len(line)}\n\n{columns(rows, '<' + '>' * (len(rows[0]) - 1))}")
        if rare := _rare_lines(scored):
            parts.append(rare)
    costs = [("model", "parameters", "MMAC", "ms per face", "quartiles")]
    for row in comparison.good:
        if row.cost:
            parameters = "-" if row.cost.parameters is None else f"{row.cost.parameters:,}"
            operations = "-" if row.cost.operations is None else f"{row.cost.operations / 1e6:,.1f}"
            spread = f"{row.cost.low:.2f}-{row.cost.high:.2f}"
            costs.append((row.name, parameters, operations, f"{row.cost.milliseconds:.2f}", spread))
    parts.append(columns(costs, "<>>>>"))
    if comparison.failed:
        errors = [(row.name, f"{row.error}") for row in comparison.failed]
        parts.append("Failed:\n" + columns(errors, "<<"))
    first = comparison.good[0].name
    parts.append(
        f"In brackets: 95% bootstrap intervals. Difference: of the accuracies, in points, to {first}, the\n"
        "first model, on the same faces. McNemar: exact, two-sided, not corrected for the number of models. MMAC:\n"
        "million multiply-adds for one face. ms: median on one thread."
        + (_PERSONS if any(found.unit != "faces" for row in comparison.good for found in _all(row)) else "")
        + ("" if all(row.cost and row.cost.parameters for row in comparison.good) else _UNCOUNTED)
    )
    return "\n\n".join(parts) + "\n"


_PERSONS = "\nMcNemar's test takes faces as independent, which those of one person are not: go by the difference."
_UNCOUNTED = "\nCounting parameters and MMAC needs the package onnx: pip install 'mien[train]'."


def _rare_lines(scored: Sequence[tuple[Row, Scores]]) -> str:
    """How many faces of rare classes each model finds; empty if there are no rare classes."""
    names = [each.name for each in scored[0][1].rare]
    rows = [("found, of few faces", *names)]
    for row, found in scored:
        rows.append((row.name, *(f"{each.found} of {each.support}: {each.recall}" for each in found.rare)))
    return columns(rows, "<" + ">" * len(names)) if names else ""


def _all(row: Row) -> Iterable[Scores]:
    return row.evaluation.scores.values() if row.evaluation else ()


def _scored(comparison: Comparison, protocol: str) -> list[tuple[Row, Scores]]:
    return [
        (row, row.evaluation.scores[protocol])
        for row in comparison.good
        if row.evaluation and protocol in row.evaluation.scores
    ]


def points(difference: Estimate | None) -> str:
    """A difference of two accuracies in percentage points, with its interval; "-" if there is none."""
    if difference is None:
        return "-"
    value, low, high = (100 * number for number in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _tested(found: McNemar | None) -> tuple[str, str]:
    if found is None:
        return "-", "-"
    return f"{found.second_only:,} / {found.first_only:,}", "<0.001" if found.p < 0.001 else f"{found.p:.3f}"


def need_plots() -> None:
    """Checks that figures can be drawn, before a comparison begins.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("drawing the figures of a comparison", "report") from error


def write_folder(comparison: Comparison, folder: Path, page: str) -> list[Path]:
    """Writes a comparison into a folder, which is created if it is missing; the files of another one are replaced.

    The files are `report.html`, `comparison.json`, `comparison.csv` with a row for every model and protocol, and for
    each of these rows `MODEL-PROTOCOL-confusion.csv` (numbers of faces; a row is a true class) and
    `MODEL-PROTOCOL-classes.csv` (precision, recall, F1), both also as `.png`.

    Args:
        comparison: The result of `compare`.
        folder: Where to write.
        page: The HTML of the report.

    Returns:
        The paths of the files.

    Raises:
        OutputError: The folder cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    need_plots()
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "report.html", folder / "comparison.json", folder / "comparison.csv"]
    before = _named_in(written[1])
    for path, text in zip(written, (page, json.dumps(comparison.as_dict(), indent=1) + "\n"), strict=False):
        with new_file(path, "w", encoding="utf-8") as file:
            file.write(text)
    _table(written[2], [_HEADER, *_rows(comparison)])
    taken: set[str] = set()
    for row in comparison.good:
        for protocol, found in row.evaluation.scores.items() if row.evaluation else ():
            stem = _stem(f"{row.name}-{protocol}", taken)
            tables = {"confusion": _confusion_rows(found), "classes": _class_rows(found)}
            title = f"{row.name}\n{comparison.protocols[protocol]}, {comparison.split}"
            figures = {"confusion": _confusion_figure(found, title), "classes": _class_figure(found, title)}
            for kind, lines in tables.items():
                written += [folder / f"{stem}-{kind}.csv", folder / f"{stem}-{kind}.png"]
                _table(written[-2], lines)
                with replacing(written[-1]) as partial:
                    figures[kind].savefig(partial, format="png")
    with write_errors(folder):
        for path in before - set(written):
            path.unlink(missing_ok=True)
    return written


def _named_in(path: Path) -> set[Path]:
    """The tables and figures of the comparison that a comparison.json holds; none if it holds something else."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        taken: set[str] = set()
        stems = [
            _stem(f"{row['name']}-{protocol}", taken)
            for row in rows
            for protocol in (row["evaluation"] or {"protocols": {}})["protocols"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {path.parent / f"{stem}-{kind}" for stem in stems for kind in _KINDS}


def _stem(name: str, taken: set[str]) -> str:
    """A unique file name of plain letters."""
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name.replace(" + ", "+")).strip("-.")[:100] or "model"
    stem, number = plain, 2
    while stem.lower() in taken:
        stem, number = f"{plain}-{number}", number + 1
    taken.add(stem.lower())
    return stem


def _table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with new_file(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


_SCORES = ("accuracy", "mean_recall", "macro_f1", "calibration_error")
# What each row has.
_KINDS: Final = ("confusion.csv", "confusion.png", "classes.csv", "classes.png")

_HEADER = [
    *("model", "protocol", "faces"),
    *(f"{score}{end}" for score in _SCORES for end in ("", "_low", "_high")),
    *(
        "difference",
        "difference_low",
        "difference_high",
        "this_only",
        "first_only",
        "mcnemar_p",
        "parameters",
        "multiply_adds",
        "ms_a_face",
        "error",
    ),
]


def _rows(comparison: Comparison) -> Iterable[list[object]]:
    """The columns of `_HEADER` for every model and protocol; one row with the error for a model that failed."""
    for row in comparison.rows:
        if row.evaluation is None or row.cost is None:
            yield [row.name, *[""] * (len(_HEADER) - 2), f"{row.error}"]
            continue
        for name, found in row.evaluation.scores.items():
            scores = [end for score in _SCORES for end in _numbers(getattr(found, score))]
            test = row.against.get(name)
            tested: list[object] = [""] * 6
            if test:
                tested = [*_numbers(row.differences[name]), test.second_only, test.first_only, f"{test.p:.6g}"]
            counts = ["" if count is None else count for count in (row.cost.parameters, row.cost.operations)]
            yield [row.name, name, found.n, *scores, *tested, *counts, f"{row.cost.milliseconds:.4f}", ""]


def _numbers(estimate: Estimate) -> list[str]:
    """Value and interval; empty if undefined."""
    numbers = (estimate.value, estimate.low, estimate.high)
    return ["" if np.isnan(number) else f"{number:.6f}" for number in numbers]


def _confusion_rows(scores: Scores) -> list[list[object]]:
    body = zip(scores.classes, scores.confusion.tolist(), strict=True)
    return [["truth", *scores.classes], *([name, *counts] for name, counts in body)]


def _class_rows(scores: Scores) -> list[list[object]]:
    ends = [f"{score}{end}" for score in ("precision", "recall", "f1") for end in ("", "_low", "_high")]
    rows: list[list[object]] = [["class", "faces", "read_as", *ends]]
    for row in scores.rows:
        values = [end for estimate in (row.precision, row.recall, row.f1) for end in _numbers(estimate)]
        rows.append([row.name, row.support, row.predicted, *values])
    return rows


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=130)


def _confusion_figure(scores: Scores, title: str) -> "Figure":
    """The confusion matrix in percent of the true class."""
    count = len(scores.classes)
    support = scores.confusion.sum(axis=1, keepdims=True)
    share = 100 * scores.confusion / np.maximum(support, 1)
    figure = _figure(2.4 + 0.62 * count, 2.2 + 0.55 * count)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    names = [name.replace("_", " ") for name in scores.classes]
    axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    labelled = [f"{name} ({faces:,})" for name, faces in zip(names, support[:, 0].tolist(), strict=True)]
    axes.set_yticks(range(count), labelled)
    axes.set(xlabel="predicted class", ylabel="true class (faces)")
    axes.set_title(f"{title}\n% of the true class", loc="left", fontsize=10)
    for row, column in np.argwhere(scores.confusion > 0).tolist():
        value = share[row, column]
        colour, shown = "white" if value > 55 else "#1c1f26", "<1" if value < 1 else f"{value:.0f}"
        axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _class_figure(scores: Scores, title: str) -> "Figure":
    """Precision, recall and F1 of each class as bars with their intervals."""
    count = len(scores.classes)
    figure = _figure(9, 1.4 + 0.5 * count)
    panels = figure.subplots(1, 3, sharey=True, squeeze=False)[0]
    names = [row.name.replace("_", " ") for row in scores.rows]
    colours = [tuple(part / 255 for part in colour_of(row.name)) for row in scores.rows]
    for axes, score in zip(panels, ("precision", "recall", "f1"), strict=True):
        found: list[Estimate] = [getattr(row, score) for row in scores.rows]
        values = np.nan_to_num([100 * each.value for each in found])
        ends = np.nan_to_num([[100 * (each.value - each.low), 100 * (each.high - each.value)] for each in found])
        axes.barh(range(count), values, color=colours, edgecolor="#8a919e", linewidth=0.4)
        axes.errorbar(values, range(count), xerr=ends.T, fmt="none", ecolor="#1c1f26", elinewidth=1.2, capsize=2.5)
        axes.set_title("F1, %" if score == "f1" else f"{score}, %", loc="left", fontsize=10)
        axes.set_xlim(0, 100)
        axes.set_yticks(range(count), names)
        axes.tick_params(length=0)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].invert_yaxis()  # the panels share it
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure
