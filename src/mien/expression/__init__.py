"""From cropped faces to calibrated probabilities of their emotions.

Importing this package loads neither OpenCV nor onnxruntime, so that a command line can be made from the options.
"""

import importlib
from typing import TYPE_CHECKING

from mien.expression.base import Classifier, ClassifierOptions, ClassifierSource, Emotions, softmax

if TYPE_CHECKING:
    from mien.expression.classifier import OnnxClassifier as OnnxClassifier
    from mien.expression.ensemble import Ensemble as Ensemble
    from mien.expression.ensemble import load_classifier as load_classifier

__all__ = [
    "Classifier",
    "ClassifierOptions",
    "ClassifierSource",
    "Emotions",
    "Ensemble",
    "OnnxClassifier",
    "load_classifier",
    "softmax",
]

_LATE = {"OnnxClassifier": "classifier", "Ensemble": "ensemble", "load_classifier": "ensemble"}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
