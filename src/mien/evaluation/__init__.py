"""Judging: how right a model is, how sure it may be of itself, and how sure we may be of both."""

from mien.evaluation.predict import Evaluation, Predictions, evaluate_model
from mien.evaluation.protocols import Protocol, protocols_of
from mien.evaluation.score import Scores, judge

__all__ = ["Evaluation", "Predictions", "Protocol", "Scores", "evaluate_model", "judge", "protocols_of"]
