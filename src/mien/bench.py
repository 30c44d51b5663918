"""How quick mien is on this machine: medians of repeated runs, one thread."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien.expression import Classifier, ClassifierOptions, OnnxClassifier
from mien.faces import detectors

__all__ = ["Timing", "bench", "face_timing", "peak_memory"]

_BATCH: Final = 32


@dataclass(frozen=True)
class Timing:
    """One thing measured.

    Attributes:
        what: In words.
        value: Median.
        unit: Of the value.
        low: Lower quartile.
        high: Upper quartile.
    """

    what: str
    value: float
    unit: str
    low: float
    high: float


def bench(
    *, model: str | Path | None = None, detector: str | None = None, repeats: int = 200, threads: int = 1
) -> list[Timing]:
    """Measures reading on this machine.

    Args:
        model: Name of a shipped model, or path of an exported ONNX file; None for the default.
        detector: Name of a detector; None for the default.
        repeats: Of the quick measurements; slow ones take a tenth.
        threads: For the network.

    Raises:
        ConfigError: There is no such model or detector.
    """
    rng = np.random.default_rng(0)
    classifier = OnnxClassifier(ClassifierOptions(model, batch_size=_BATCH, threads=threads))
    size = classifier.info.input.size
    crowd = rng.integers(0, 256, (_BATCH, size, size, 3), dtype=np.uint8)
    frame = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    finder = detectors.load(detector or detectors.DEFAULT)
    slow = max(5, repeats // 10)
    one = face_timing(classifier, repeats)
    many = [seconds / _BATCH for seconds in _timed(lambda: classifier(crowd), slow)]
    found = _timed(lambda: finder.detect(frame), slow)
    cold = [_cold_start(model, detector) for _ in range(5)]
    return [
        one,
        _timing(f"{classifier.info.name}, faces in batches of {_BATCH}", [1 / seconds for seconds in many], "faces/s"),
        _timing(f"detector {finder.name}, 640x480", [1000 * seconds for seconds in found], "ms"),
        _timing("cold start, a fresh process ready to read", cold, "s"),
        _timing("peak memory of that process", [peak_memory(model, detector)], "MB"),
    ]


def face_timing(classifier: Classifier, repeats: int) -> Timing:
    """How long a classifier takes for one face of its own size: ms, median of `repeats`."""
    size = classifier.input_size
    face = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    times = _timed(lambda: classifier(face), repeats)
    return _timing(f"{classifier.name}, a face", [1000 * seconds for seconds in times], "ms")


def _timing(what: str, values: Sequence[float], unit: str) -> Timing:
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return Timing(what, statistics.median(ordered), unit, ordered[quarter], ordered[-1 - quarter])


def _timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls, after a few that do not count."""
    for _ in range(5):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _child(program: str, model: str | Path | None, detector: str | None) -> str:
    """What a fresh process prints that has made an analyzer and read a first, empty frame."""
    options = {"classifier": None if model is None else str(model), "detector": detector}
    text = f"""
import numpy, mien
mien.Analyzer(**{options!r}).analyze(numpy.zeros((480, 640, 3), numpy.uint8))
{program}
"""
    done = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
    return done.stdout


def _cold_start(model: str | Path | None, detector: str | None) -> float:
    start = time.perf_counter()
    _child("", model, detector)
    return time.perf_counter() - start


def peak_memory(model: str | Path | None = None, detector: str | None = None) -> float:
    """Megabytes that a fresh process holds at most while it reads a first 640x480 frame; nan where none can tell."""
    try:
        import resource  # noqa: F401
    except ImportError:  # Windows
        return float("nan")
    program = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    held = float(_child(program, model, detector))
    return held / (1e6 if sys.platform == "darwin" else 1e3)  # macOS counts bytes, Linux kilobytes
