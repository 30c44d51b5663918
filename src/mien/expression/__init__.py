"""From cropped faces to calibrated probabilities of their emotions."""

from mien.expression.base import Reader
from mien.expression.classifier import Classifier, head_for
from mien.expression.ensemble import Ensemble, open_reader

__all__ = ["Classifier", "Ensemble", "Reader", "head_for", "open_reader"]
