"""The page's curves as SVG, and its bars: drawn with the colours of the page's style sheet, dark or light."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np

from mien.evaluation.calibration import CalibrationBins, perfect_accuracies, risk_coverage, risk_range
from mien.evaluation.intervals import Estimate
from mien.evaluation.predict import Predictions

__all__ = ["bar", "reliability", "risk", "tradeoff"]

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


def reliability(predicted: Predictions, bins: CalibrationBins) -> str:
    """Accuracy over confidence, bin by bin, on the range that chance gives a perfectly calibrated model."""
    low, high = perfect_accuracies(predicted.confidence)
    band = _points([*zip(bins.confidence, high, strict=True), *zip(bins.confidence[::-1], low[::-1], strict=True)])
    marks = [f'<polygon class="band" points="{band}"/>', _line([(0, 0), (1, 1)], "ideal")]
    marks.append(_line(zip(bins.confidence, bins.accuracy, strict=True), "curve"))
    for start, end, x, y, count in zip(bins.low, bins.high, bins.confidence, bins.accuracy, bins.count, strict=True):
        across, down = _at(x, y)
        title = f"{count:,} faces, confidence {start:.0%} to {end:.0%}: mean {x:.1%}, right {y:.1%}"
        marks.append(f'<circle cx="{across}" cy="{down}" r="4.5"><title>{title}</title></circle>')
    return _chart("Accuracy over confidence", "confidence", "accuracy", marks)


def risk(predicted: Predictions) -> str:
    """The share of wrong answers over the share of faces that are answered, the nms first."""
    found = risk_coverage(predicted.confidence, predicted.correct)
    coverage = np.linspace(0.02, 1, 50)
    low, high = risk_range(predicted.confidence, predicted.correct, coverage)
    top = min(1.0, max(0.1, np.ceil(10 * high.max()) / 10))
    shown = found.coverage >= coverage[0]  # of the first few faces the share only flickers
    keep = np.unique(np.linspace(0, shown.sum() - 1, 200).astype(int))
    x, y = found.coverage[shown][keep], found.risk[shown][keep]
    band = _points([*zip(coverage, high / top, strict=True), *zip(coverage[::-1], low[::-1] / top, strict=True)])
    marks = [f'<polygon class="band" points="{band}"/>', _line(zip(x, y / top, strict=True), "curve")]
    certain = float((predicted.confidence >= predicted.threshold).mean())
    if 0 < certain < 1:
        marks += _threshold(
            certain, float((~predicted.correct)[predicted.confidence >= predicted.threshold].mean()), top
        )
    return _chart("Wrong answers over coverage", "coverage: share of faces answered", "wrong", marks, (0.0, top))


def _threshold(coverage: float, wrong: float, top: float) -> list[str]:
    """Where the model's own threshold of `uncertain` lies."""
    across, down = _at(coverage, wrong / top)
    text = f"certain: {coverage:.0%} of faces, {wrong:.1%} wrong"
    return [
        _line([(coverage, 0), (coverage, 1)], "ideal"),
        f'<circle cx="{across}" cy="{down}" r="4.5"><title>{text}</title></circle>',
        f'<text x="{across - 8:.1f}" y="{TOP + 14}" text-anchor="end">{text}</text>',
    ]


def tradeoff(points: Sequence[tuple[str, Estimate, float]]) -> str:
    """Accuracy with its interval over the milliseconds for a face, a numbered dot for each name in its order."""
    low, high = _shown(min(estimate.low for _, estimate, _ in points), max(estimate.high for _, estimate, _ in points))
    longest = _round_up(max(time for _, _, time in points))
    marks = []
    for number, (name, estimate, time) in enumerate(points, start=1):
        ends = [(end - low) / (high - low) for end in (estimate.low, estimate.value, estimate.high)]
        across, down = _at(time / longest, ends[1])
        title = f"{name}: {estimate}, {time:.2f} ms a face"
        marks.append(_line([(time / longest, ends[0]), (time / longest, ends[2])], "whisker"))
        marks.append(f'<circle cx="{across}" cy="{down}" r="9"><title>{escape(title)}</title></circle>')
        marks.append(f'<text class="number" x="{across}" y="{down + 4}" text-anchor="middle">{number}</text>')
    return _chart("Accuracy over time", "ms a face, one thread", "accuracy", marks, (low, high), longest)


def _shown(least: float, most: float) -> tuple[float, float]:
    """The smallest range of five round steps, inside of 0 to 1, that holds both."""
    for step in (0.01, 0.02, 0.05, 0.1):
        low = min(np.floor(least / step) * step, 1 - 5 * step)
        if low + 5 * step >= most:
            return float(low), float(low + 5 * step)
    return 0.0, 1.0


def _round_up(value: float) -> float:
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten, 4% above at the least."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10, 20) if step * power >= 1.04 * value))


def _chart(
    title: str,
    across: str,
    up: str,
    marks: Sequence[str],
    range_: tuple[float, float] = (0.0, 1.0),
    longest: float | None = None,
) -> str:
    """A ruled chart of the unit square with its marks; it is a range high, and 100% or `longest` wide."""
    low, high = range_
    rules = []
    for step in np.linspace(0, 1, 6):
        x, y = _at(step, step)
        rules.append(f'<path class="rule" d="M{LEFT} {y}H{RIGHT}"/>')
        rules.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{low + step * (high - low):.0%}</text>')
        below = f"{step:.0%}" if longest is None else f"{step * longest:.3g}"
        rules.append(f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{below}</text>')
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
