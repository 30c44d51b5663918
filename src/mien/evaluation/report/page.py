"""An evaluation as one HTML page that needs nothing else: no script, no address, its images inside.

The page forbids itself to load anything (its Content-Security-Policy); tabs are radio buttons. It is read in light and
dark, and prints with every protocol on pages of its own.
"""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import emotions
from mien.datasets import Samples
from mien.evaluation.intervals import Estimate
from mien.evaluation.predict import Evaluation, Predictions
from mien.evaluation.report.charts import reliability, risk
from mien.evaluation.report.parts import (
    card,
    class_scores,
    confusion,
    document,
    facts,
    footer,
    named,
    ranged,
    scored,
    table,
    tabs,
    valued,
)
from mien.evaluation.report.text import points
from mien.evaluation.robustness import AccuracyDrop, corrupted
from mien.evaluation.score import COVERAGE, Scores
from mien.evaluation.slices import Slice, Slices, all_slices

__all__ = ["MISTAKES", "page"]

# The worst mistakes that are shown.
MISTAKES: Final = 24


def page(evaluation: Evaluation, samples: Samples, *, data: str = "") -> str:
    """The page.

    Args:
        evaluation: What `evaluate_model` found.
        samples: What it was found on; their images are shown.
        data: What the samples are called, for print.
    """
    names = list(evaluation.scores)
    sections = "".join(
        _section(
            evaluation.scores[name], evaluation.predictions[name], samples, evaluation.accuracy_drops.get(name, ())
        )
        for name in names
    )
    return document(
        f"{evaluation.model} on {data}" if data else evaluation.model,
        _header(evaluation, samples, data),
        tabs([evaluation.predictions[name].title for name in names]) + sections,
        footer(),
    )


def _header(evaluation: Evaluation, samples: Samples, data: str) -> str:
    logits = "each face once" if evaluation.tta == "none" else f"{evaluation.tta} tta, averaged"
    known = {
        "model": evaluation.model,
        "data": " ".join(filter(None, [data, f"({samples.about['data_set']})" if "data_set" in samples.about else ""])),
        "split": f"{evaluation.split}, {len(samples):,} faces",
        "tta": logits,
        "detector": f"{evaluation.detector}, faces on a canvas" if evaluation.detector else "none: faces as they are",
    }
    return facts(f"How well <em>{escape(evaluation.model)}</em> reads faces", known)


def _section(scores: Scores, predicted: Predictions, samples: Samples, losses: Sequence[AccuracyDrop]) -> str:
    chosen = samples.subset(predicted.rows)
    left_out = f", {scores.dropped:,} left out by the protocol" if scores.dropped else ""
    parts = [
        f'<p class="line"><strong>{escape(scores.protocol)}</strong> · {scores.n:,} faces{left_out}</p>',
        _scores(scores),
        card("Confusion", "row: truth, column: read as; % of the true class", confusion(scores), "half"),
        card("Classes", "", class_scores(scores), "half"),
        card(
            "Calibration",
            "dots: bins of equal mass; band: where 95% of a perfectly calibrated model's bins would lie",
            reliability(predicted, scores.bins),
            "half",
        ),
        card(
            "Abstaining",
            "wrong answers if only the nms are given; band: 95% interval; dashed: the model's own threshold",
            risk(predicted),
            "half",
        ),
        card(
            "Slices",
            "faces cut into about equal parts",
            _slices(all_slices(chosen, predicted.confidence, predicted.correct)),
        ),
        _losses(losses, chosen),
        _mistakes(predicted, chosen),
    ]
    return f"<section>{''.join(parts)}</section>"


