"""A comparison as one HTML page, in the style of an evaluation's."""

import numpy as np

from mien.datasets import Samples
from mien.evaluation.compare import Comparison, Row
from mien.evaluation.report.charts import reliability, tradeoff
from mien.evaluation.report.comparison_files import points
from mien.evaluation.report.page import augmentation, render
from mien.evaluation.score import Scores


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
        "prior": comparison.prior,
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


def _is_clear(row: Row, protocol: str, scores: Scores) -> bool:
    """Whether a model differs from the first: by the test, or over persons by the interval of the difference."""
    if protocol not in row.against:
        return False
    gap = row.differences[protocol]
    return row.against[protocol].p < 0.05 if scores.unit == "faces" else not gap.low <= 0 <= gap.high


def _section(comparison: Comparison, protocol: str) -> dict[str, object]:
    """What the template shows of one protocol."""
    rows = [
        (number, row, row.evaluation, row.evaluation.scores[protocol])
        for number, row in enumerate(comparison.good, start=1)
        if row.evaluation and protocol in row.evaluation.scores
    ]
    f1 = np.array([[each.f1.value for each in scores.rows] for *_, scores in rows])  # (models, C)
    known = np.where(np.isnan(f1), -1.0, f1)
    best = (known == known.max(axis=0)) & (known >= 0) & (len(rows) > 1)
    models = [
        {
            "number": number,
            "row": row,
            "scores": scores,
            "test": row.against.get(protocol),
            "difference": points(row.differences.get(protocol)),
            "clear": _is_clear(row, protocol, scores),
            "by_class": list(zip(scores.rows, highest, strict=True)),
            "reliability": reliability(evaluation.predictions[protocol], scores.bins),
        }
        for (number, row, evaluation, scores), highest in zip(rows, best.tolist(), strict=True)
    ]
    evaluated = {number for number, *_ in rows}
    return {
        "title": comparison.protocols[protocol],
        "models": models,
        "absent": [row.name for number, row in enumerate(comparison.good, start=1) if number not in evaluated],
        "tradeoff": tradeoff(
            [(number, row.name, scores.accuracy, row.cost.milliseconds) for number, row, _, scores in rows if row.cost]
        ),
    }
