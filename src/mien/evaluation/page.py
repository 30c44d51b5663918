"""An evaluation as one HTML page that needs nothing else: no script, no address, its pictures inside.

The page forbids itself to load anything (its Content-Security-Policy); tabs are radio buttons. It is read in light and
dark, and prints with every protocol on pages of its own.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import __version__, emotions
from mien.datasets import Samples
from mien.evaluation.calibration import BINS
from mien.evaluation.charts import bar, reliability, risk
from mien.evaluation.evaluate import Evaluation, Reading
from mien.evaluation.intervals import Estimate
from mien.evaluation.judge import Judgement
from mien.evaluation.slices import Cut, Slice, cuts
from mien.output.palette import colour_of

__all__ = ["MISTAKES", "page"]

# The worst mistakes that are shown.
MISTAKES: Final = 24

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(evaluation: Evaluation, samples: Samples, *, data: str = "") -> str:
    """The page.

    Args:
        evaluation: What `evaluate_model` found.
        samples: What it was found on; their pictures are shown.
        data: What the samples are called, for print.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = f"{evaluation.model} on {data}" if data else evaluation.model
    names = list(evaluation.judgements)
    tabs = "".join(
        f'<input type="radio" name="protocol" id="tab-{number}"{" checked" if not number else ""}>'
        f'<label for="tab-{number}">{escape(evaluation.readings[name].title)}</label>'
        for number, name in enumerate(names)
    )
    sections = "".join(_section(evaluation.judgements[name], evaluation.readings[name], samples) for name in names)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>"
        f"{_header(evaluation, samples, data)}<main>{tabs}{sections}</main>{_footer()}</body></html>\n"
    )


def _header(evaluation: Evaluation, samples: Samples, data: str) -> str:
    looked = "each face once" if evaluation.views == "single" else f"{evaluation.views} views, averaged"
    facts = {
        "model": evaluation.model,
        "data": " ".join(filter(None, [data, f"({samples.about['data_set']})" if "data_set" in samples.about else ""])),
        "split": f"{evaluation.split}, {len(samples):,} faces",
        "views": looked,
        "detector": f"{evaluation.detector}, faces on a canvas" if evaluation.detector else "none: faces as they are",
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f"<header><h1>How well <em>{escape(evaluation.model)}</em> reads faces</h1><dl>{listed}</dl></header>"


def _footer() -> str:
    return (
        "<footer><p>Ranges in small print and whiskers are 95% bootstrap intervals. Calibration: top label, "
        f"{BINS} bins of equal mass; by chance alone a perfectly calibrated model shows an error above zero, so the "
        "excess is what counts. Macro F1 covers the classes that the truth holds.</p>"
        "<p>Labels are what a few strangers saw in small pictures: expressions, not feelings. "
        f"Made by mien {escape(__version__)}.</p></footer>"
    )


def _section(judgement: Judgement, reading: Reading, samples: Samples) -> str:
    chosen = samples.take(reading.rows)
    left_out = f", {judgement.dropped:,} left out by the protocol" if judgement.dropped else ""
    parts = [
        f'<p class="line"><strong>{escape(judgement.protocol)}</strong> · {judgement.n:,} faces{left_out}</p>',
        _scores(judgement),
        _card("Confusion", "row: truth, column: read as; % of the true class", _confusion(judgement), "half"),
        _card("Classes", "", _classes(judgement), "half"),
        _card(
            "Calibration",
            "dots: bins of equal mass; band: where 95% of a perfectly calibrated model's bins would lie",
            reliability(reading, judgement.bins),
            "half",
        ),
        _card(
            "Abstaining",
            "wrong answers if only the surest are given; band: 95% interval; dashed: the model's own threshold",
            risk(reading),
            "half",
        ),
        _card("Slices", "faces cut into about equal parts", _slices(cuts(chosen, reading.confidence, reading.correct))),
        _mistakes(reading, chosen),
    ]
    return f"<section>{''.join(parts)}</section>"


def _card(title: str, note: str, content: str, kind: str = "") -> str:
    said = f"<p>{note}</p>" if note else ""
    return f'<article class="{kind}"><h2>{title}</h2>{said}{content}</article>'


def _scores(judgement: Judgement) -> str:
    scores: list[tuple[str, Estimate | None, str, str]] = [
        ("faces found", judgement.found, ".1%", "the others are left out"),
        ("accuracy", judgement.accuracy, ".1%", ""),
        ("macro F1", judgement.macro_f1, ".1%", ""),
        ("calibration error above chance", judgement.excess_error, ".1%", ""),
        ("negative log-likelihood", judgement.nll, ".3f", "nats"),
        ("cross-entropy to the votes", judgement.cross_entropy, ".3f", "nats"),
        ("Jensen-Shannon to the votes", judgement.jensen_shannon, ".3f", "nats"),
    ]
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{_value(estimate, spec)}</dd>"
        f"<small>{_range(estimate, spec)}{note and ', '}{note}</small></div>"
        for name, estimate, spec, note in scores
        if estimate
    )
    return f'<dl class="scores">{tiles}</dl>'