def _scores(scores: Scores) -> str:
    rows: list[tuple[str, Estimate | None, str, str]] = [
        ("faces found", scores.found, ".1%", "the others are left out"),
        ("accuracy", scores.accuracy, ".1%", ""),
        ("macro F1", scores.macro_f1, ".1%", ""),
        (f"accuracy of the nms {COVERAGE:.0%}", scores.selective, ".1%", ""),
        ("calibration error above chance", scores.excess_error, ".1%", ""),
        ("negative log-likelihood", scores.nll, ".3f", "nats"),
        ("cross-entropy to the votes", scores.cross_entropy, ".3f", "nats"),
        ("Jensen-Shannon to the votes", scores.jensen_shannon, ".3f", "nats"),
        ("between halves of the votes", scores.human, ".3f", "nats, people among themselves"),
    ]
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{valued(estimate, spec)}</dd>"
        f"<small>{ranged(estimate, spec)}{note and ', '}{note}</small></div>"
        for name, estimate, spec, note in rows
        if estimate
    )
    return f'<dl class="scores">{tiles}</dl>'


def _slices(found: Sequence[Slices]) -> str:
    specs = [".2f" if part.slices[-1].high < 10 else ",.0f" for part in found]
    tables = "".join(
        f"<div><h3>{part.name}</h3><p>{escape(part.meaning)}</p>"
        + table(
            ["range", "faces", "accuracy", "overconfident by"],
            (
                [
                    _ends(one, spec),
                    f"{one.faces:,}",
                    scored(one.accuracy),
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


def _losses(losses: Sequence[AccuracyDrop], chosen: Samples) -> str:
    """What spoilt faces cost, each way shown on the first face; nothing where none was asked for."""
    if not losses:
        return ""
    rows = (
        [
            f'<img src="{_image(corrupted(chosen.images[:1], loss.corruption)[0])}" alt="">',
            escape(loss.corruption),
            escape(loss.meaning),
            scored(loss.accuracy),
            points(loss.fall),
        ]
        for loss in losses
    )
    shown = table(["", "spoilt by", "faces are", "accuracy", "lost, points"], rows, "losses")
    return card("Robustness", "the same faces spoilt; the loss is compared face by face", shown)


def _mistakes(predicted: Predictions, chosen: Samples) -> str:
    wrong = np.flatnonzero(~predicted.correct)
    if not len(wrong):
        return ""
    worst = wrong[np.argsort(-predicted.confidence[wrong], kind="stable")][:MISTAKES]
    figures = "".join(_mistake(predicted, chosen, row) for row in worst.tolist())
    voted = "" if chosen.votes is None else "; below each what its annotators chose"
    note = f"the {len(worst)} nms of {len(wrong):,} wrong answers: truth, what was read, how surely{voted}"
    return card("Worst mistakes", note, f'<div class="mistakes">{figures}</div>')


def _mistake(predicted: Predictions, chosen: Samples, row: int) -> str:
    read = predicted.classes[int(predicted.probabilities[row].argmax())]
    truth = predicted.classes[int(predicted.labels[row])]
    votes = ""
    if chosen.votes is not None:
        counts = sorted(zip(chosen.votes[row].tolist(), emotions.ALL, strict=True), key=lambda pair: -pair[0])
        votes = ", ".join(f"{count} {name.replace('_', ' ')}" for count, name in counts if count)
    return (
        f'<figure><img src="{_image(chosen.images[row])}" alt="face {escape(str(chosen.names[row]))}" '
        f'title="{escape(str(chosen.names[row]))}">'
        f'<figcaption>{named(truth)}<span title="read as {escape(read)}">→ {named(read)} '
        f"{predicted.confidence[row]:.0%}</span>"
        f"<small>{escape(votes)}</small></figcaption></figure>"
    )


def _image(image: NDArray[np.uint8]) -> str:
    """A image as a data address."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _signed(estimate: Estimate) -> str:
    value, low, high = (f"{100 * number:+.1f}" for number in (estimate.value, estimate.low, estimate.high))
    return f'<span class="score plain">{value}%<small>{low} to {high}</small></span>'


def _ends(one: Slice, spec: str) -> str:
    """The values between which a slice lies."""
    low, high = format(one.low, spec), format(one.high, spec)
    return low if low == high else f"{low} – {high}"
