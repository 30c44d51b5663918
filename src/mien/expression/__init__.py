"""From cropped faces to calibrated probabilities of their emotions."""

from mien.expression.base import Classifier
from mien.expression.classifier import OnnxClassifier, head_for
from mien.expression.ensemble import Ensemble, load_classifier

__all__ = ["Classifier", "Ensemble", "OnnxClassifier", "head_for", "load_classifier"]
