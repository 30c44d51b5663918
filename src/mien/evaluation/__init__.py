"""Judging: how right a model is, how sure it may be of itself, and how sure we may be of both."""

from mien.evaluation.predict import Evaluation, Reading, evaluate_model
from mien.evaluation.protocols import Protocol, protocols_of
from mien.evaluation.score import Judgement, judge

__all__ = ["Evaluation", "Judgement", "Protocol", "Reading", "evaluate_model", "judge", "protocols_of"]
