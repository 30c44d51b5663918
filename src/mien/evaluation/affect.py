"""Scores of valence and arousal against labels: concordance correlation and root mean squared error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.intervals import ALONE, Estimate, Resampling, bootstrap
from mien.expression.base import Classifier, Logits
from mien.results import AFFECT

DIMENSIONS = AFFECT[:2]
# Where the predictions come from.
NETWORK, EXPECTATION = "an output of the network", "the expectation of the classes' coordinates"


@dataclass(frozen=True, slots=True)
class DimensionScores:
    """The scores of one dimension.

    Attributes:
        ccc: The concordance correlation coefficient (Lin 1989), -1 to 1.
        rmse: The root mean squared error, in units of the labels, which range from -1 to 1.
    """

    ccc: Estimate
    rmse: Estimate


@dataclass(frozen=True, slots=True)
class AffectScores:
    """The scores of valence and arousal.

    Attributes:
        n: Number of faces with labels.
        source: What the predictions are: `NETWORK` or `EXPECTATION`.
        valence: Of the valence.
        arousal: Of the arousal.
    """

    n: int
    source: str
    valence: DimensionScores
    arousal: DimensionScores

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "faces": self.n,
            "predictions": self.source,
            **{
                name: {"ccc": getattr(self, name).ccc.as_dict(), "rmse": getattr(self, name).rmse.as_dict()}
                for name in DIMENSIONS
            },
        }

    def text(self) -> str:
        """The scores in lines."""
        line = f"valence and arousal, {self.source}: {self.n:,} faces"
        rows = [
            f"{name}  CCC {format(part.ccc, '.3f')}  RMSE {format(part.rmse, '.3f')}"
            for name in DIMENSIONS
            if (part := getattr(self, name))
        ]
        return "\n".join([line, "=" * len(line), *rows]) + "\n"


def concordance(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The concordance correlation coefficients (...,) of values (..., N); nan where both are the same constant."""
    means = predicted.mean(axis=-1), truth.mean(axis=-1)
    product = ((predicted - means[0][..., None]) * (truth - means[1][..., None])).mean(axis=-1)
    spread = predicted.var(axis=-1) + truth.var(axis=-1) + (means[0] - means[1]) ** 2
    found: NDArray[np.float64] = np.divide(2 * product, spread, out=np.full(spread.shape, np.nan), where=spread > 0)
    return found


def affect_scores(
    predicted: NDArray[np.float32], truth: NDArray[np.float32], source: str, how: Resampling = ALONE
) -> AffectScores | None:
    """Scores predictions (N, 2) against labels (N, 2) where both are known; None if that is nowhere.

    Args:
        predicted: Valence and arousal; nan where a model gives none.
        truth: The labels; nan where they are unknown.
        source: `NETWORK` or `EXPECTATION`.
        how: How the resamples of the intervals are drawn.
    """
    known = np.isfinite(predicted).all(axis=1) & np.isfinite(truth).all(axis=1)
    if not known.any():
        return None
    mine = how.of(known)
    parts = [_scores(predicted[known, axis].astype(float), truth[known, axis].astype(float), mine) for axis in (0, 1)]
    return AffectScores(int(known.sum()), source, *parts)


def _scores(predicted: NDArray[np.float64], truth: NDArray[np.float64], how: Resampling) -> DimensionScores:
    def rmse(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        error: NDArray[np.float64] = np.sqrt(((predicted[rows] - truth[rows]) ** 2).mean(axis=-1))
        return error

    def ccc(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return concordance(predicted[rows], truth[rows])

    everything = np.arange(len(truth))[None]
    return DimensionScores(
        *(Estimate.from_draws(float(each(everything)[0]), bootstrap(each, len(truth), how)) for each in (ccc, rmse))
    )


def predicts_affect(classifier: Classifier) -> str:
    """Where the valence and the arousal of a classifier come from: `NETWORK` or `EXPECTATION`."""
    members = getattr(classifier, "members", [classifier])
    own = any(getattr(getattr(member, "info", None), "affect", None) is not None for member in members)
    return NETWORK if own and getattr(classifier, "affect_table", None) is None else EXPECTATION


def predicted_affect(classifier: Classifier, logits: Logits) -> NDArray[np.float32]:
    """The valence and arousal (N, 2) that users of a classifier get for a batch; nan where it has none."""
    expressions = classifier.expressions(classifier.proba_from(logits), classifier.affect_from(logits))
    affects = [each.affect for each in expressions]
    values = [(np.nan, np.nan) if each is None else (each.valence, each.arousal) for each in affects]
    return np.array(values, np.float32).reshape(-1, 2)
