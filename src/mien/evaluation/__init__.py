"""Evaluation: accuracy, calibration and robustness of models, each score with its interval."""

from mien.evaluation.predict import Evaluation, Predictions, evaluate_model
from mien.evaluation.protocols import Protocol, protocols_of
from mien.evaluation.score import Scores, compute_scores

__all__ = ["Evaluation", "Predictions", "Protocol", "Scores", "compute_scores", "evaluate_model", "protocols_of"]
