"""A head that learns valence and arousal from labels: its loss and its validation metrics.

The loss is 1 minus the concordance correlation coefficient (CCC; Lin, "A concordance correlation coefficient to
evaluate reproducibility", Biometrics 45, 1989), the mean of both dimensions: the measure by which such predictions are
usually compared. Unlike a squared error, it does not reward predictions near the mean of the labels.
"""

from typing import Final

import torch
from torch import Tensor

from mien.results import AFFECT
from mien.training.tasks import Sums

DIMENSIONS: Final = AFFECT[:2]
LEAST: Final = 2  # faces with labels in a batch, for a correlation
_TINY: Final = 1e-6


def known_affect(target: Tensor) -> Tensor:
    """The rows (N,) of targets (N, 2) that have both; others are nan."""
    return target.isfinite().all(dim=1)


def concordance(predicted: Tensor, target: Tensor) -> Tensor:
    """The CCC (2,) of valence and arousal over the rows of (N, 2), all of them known."""
    predicted, target = predicted.float(), target.float()
    means = predicted.mean(dim=0), target.mean(dim=0)
    off = predicted - means[0], target - means[1]
    squares = predicted.square().mean(dim=0), target.square().mean(dim=0)
    return _concordance(means, squares, (off[0] * off[1]).mean(dim=0) + means[0] * means[1])


def _concordance(means: tuple[Tensor, Tensor], squares: tuple[Tensor, Tensor], product: Tensor) -> Tensor:
    """The CCC from the means of the values, of their squares and of their products."""
    variances = squares[0] - means[0].square(), squares[1] - means[1].square()
    shift = (means[0] - means[1]).square()
    return 2 * (product - means[0] * means[1]) / (variances[0] + variances[1] + shift).clamp(min=_TINY)


def concordance_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - CCC, the mean of both dimensions, over the rows whose target is known; 0 for fewer than two of them."""
    known = known_affect(target)
    if known.sum() < LEAST:
        return predicted.float().sum() * 0
    return 1 - concordance(predicted[known], target[known]).mean()


def moments(name: str, predicted: Tensor, target: Tensor) -> Sums:
    """What the metrics of the head `name` are made of, as sums over rows (N, 2), so that batches can be added up.

    Predictions are limited to -1 to 1, as those of the exported file are.
    """
    predicted, target = predicted.double().clamp(-1, 1), target.double()
    parts = {
        "x": predicted,
        "y": target,
        "xx": predicted.square(),
        "yy": target.square(),
        "xy": predicted * target,
    }
    return {
        f"val/{name}/moment/{part}/{dimension}": (values[:, column].sum(), len(values))
        for part, values in parts.items()
        for column, dimension in enumerate(DIMENSIONS)
    }


def joined_moments(name: str, metrics: dict[str, float]) -> dict[str, float]:
    """The metrics of an epoch, with the CCC and the root mean squared error of a head in the place of its moments."""
    prefix = f"val/{name}/moment/"
    found = {each: value for each, value in metrics.items() if not each.startswith(prefix)}
    if len(found) == len(metrics):
        return found

    def mean(part: str) -> Tensor:
        return torch.tensor([metrics[f"{prefix}{part}/{dimension}"] for dimension in DIMENSIONS], dtype=torch.double)

    x, y, xx, yy, xy = (mean(part) for part in ("x", "y", "xx", "yy", "xy"))
    found[f"val/{name}/ccc"] = float(_concordance((x, y), (xx, yy), xy).mean())
    found[f"val/{name}/rmse"] = float((xx + yy - 2 * xy).clamp(min=0).sqrt().mean())
    return found
