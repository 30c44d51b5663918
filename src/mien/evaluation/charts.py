"""The page's curves as SVG, and its bars: drawn with the colours of the page's style sheet, dark or light."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from mien.evaluation.calibration import CalibrationBins, perfect_accuracies, risk_coverage, risk_range
from mien.evaluation.evaluate import Reading
from mien.evaluation.intervals import Estimate

__all__ = ["bar", "reliability", "risk"]

# Of every chart: its size, and the part of it that is ruled.
WIDTH: Final = 460
HEIGHT: Final = 340
LEFT: Final = 62
TOP: Final = 10
RIGHT: Final = 448
BOTTOM: Final = 294


def bar(estimate: Estimate) -> str:
    """A bar as long as the score (0-1), its interval drawn over its end; nothing where it is undefined."""
    if np.isnan(estimate.value):
        return '<span class="bar"></span>'
    value, low, high = (100 * number for number in (estimate.value, estimate.low, estimate.high))
    style = f"--value:{value:.2f};--low:{low:.2f};--high:{high:.2f}"
    return f'<span class="bar" style="{style}"><i></i><b></b></span>'


def reliability(reading: Reading, bins: CalibrationBins) -> str:
    """Accuracy over confidence, bin by bin, on the range that chance gives a perfectly calibrated model."""
    low, high = perfect_accuracies(reading.confidence)
    band = _points([*zip(bins.confidence, high, strict=True), *zip(bins.confidence[::-1], low[::-1], strict=True)])
    marks = [f'<polygon class="band" points="{band}"/>', _line([(0, 0), (1, 1)], "ideal")]
    marks.append(_line(zip(bins.confidence, bins.accuracy, strict=True), "curve"))
    for start, end, x, y, count in zip(bins.low, bins.high, bins.confidence, bins.accuracy, bins.count, strict=True):
        across, down = _at(x, y)
        title = f"{count:,} faces, confidence {start:.0%} to {end:.0%}: mean {x:.1%}, right {y:.1%}"
        marks.append(f'<circle cx="{across}" cy="{down}" r="4.5"><title>{title}</title></circle>')
    return _chart("Accuracy over confidence", "confidence", "accuracy", marks)


def risk(reading: Reading) -> str:
    """The share of wrong answers over the share of faces that are answered, the surest first."""
    found = risk_coverage(reading.confidence, reading.correct)
    coverage = np.linspace(0.02, 1, 50)
    low, high = risk_range(reading.confidence, reading.correct, coverage)
    top = min(1.0, max(0.1, np.ceil(10 * high.max()) / 10))
    shown = found.coverage >= coverage[0]  # of the first few faces the share only flickers
    keep = np.unique(np.linspace(0, shown.sum() - 1, 200).astype(int))
    x, y = found.coverage[shown][keep], found.risk[shown][keep]
    band = _points([*zip(coverage, high / top, strict=True), *zip(coverage[::-1], low[::-1] / top, strict=True)])
    marks = [f'<polygon class="band" points="{band}"/>', _line(zip(x, y / top, strict=True), "curve")]
    certain = float((reading.confidence >= reading.threshold).mean())
    if 0 < certain < 1:
        marks += _threshold(certain, float((~reading.correct)[reading.confidence >= reading.threshold].mean()), top)
    return _chart("Wrong answers over coverage", "coverage: share of faces answered", "wrong", marks, top)


def _threshold(coverage: float, wrong: float, top: float) -> list[str]:
    """Where the model's own threshold of `uncertain` lies."""
    across, down = _at(coverage, wrong / top)
    text = f"certain: {coverage:.0%} of faces, {wrong:.1%} wrong"
    return [
        _line([(coverage, 0), (coverage, 1)], "ideal"),
        f'<circle cx="{across}" cy="{down}" r="4.5"><title>{text}</title></circle>',
        f'<text x="{across - 8:.1f}" y="{TOP + 14}" text-anchor="end">{text}</text>',
    ]


def _chart(title: str, across: str, up: str, marks: Sequence[str], top: float = 1.0) -> str:
    """A ruled chart of the unit square, whose height stands for `top`, with its marks."""
    rules = []
    for step in np.linspace(0, 1, 6):
        x, y = _at(step, step)
        rules.append(f'<path class="rule" d="M{LEFT} {y}H{RIGHT}"/>')
        rules.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{step * top:.0%}</text>')
        rules.append(f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{step:.0%}</text>')
    middle, height = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        + "".join([*rules, *marks])
        + f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{across}</text>'
        + f'<text class="axis" transform="translate(14 {height}) rotate(-90)" text-anchor="middle">{up}</text></svg>'
    )


def _at(x: float, y: float) -> tuple[float, float]:
    """Where a point of the unit square lies in a chart."""
    return round(LEFT + float(x) * (RIGHT - LEFT), 1), round(BOTTOM - float(y) * (BOTTOM - TOP), 1)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in (_at(*point) for point in points))


def _line(points: Iterable[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{_points(points)}"/>'
