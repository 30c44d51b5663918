"""Judging: how right a model is, how sure it may be of itself, and how sure we may be of both."""

from mien.evaluation.evaluate import Evaluation, Reading, evaluate_model
from mien.evaluation.judge import Judgement, judge
from mien.evaluation.protocols import Protocol, protocols_of

__all__ = ["Evaluation", "Judgement", "Protocol", "Reading", "evaluate_model", "judge", "protocols_of"]
