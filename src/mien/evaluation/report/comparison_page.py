"""A comparison as one HTML page that needs nothing else, of the same make as that of an evaluation."""

from html import escape

import numpy as np

from mien.datasets import Samples
from mien.evaluation.compare import Comparison, Row
from mien.evaluation.cost import Cost
from mien.evaluation.intervals import McNemar
from mien.evaluation.report.charts import reliability, tradeoff
from mien.evaluation.report.parts import card, confusion, document, facts, footer, named, scored, table, tabs, valued
from mien.evaluation.score import Scores

__all__ = ["comparison_page"]

_ABOUT = (
    "<p>Against the first: the faces that this model alone and that the first alone reads rightly, and p, how often "
    "models that are equally right would differ so much by chance (McNemar's test, exact, two-sided; not corrected for "
    "the number of models, so of twenty comparisons one falls below 0.05 by chance). Overlapping intervals do not say "
    "that two models are alike: they read the same faces, which the test takes into account.</p>"
    "<p>Parameters and multiply-adds are counted in the exported, fused file; those of an ensemble are the sum of its "
    "members'.</p>"
)


def comparison_page(comparison: Comparison, samples: Samples, *, data: str = "") -> str:
    """The page.

    Args:
        comparison: What `compare` found.
        samples: What it was found on.
        data: What the samples are called, for print.
    """
    good = comparison.good
    sections = "".join(_section(comparison, name) for name in comparison.protocols)
    title = f"{len(good)} models on {data}" if data else f"{len(good)} models"
    known = {
        "data": data or str(samples.about.get("data_set", "")),
        "split": f"{comparison.split}, {len(samples):,} faces",
        "tta": "each face once" if comparison.tta == "none" else f"{comparison.tta} tta, averaged",
    }
    if any(row.members for row in comparison.rows):
        known["ensembles"] = f"{comparison.vote} vote"
    heading = facts(f"<em>{len(good)} {'model' if len(good) == 1 else 'models'}</em> on the same faces", known)
    failed = _failed(comparison)
    return document(title, heading + failed, tabs(list(comparison.protocols.values())) + sections, footer(_ABOUT))


def _failed(comparison: Comparison) -> str:
    """What could not be judged, above all tabs."""
    if not comparison.failed:
        return ""
    rows = [[escape(row.name), escape(str(row.error))] for row in comparison.failed]
    told = card("Left out", "these could not be judged", table(["model", "why"], rows, "failed"))
    return f'<header class="aside">{told}</header>'


def _section(comparison: Comparison, protocol: str) -> str:
    judged = [
        (number, row, row.evaluation.scores[protocol])
        for number, row in enumerate(comparison.good, start=1)
        if row.evaluation and protocol in row.evaluation.scores
    ]
    some = judged[0][2]
    left_out = f", {some.dropped:,} left out by the protocol" if some.dropped else ""
    absent = [row.name for row in comparison.good if row.name not in {row.name for _, row, _ in judged}]
    note = f"; without classes for it: {', '.join(map(escape, absent))}" if absent else ""
    line = escape(comparison.protocols[protocol])
    points = [(row.name, found.accuracy, row.cost.milliseconds) for _, row, found in judged if row.cost]
    parts = [
        f'<p class="line"><strong>{line}</strong> · {some.n:,} faces{left_out}{note}</p>',
        card("Scores", "", _scores(comparison, protocol, judged)),
        card("Accuracy over time", "bars: 95% intervals", tradeoff(points), "half"),
        card("Cost", "MMAC: million multiply-adds for a face; ms: median and quartiles", _costs(judged), "half"),
        card("F1 of each class", "%; the best of each class in colour", _by_class(judged)),
    ]
    for number, row, found in judged:
        title = f"{number} {escape(row.name)}"
        parts.append(
            card(f"{title}: confusion", "row: truth, column: read as; % of the true class", confusion(found), "half")
        )
        predicted = comparison.predictions(row, protocol)
        if predicted:
            parts.append(
                card(
                    f"{title}: calibration",
                    "dots: bins of equal mass; band: where 95% of a perfectly calibrated model's bins would lie",
                    reliability(predicted, found.bins),
                    "half",
                )
            )
    return f"<section>{''.join(parts)}</section>"


Judged = list[tuple[int, Row, Scores]]


def _name(number: int, row: Row) -> str:
    """A row's number and name, and its members below."""
    members = f"<small>{len(row.members)} members</small>" if row.members else ""
    return f'<span class="model" data-number="{number}"><span>{escape(row.name)}{members}</span></span>'


def _scores(comparison: Comparison, protocol: str, judged: Judged) -> str:
    first = comparison.good[0]
    return table(
        ["model", "accuracy", "macro F1", "calibration error", f"against {escape(first.name)}"],
        (
            [
                _name(number, row),
                scored(found.accuracy),
                scored(found.macro_f1),
                scored(found.calibration_error),
                _against(row.against.get(protocol)),
            ]
            for number, row, found in judged
        ),
        "models",
    )


def _against(found: McNemar | None) -> str:
    if found is None:
        return "–"
    p = "p &lt; 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    kind = ' class="clear"' if found.p < 0.05 else ""
    return (
        f'<span class="score plain"><span{kind}>{p}</span>'
        f"<small>+{found.second_only:,} −{found.first_only:,} faces</small></span>"
    )


def _costs(judged: Judged) -> str:
    rows = [[_name(number, row), *_cost(row.cost)] for number, row, _ in judged if row.cost]
    return table(["model", "parameters", "MMAC", "ms a face"], rows, "cost")


def _cost(cost: Cost) -> list[str]:
    counts = [
        "–" if cost.parameters is None else f"{cost.parameters:,}",
        "–" if cost.operations is None else f"{cost.operations / 1e6:,.1f}",
    ]
    return [*counts, f"{cost.milliseconds:.2f}<br><small>{cost.low:.2f} to {cost.high:.2f}</small>"]


def _by_class(judged: Judged) -> str:
    """Models in rows, classes in columns."""
    classes = judged[0][2].classes
    values = np.array([[row.f1.value for row in found.rows] for _, _, found in judged])  # (models, C)
    known = np.where(np.isnan(values), -1.0, values)
    best = (known == known.max(axis=0)) & (known >= 0) & (len(judged) > 1)
    rows = []
    for place, (number, row, found) in enumerate(judged):
        cells = [
            f"<span{' class=' + chr(34) + 'best' + chr(34) if best[place, column] else ''} "
            f'title="{each.f1}">{valued(each.f1, ".1%").removesuffix("%")}</span>'
            for column, each in enumerate(found.rows)
        ]
        rows.append([_name(number, row), *cells])
    return table(["model", *map(named, classes)], rows, "byclass")
