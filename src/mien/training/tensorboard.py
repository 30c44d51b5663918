"""TensorBoard's logs, for those who ask for them."""

from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from mien.errors import MissingExtraError

__all__ = ["tensorboard_log"]


class _EpochLog(TensorBoardLogger):
    """Counts epochs, as `metrics.csv` does: steps begin anew with each round."""

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Writes an epoch's figures."""
        figures = {name: value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(figures, int(metrics.get("epoch", step or 0)))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the recipe lies beside the log."""


def tensorboard_log(folder: Path) -> TensorBoardLogger:
    """A log in `folder`/tensorboard; a resumed run goes on in it.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise MissingExtraError("TensorBoard's logs", "tensorboard")
    return _EpochLog(folder, name="tensorboard", version="", default_hp_metric=False)
