"""From cropped faces to calibrated probabilities of their emotions."""

from mien.expression.classifier import Classifier, head_for

__all__ = ["Classifier", "head_for"]
