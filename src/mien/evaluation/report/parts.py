"""What the pages share: the document around them, cards, tables, scores with their intervals, a confusion matrix."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from mien import __version__
from mien.evaluation.calibration import BINS
from mien.evaluation.intervals import Estimate
from mien.evaluation.report.charts import bar
from mien.evaluation.score import Scores
from mien.output.drawing.palette import colour_of

__all__ = [
    "card",
    "class_scores",
    "confusion",
    "document",
    "facts",
    "footer",
    "named",
    "ranged",
    "scored",
    "table",
    "tabs",
    "valued",
]

# A page forbids itself to load anything.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, header: str, main: str, foot: str) -> str:
    """A whole page; title is plain text, the rest HTML."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>"
        f"{header}<main>{main}</main>{foot}</body></html>\n"
    )


def facts(title: str, known: dict[str, str]) -> str:
    """The head of a page: a title (HTML), and what is known, by name (plain text)."""
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in known.items())
    return f"<header><h1>{title}</h1><dl>{listed}</dl></header>"


def tabs(titles: Sequence[str]) -> str:
    """Radio buttons that show one section each; the first is on."""
    return "".join(
        f'<input type="radio" name="protocol" id="tab-{number}"{" checked" if not number else ""}>'
        f'<label for="tab-{number}">{escape(title)}</label>'
        for number, title in enumerate(titles)
    )


def footer(more: str = "") -> str:
    """What holds for all scores, and what more there is to say (HTML)."""
    return (
        "<footer><p>Ranges in small print and whiskers are 95% bootstrap intervals. Calibration: top label, "
        f"{BINS} bins of equal mass; by chance alone a perfectly calibrated model shows an error above zero, so the "
        "excess is what counts. Macro F1 covers the classes that the truth holds.</p>"
        f"{more}"
        "<p>Labels are what a few strangers saw in small images: expressions, not feelings. "
        f"Made by mien {escape(__version__)}.</p></footer>"
    )


def card(title: str, note: str, content: str, kind: str = "") -> str:
    """A card with a title, a note and its content, all HTML."""
    said = f"<p>{note}</p>" if note else ""
    return f'<article class="{kind}"><h2>{title}</h2>{said}{content}</article>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    """A table of HTML cells."""
    heading = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>'


def valued(estimate: Estimate, spec: str) -> str:
    """The score alone; a dash where it is undefined."""
    return "–" if np.isnan(estimate.value) else format(estimate.value, spec)


def ranged(estimate: Estimate, spec: str = ".1%") -> str:
    """Its interval."""
    if np.isnan(estimate.value):
        return ""
    low, high = format(estimate.low, spec).removesuffix("%"), format(estimate.high, spec)
    return f"{low} to {high}"


def scored(estimate: Estimate) -> str:
    """A bar, and the score with its interval."""
    return f'{bar(estimate)}<span class="score">{valued(estimate, ".1%")}<small>{ranged(estimate)}</small></span>'


def named(name: str) -> str:
    """A class with its colour before it."""
    red, green, blue = colour_of(name)
    return f'<span class="name" style="--hue:rgb({red} {green} {blue})">{escape(name.replace("_", " "))}</span>'


def class_scores(scores: Scores) -> str:
    """Recall, precision and F1 of every class."""
    return table(
        ["class", "recall", "precision", "F1"],
        ([named(row.name), *(scored(score) for score in (row.recall, row.precision, row.f1))] for row in scores.rows),
        "classes",
    )


def confusion(scores: Scores) -> str:
    """The confusion matrix in percent of the true class."""
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in scores.classes)
    rows = []
    for row, (truth, counts) in enumerate(zip(scores.classes, scores.confusion.tolist(), strict=True)):
        support = sum(counts)
        cells = []
        for column, (read, count) in enumerate(zip(scores.classes, counts, strict=True)):
            share = 100 * count / support if support else 0.0
            kind = ("right" if row == column else "wrong") + (" strong" if share > 55 else "")
            title = f"{count:,} of {support:,} {truth} read as {read}"
            shown = "" if not count else "&lt;1" if share < 1 else f"{share:.0f}"
            cells.append(f'<td class="{kind}" style="--heat:{share:.1f}" title="{escape(title)}">{shown}</td>')
        rows.append(f'<tr><th scope="row">{named(truth)}</th>{"".join(cells)}<td class="count">{support:,}</td></tr>')
    return (
        f'<table class="confusion"><thead><tr><th></th>{head}<th class="count">faces</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
