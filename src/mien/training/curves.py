"""The run's log: one row an epoch in `metrics.csv`, drawn as `curves.png`."""

import csv
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from mien.errors import OutputError
from mien.files import replacing

__all__ = ["CurvesLog"]


class CurvesLog(Logger):
    """Writes each epoch's figures as they come; a resumed run goes on in the same file."""

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self.rows: dict[int, dict[str, float]] = {}
        if resume and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    self.rows[int(row["epoch"])] = {key: float(text) for key, text in row.items() if text}

    @property
    def path(self) -> Path:
        """The CSV file."""
        return self.folder / "metrics.csv"

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Runs have no versions: one folder each."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the recipe lies beside the log."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Takes up an epoch's figures and writes the file anew, whole.

        Raises:
            OutputError: It cannot be written.
        """
        epoch = int(metrics.get("epoch", 0))  # which stays there: another log may come after this one
        self.rows.setdefault(epoch, {}).update(metrics, epoch=epoch)
        columns = sorted({key for row in self.rows.values() for key in row} - {"epoch"})
        partial = self.path.with_suffix(".partial")
        try:
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["epoch", *columns], lineterminator="\n")
                writer.writeheader()
                writer.writerows(
                    {key: f"{value:.6g}" for key, value in row.items()} for _, row in sorted(self.rows.items())
                )
            partial.replace(self.path)
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror}", hint="make room, then --resume"
            ) from error

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Draws the curves."""
        if self.rows:
            with suppress(OSError, OutputError):  # on a full disk the run ends by an error, which this one would hide
                self._draw()

    def _draw(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained", dpi=120)
        FigureCanvasAgg(figure)
        epochs = sorted(self.rows)
        for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            names = sorted({key for row in self.rows.values() for key in row if key.endswith(kind)})
            for name in names:
                points = [(epoch + 1, self.rows[epoch][name]) for epoch in epochs if name in self.rows[epoch]]
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.8)
            axes.set(title=kind, xlabel="epoch")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            if names:
                axes.legend(frameon=False, fontsize=8)
        with replacing(self.folder / "curves.png") as partial:
            figure.savefig(partial, format="png")
