"""The analyzer: frames in, results out. It knows detectors and classifiers, and no file format."""

from mien.analyzer.analyzer import Analyzer
from mien.analyzer.functions import analyze, classify, detect
from mien.analyzer.options import AnalyzerOptions, DetectorSource
from mien.analyzer.record import record_of
from mien.analyzer.stages import Smoother, Tracker

__all__ = [
    "Analyzer",
    "AnalyzerOptions",
    "DetectorSource",
    "Smoother",
    "Tracker",
    "analyze",
    "classify",
    "detect",
    "record_of",
]