def _value(estimate: Estimate, spec: str) -> str:
    return "–" if np.isnan(estimate.value) else format(estimate.value, spec)


def _range(estimate: Estimate, spec: str = ".1%") -> str:
    if np.isnan(estimate.value):
        return ""
    low, high = format(estimate.low, spec).removesuffix("%"), format(estimate.high, spec)
    return f"{low} to {high}"


def _confusion(judgement: Judgement) -> str:
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in judgement.classes)
    rows = []
    for row, (truth, counts) in enumerate(zip(judgement.classes, judgement.confusion.tolist(), strict=True)):
        support = sum(counts)
        cells = []
        for column, (read, count) in enumerate(zip(judgement.classes, counts, strict=True)):
            share = 100 * count / support if support else 0.0
            kind = ("right" if row == column else "wrong") + (" strong" if share > 55 else "")
            title = f"{count:,} of {support:,} {truth} read as {read}"
            shown = "" if not count else "&lt;1" if share < 1 else f"{share:.0f}"
            cells.append(f'<td class="{kind}" style="--heat:{share:.1f}" title="{escape(title)}">{shown}</td>')
        rows.append(f'<tr><th scope="row">{_named(truth)}</th>{"".join(cells)}<td class="count">{support:,}</td></tr>')
    return (
        f'<table class="confusion"><thead><tr><th></th>{head}<th class="count">faces</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _classes(judgement: Judgement) -> str:
    return _table(
        ["class", "recall", "precision", "F1"],
        (
            [_named(row.name), *(_scored(score) for score in (row.recall, row.precision, row.f1))]
            for row in judgement.rows
        ),
        "classes",
    )


def _slices(found: Sequence[Cut]) -> str:
    specs = [".2f" if part.slices[-1].high < 10 else ",.0f" for part in found]
    tables = "".join(
        f"<div><h3>{part.name}</h3><p>{escape(part.meaning)}</p>"
        + _table(
            ["range", "faces", "accuracy", "overconfident by"],
            (
                [
                    _ends(one, spec),
                    f"{one.faces:,}",
                    _scored(one.accuracy),
                    _signed(one.overconfidence),
                ]
                for one in part.slices
            ),
            "slices",
        )
        + "</div>"
        for part, spec in zip(found, specs, strict=True)
    )
    return f'<div class="cuts">{tables}</div>'


def _mistakes(reading: Reading, chosen: Samples) -> str:
    wrong = np.flatnonzero(~reading.correct)
    if not len(wrong):
        return ""
    worst = wrong[np.argsort(-reading.confidence[wrong], kind="stable")][:MISTAKES]
    figures = "".join(_mistake(reading, chosen, row) for row in worst.tolist())
    voted = "" if chosen.votes is None else "; below each what its annotators chose"
    note = f"the {len(worst)} surest of {len(wrong):,} wrong answers: truth, what was read, how surely{voted}"
    return _card("Worst mistakes", note, f'<div class="mistakes">{figures}</div>')


def _mistake(reading: Reading, chosen: Samples, row: int) -> str:
    read = reading.classes[int(reading.probabilities[row].argmax())]
    truth = reading.classes[int(reading.labels[row])]
    votes = ""
    if chosen.votes is not None:
        counts = sorted(zip(chosen.votes[row].tolist(), emotions.ALL, strict=True), key=lambda pair: -pair[0])
        votes = ", ".join(f"{count} {name.replace('_', ' ')}" for count, name in counts if count)
    return (
        f'<figure><img src="{_picture(chosen.images[row])}" alt="face {escape(str(chosen.names[row]))}" '
        f'title="{escape(str(chosen.names[row]))}">'
        f'<figcaption>{_named(truth)}<span title="read as {escape(read)}">→ {_named(read)} '
        f"{reading.confidence[row]:.0%}</span>"
        f"<small>{escape(votes)}</small></figcaption></figure>"
    )


def _picture(image: NDArray[np.uint8]) -> str:
    """A picture as a data address."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _named(name: str) -> str:
    """A class with its colour before it."""
    red, green, blue = colour_of(name)
    return f'<span class="name" style="--hue:rgb({red} {green} {blue})">{escape(name.replace("_", " "))}</span>'


def _scored(estimate: Estimate) -> str:
    return f'{bar(estimate)}<span class="score">{_value(estimate, ".1%")}<small>{_range(estimate)}</small></span>'


def _signed(estimate: Estimate) -> str:
    value, low, high = (f"{100 * number:+.1f}" for number in (estimate.value, estimate.low, estimate.high))
    return f'<span class="score plain">{value}%<small>{low} to {high}</small></span>'


def _ends(one: Slice, spec: str) -> str:
    """The values between which a slice lies."""
    low, high = format(one.low, spec), format(one.high, spec)
    return low if low == high else f"{low} – {high}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    heading = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>'
