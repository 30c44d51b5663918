"""Recognises emotions in faces.

>>> import mien
>>> result = mien.analyze("photo.jpg")
>>> for face in result:
...     print(face.emotion, face.confidence, face.box)

Importing mien loads nothing heavy: a name is imported when it is first used. It sets ORT_DISABLE_TELEMETRY, unless it
is set: otherwise onnxruntime (from 1.32) reports to its maker.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien import emotions as emotions
    from mien import errors as errors
    from mien import media as media
    from mien import output as output
    from mien.analyzer import Analyzer as Analyzer
    from mien.analyzer import AnalyzerOptions as AnalyzerOptions
    from mien.analyzer import analyze as analyze
    from mien.analyzer import classify as classify
    from mien.analyzer import detect as detect
    from mien.errors import ConfigError as ConfigError
    from mien.errors import InputError as InputError
    from mien.errors import MienError as MienError
    from mien.expression.base import ClassifierOptions as ClassifierOptions
    from mien.faces.detectors import DetectorOptions as DetectorOptions
    from mien.faces.landmarks import LandmarkOptions as LandmarkOptions
    from mien.media.picking import TrackingOptions as TrackingOptions
    from mien.media.picking import VideoOptions as VideoOptions
    from mien.results import LANDMARKS as LANDMARKS
    from mien.results import Affect as Affect
    from mien.results import Expression as Expression
    from mien.results import Face as Face
    from mien.results import Frame as Frame
    from mien.results import FrameResult as FrameResult
    from mien.results import Measures as Measures

__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is loaded

# The modules of the public names.
_MODULES = {
    "mien": ("emotions", "errors", "media", "output"),
    "mien.analyzer": ("Analyzer", "AnalyzerOptions", "analyze", "classify", "detect"),
    "mien.expression.base": ("ClassifierOptions",),
    "mien.errors": ("ConfigError", "InputError", "MienError"),
    "mien.faces.detectors": ("DetectorOptions",),
    "mien.faces.landmarks": ("LandmarkOptions",),
    "mien.media.picking": ("TrackingOptions", "VideoOptions"),
    "mien.results": ("LANDMARKS", "Affect", "Expression", "Face", "Frame", "FrameResult", "Measures"),
}

# What people look for here, and where it is.
_ELSEWHERE = {
    "annotate": "mien.output.annotate",
    "to_pandas": "mien.output.to_pandas",
    "open_table": "mien.output.open_table",
    "read_image": "mien.media.read_image",
    "read_video": "mien.media.read_video",
    "open_frames": "mien.media.open_frames",
    "Classifier": "mien.expression.Classifier",
}

__all__ = [name for names in _MODULES.values() for name in names]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            is_module = module == "mien"
            found = importlib.import_module(f"mien.{name}" if is_module else module)
            value = found if is_module else getattr(found, name)
            globals()[name] = value
            return value
    where = f"; it is {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"module 'mien' has no attribute '{name}'{where}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
