"""A comparison as one HTML page, in the style of an evaluation's."""

from dataclasses import dataclass

import numpy as np

from mien.datasets import Samples
from mien.evaluation.compare import Comparison, Row
from mien.evaluation.intervals import McNemar
from mien.evaluation.report.charts import Chart, reliability, tradeoff
from mien.evaluation.report.page import augmentation, render
from mien.evaluation.score import ClassRow, Scores

__all__ = ["comparison_page"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model under one protocol.

    Attributes:
        number: Its place among the models, from 1.
        row: Of the comparison.
        scores: Under the protocol.
        test: Against the first model; None for the first.
        by_class: Its scores for each class, and whether its F1 is the highest of all models.
        reliability: Its reliability diagram.
    """

    number: int
    row: Row
    scores: Scores
    test: McNemar | None
    by_class: list[tuple[ClassRow, bool]]
    reliability: Chart


def comparison_page(comparison: Comparison, samples: Samples, *, data: str = "") -> str:
    """The page of a comparison.

    Args:
        comparison: The result of `compare`.
        samples: What the models were compared on.
        data: Name of the samples, for the heading.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    good = comparison.good
    known = {
        "data": data or str(samples.about.get("data_set", "")),
        "split": f"{comparison.split}, {len(samples):,} faces",
        "test-time augmentation": augmentation(comparison.tta),
    }
    if any(row.members for row in comparison.rows):
        known["ensembles"] = f"{comparison.vote} vote"
    return render(
        "comparison.html",
        heading=f"{len(good)} {'model' if len(good) == 1 else 'models'}",
        data=data,
        known=known,
        failed=comparison.failed,
        first=good[0].name,
        tabs=list(comparison.protocols.values()),
        sections=[_section(comparison, name) for name in comparison.protocols],
    )


def _section(comparison: Comparison, protocol: str) -> dict[str, object]:
    """What the template shows of one protocol."""
    rows = [
        (number, row, row.evaluation)
        for number, row in enumerate(comparison.good, start=1)
        if row.evaluation and protocol in row.evaluation.scores
    ]
    f1 = np.array([[each.f1.value for each in found.scores[protocol].rows] for _, _, found in rows])  # (models, C)
    known = np.where(np.isnan(f1), -1.0, f1)
    best = (known == known.max(axis=0)) & (known >= 0) & (len(rows) > 1)
    models = [
        Model(
            number,
            row,
            scores := found.scores[protocol],
            row.against.get(protocol),
            list(zip(scores.rows, best[place].tolist(), strict=True)),
            reliability(found.predictions[protocol], scores.bins),
        )
        for place, (number, row, found) in enumerate(rows)
    ]
    evaluated = {number for number, _, _ in rows}
    times = [
        (each.number, each.row.name, each.scores.accuracy, each.row.cost.milliseconds)
        for each in models
        if each.row.cost
    ]
    return {
        "title": comparison.protocols[protocol],
        "models": models,
        "absent": [row.name for number, row in enumerate(comparison.good, start=1) if number not in evaluated],
        "tradeoff": tradeoff(times),
    }
