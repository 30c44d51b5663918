"""Recognises emotions in faces.

>>> import mien
>>> result = mien.analyze("photo.jpg")
>>> for face in result:
...     print(face.emotion, face.confidence, face.box)

Importing mien loads nothing heavy: a name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien import emotions as emotions
    from mien import errors as errors
    from mien.analyzer import Analyzer as Analyzer
    from mien.analyzer import AnalyzerOptions as AnalyzerOptions
    from mien.analyzer import analyze as analyze
    from mien.analyzer import detect as detect
    from mien.expression.base import ClassifierOptions as ClassifierOptions
    from mien.faces.detectors import DetectorOptions as DetectorOptions
    from mien.results import LANDMARKS as LANDMARKS
    from mien.results import Expression as Expression
    from mien.results import Face as Face
    from mien.results import Frame as Frame
    from mien.results import FrameResult as FrameResult

__version__ = "0.1.0"

# The public names and their modules; None for a module of mien itself.
_ORIGIN = {
    "Analyzer": "mien.analyzer",
    "AnalyzerOptions": "mien.analyzer",
    "ClassifierOptions": "mien.expression.base",
    "DetectorOptions": "mien.faces.detectors",
    "Expression": "mien.results",
    "Face": "mien.results",
    "Frame": "mien.results",
    "FrameResult": "mien.results",
    "LANDMARKS": "mien.results",
    "analyze": "mien.analyzer",
    "detect": "mien.analyzer",
    "emotions": None,
    "errors": None,
}

__all__ = [
    "LANDMARKS",
    "Analyzer",
    "AnalyzerOptions",
    "ClassifierOptions",
    "DetectorOptions",
    "Expression",
    "Face",
    "Frame",
    "FrameResult",
    "analyze",
    "detect",
    "emotions",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'mien' has no attribute '{name}'")
    origin = _ORIGIN[name]
    value = (
        importlib.import_module(f"mien.{name}") if origin is None else getattr(importlib.import_module(origin), name)
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
