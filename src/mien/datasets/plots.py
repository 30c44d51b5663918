"""Plots of a store: counts, contact sheets of each class, and the agreement of the annotators."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.datasets import ferplus
from mien.datasets.samples import Samples
from mien.errors import MissingExtraError
from mien.files import replacing, write_errors
from mien.output.drawing.palette import colour_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

_ROWS: Final = 6
_COLUMNS: Final = 10
_MUTED: Final = "#8a919e"


def plot(samples: Samples, folder: Path, *, seed: int = 0) -> list[Path]:
    """Writes PNG images into `folder`, which is created if it does not exist.

    These are `counts.png`, `contact-<class>.png` with up to sixty random faces and, if there are votes, `agreement.png`
    with the entropies of the votes.

    Returns:
        The files written.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The folder cannot be written.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("plotting", "report") from error
    figures = {"counts": _counts(samples)}
    random = np.random.default_rng(seed)
    for index, name in enumerate(samples.classes):
        rows = np.flatnonzero(samples.labels == index)
        if len(rows):
            chosen = np.sort(random.choice(rows, min(len(rows), _ROWS * _COLUMNS), replace=False))
            figures[f"contact-{name}"] = _contact_sheet(
                samples.subset(chosen), f"{name}: {len(chosen)} of {len(rows):,}"
            )
    if samples.votes is not None:
        figures["agreement"] = _agreement(samples)
    written = []
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            written.append(folder / f"{name}.png")
            with replacing(written[-1]) as partial:
                figure.savefig(partial, format="png")
    return written


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _counts(samples: Samples) -> "Figure":
    counts = samples.counts()
    figure = _figure(9, 4.5)
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, (split, table) in zip(panels, counts.items(), strict=True):
        colours = [tuple(part / 255 for part in colour_of(name)) for name in table]
        bars = axes.barh(list(table), list(table.values()), color=colours)
        axes.bar_label(bars, [f"{count:,}" for count in table.values()], padding=4, fontsize=9, color="#444")
        axes.set_title(f"{split}: {sum(table.values()):,} faces", loc="left", fontsize=11)
        axes.margins(x=0.2)
        axes.xaxis.set_visible(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].invert_yaxis()  # the panels share it
    return figure


def _contact_sheet(samples: Samples, title: str) -> "Figure":
    count = len(samples)
    rows = math.ceil(count / _COLUMNS)
    height, width = samples.images.shape[1:3]
    gap = max(1, width // 24)
    sheet = np.full((rows * (height + gap) - gap, _COLUMNS * (width + gap) - gap, *samples.images.shape[3:]), 255)
    for place, image in enumerate(samples.images):
        top, left = place // _COLUMNS * (height + gap), place % _COLUMNS * (width + gap)
        sheet[top : top + height, left : left + width] = image
    figure = _figure(10, 10 * sheet.shape[0] / sheet.shape[1] + 0.4)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    axes.set_title(title, loc="left", fontsize=12)
    axes.axis("off")
    return figure


def _agreement(samples: Samples) -> "Figure":
    votes = samples.votes if samples.votes is not None else np.zeros((0, 10), np.uint8)
    _, kept = ferplus.argmax(votes)
    entropies = ferplus.entropy(votes[kept][:, : ferplus.EMOTIONS])
    figure = _figure(8, 4)
    axes = figure.subplots()
    axes.hist(entropies, bins=np.linspace(0, math.log(ferplus.EMOTIONS), 43).tolist(), color="#3880f0")
    axes.set(xlabel="entropy of the votes of a face (nats); 0: all agree", ylabel="faces")
    if len(entropies):
        axes.axvline(float(entropies.mean()), color=_MUTED, linestyle="--", linewidth=1.2)
        axes.set_title(
            f"{len(entropies):,} faces, mean {entropies.mean():.3f} nats, {(entropies == 0).mean():.0%} unanimous",
            loc="left",
            fontsize=11,
        )
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
