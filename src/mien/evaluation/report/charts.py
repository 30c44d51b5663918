"""The curves of the reports, as coordinates that the templates draw as SVG."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.calibration import CalibrationBins, perfect_accuracies, risk_coverage, risk_range
from mien.evaluation.intervals import Estimate
from mien.evaluation.predict import Predictions


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot with a tooltip; a number is written inside, a note at the top of the chart."""

    x: float
    y: float
    title: str
    number: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of `WIDTH` by `HEIGHT`; its axes enclose the rectangle from `LEFT`, `TOP` to `RIGHT`, `BOTTOM`.

    Attributes:
        title: Description for screen readers.
        across: Label of the horizontal axis.
        up: Label of the vertical axis.
        ticks: x, y, the label at x and the label at y; lowest first.
        lines: The kind ("curve", "ideal" or "whisker") and the points, as in an SVG polyline; drawn in this order.
        dots: Drawn above the lines.
        band: Corners of an area, as in an SVG polygon.
    """

    WIDTH: ClassVar = 460
    HEIGHT: ClassVar = 340
    LEFT: ClassVar = 62
    TOP: ClassVar = 10
    RIGHT: ClassVar = 448
    BOTTOM: ClassVar = 294

    title: str
    across: str
    up: str
    ticks: Sequence[tuple[float, float, str, str]]
    lines: Sequence[tuple[str, str]]
    dots: Sequence[Dot]
    band: str = ""


def reliability(predicted: Predictions, bins: CalibrationBins) -> Chart:
    """Accuracy over confidence of each bin, with the range that a perfectly calibrated model shows by chance."""
    low, high = perfect_accuracies(predicted.confidence)
    rows = zip(bins.low, bins.high, bins.confidence, bins.accuracy, bins.count, strict=True)
    dots = [
        Dot(*_place(x, y), f"{count:,} faces, confidence {start:.0%} to {end:.0%}: mean {x:.1%}, accuracy {y:.1%}")
        for start, end, x, y, count in rows
    ]
    lines = [("ideal", _points([0, 1], [0, 1])), ("curve", _points(bins.confidence, bins.accuracy))]
    band = _band(bins.confidence, low, high)
    return Chart("Accuracy over confidence", "confidence", "accuracy", _ticks(), lines, dots, band)


def risk(predicted: Predictions) -> Chart:
    """The error rate over the fraction of faces that are classified, those with the highest confidence first."""
    found = risk_coverage(predicted.confidence, predicted.correct)
    coverage = np.linspace(0.02, 1, 50)
    low, high = risk_range(predicted.confidence, predicted.correct, coverage, predicted.how)
    top = min(1.0, max(0.1, np.ceil(10 * high.max()) / 10))
    shown = found.coverage >= coverage[0]  # below, a few faces decide
    keep = np.unique(np.linspace(0, shown.sum() - 1, 200).astype(int))
    lines = [("curve", _points(found.coverage[shown][keep], found.risk[shown][keep] / top))]
    dots = []
    certain = predicted.confidence >= predicted.threshold
    share = float(certain.mean())
    if 0 < share < 1:
        wrong = float((~predicted.correct)[certain].mean())
        note = f"certain: {share:.0%} of faces, {wrong:.1%} wrong"
        lines.append(("ideal", _points([share, share], [0, 1])))
        dots.append(Dot(*_place(share, wrong / top), note, note=note))
    across = "coverage: fraction of faces classified"
    band = _band(coverage, low / top, high / top)
    return Chart("Errors over coverage", across, "errors", _ticks((0.0, top)), lines, dots, band)


def tradeoff(models: Sequence[tuple[int, str, Estimate, float]]) -> Chart:
    """Accuracy over milliseconds per face, from the number, name, accuracy and time of each model."""
    low, high = _round_range(
        min(estimate.low for _, _, estimate, _ in models), max(estimate.high for _, _, estimate, _ in models)
    )
    longest = _round_up(max(time for *_, time in models))
    lines, dots = [], []
    for number, name, estimate, time in models:
        x = time / longest
        bottom, middle, top = ((end - low) / (high - low) for end in (estimate.low, estimate.value, estimate.high))
        lines.append(("whisker", _points([x, x], [bottom, top])))
        dots.append(Dot(*_place(x, middle), f"{name}: {estimate}, {time:.2f} ms per face", number))
    ticks = _ticks((low, high), longest)
    return Chart("Accuracy over time", "ms per face, one thread", "accuracy", ticks, lines, dots)


def _round_range(least: float, most: float) -> tuple[float, float]:
    """The smallest range of five round steps between 0 and 1 that holds both."""
    for step in (0.01, 0.02, 0.05, 0.1):
        low = min(np.floor(least / step) * step, 1 - 5 * step)
        if low + 5 * step >= most:
            return float(low), float(low + 5 * step)
    return 0.0, 1.0


def _round_up(value: float) -> float:
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten, at least 4% above."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10, 20) if step * power >= 1.04 * value))


def _ticks(up: tuple[float, float] = (0.0, 1.0), longest: float | None = None) -> list[tuple[float, float, str, str]]:
    """Six ticks: upwards over a range in percent, across to 100% or to `longest`."""
    labels = ((step, up[0] + step * (up[1] - up[0])) for step in np.linspace(0, 1, 6))
    return [
        (*_place(step, step), f"{step:.0%}" if longest is None else f"{step * longest:.3g}", f"{value:.0%}")
        for step, value in labels
    ]


def _place(x: float, y: float) -> tuple[float, float]:
    """Where a point of the unit square is drawn."""
    across = Chart.LEFT + float(x) * (Chart.RIGHT - Chart.LEFT)
    return round(across, 1), round(Chart.BOTTOM - float(y) * (Chart.BOTTOM - Chart.TOP), 1)


def _points(x: Iterable[float], y: Iterable[float]) -> str:
    """Points of the unit square, as in an SVG polyline."""
    return " ".join(f"{across},{down}" for across, down in (_place(*point) for point in zip(x, y, strict=True)))


def _band(x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    """The area between two curves over the same x."""
    return f"{_points(x, high)} {_points(x[::-1], low[::-1])}"
