"""The metrics of a run: a row for each epoch in `metrics.csv`, drawn as `curves.png`, and TensorBoard's logs."""

import csv
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mien.errors import MissingExtraError, OutputError
from mien.files import replacing


def check_tensorboard() -> None:
    """Makes sure that TensorBoard can be used.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("tensorboard") is None:
        raise MissingExtraError("TensorBoard's logs", "tensorboard")


class MetricsLog:
    """Writes the metrics of each epoch; a resumed run continues the same files.

    Args:
        folder: The run's folder.
        resume: Whether to continue the rows that are there.
        tensorboard: Whether to write TensorBoard's logs, into `folder`/tensorboard.
    """

    def __init__(self, folder: Path, *, resume: bool = False, tensorboard: bool = False) -> None:
        self.folder = folder
        self.path = folder / "metrics.csv"
        self.rows: dict[int, dict[str, float]] = {}  # by epoch, from 1
        self._writer: Any = None
        if resume and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = {int(row.pop("epoch")): row for row in csv.DictReader(file)}
            shift = 1 if 0 in rows else 0  # earlier versions counted from 0
            for epoch, row in rows.items():
                self.rows[epoch + shift] = {key: float(text) for key, text in row.items() if text}
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"))

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of an epoch, counted from 1, and rewrites the whole file.

        Raises:
            OutputError: The file cannot be written.
        """
        self.rows[epoch] = dict(metrics)
        columns = sorted({key for row in self.rows.values() for key in row})
        partial = self.path.with_suffix(".partial")
        try:
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["epoch", *columns])
                for number, row in sorted(self.rows.items()):
                    writer.writerow([number, *(f"{row[key]:.6g}" if key in row else "" for key in columns)])
            partial.replace(self.path)
            for name, value in metrics.items() if self._writer else ():
                self._writer.add_scalar(name, value, epoch)
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror}", hint="free some space, then --resume"
            ) from error

    def close(self) -> None:
        """Draws the curves."""
        with suppress(OSError, OutputError):  # on a full disk the run ends by an error, which this one would hide
            if self.rows:
                self._draw()
            if self._writer:
                self._writer.close()

    def _draw(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained", dpi=120)
        FigureCanvasAgg(figure)
        epochs = sorted(self.rows)
        for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            names = sorted({key for row in self.rows.values() for key in row if key.endswith(kind)})
            drawn: list[list[tuple[int, float]]] = []
            for name in sorted(names, key=lambda name: (name.count("/"), name)):
                points = [(epoch, self.rows[epoch][name]) for epoch in epochs if name in self.rows[epoch]]
                if points not in drawn:  # the loss of the only head is that of the network
                    axes.plot(*zip(*points, strict=True), label=name, linewidth=1.8)
                    drawn.append(points)
            axes.set(title=kind, xlabel="epoch")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            if names:
                axes.legend(frameon=False, fontsize=8)
        with replacing(self.folder / "curves.png") as partial:
            figure.savefig(partial, format="png")
