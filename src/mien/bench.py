"""The speed of mien on this machine: medians of repeated runs."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Final

import numpy as np

from mien.analyzer import AnalyzerOptions
from mien.errors import ConfigError
from mien.expression import Classifier, load_classifier
from mien.expression.observation import Observation
from mien.faces import detectors
from mien.faces.keypoints import COUNTS

_BATCH: Final = 32


@dataclass(frozen=True)
class Timing:
    """One measurement.

    Attributes:
        what: Its description.
        value: The median.
        unit: The unit of the value.
        low: The lower quartile.
        high: The upper quartile.
    """

    what: str
    value: float
    unit: str
    low: float
    high: float


def bench(options: AnalyzerOptions | None = None, *, repeats: int = 200) -> list[Timing]:
    """Measures the detector, the classifier, the cold start and the memory on this machine.

    Args:
        options: The detector and the classifier to measure; None for the defaults.
        repeats: Number of fast measurements; slow ones are repeated a tenth as often.

    Raises:
        ConfigError: There is no such model or detector.
    """
    options = options or AnalyzerOptions()
    rng = np.random.default_rng(0)
    classifier = load_classifier(replace(options.classifier, batch_size=_BATCH))
    crowd = _faces(classifier, _BATCH)
    frame = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    finder = detectors.load(options.detector)
    slow = max(5, repeats // 10)
    one = face_timing(classifier, repeats)
    many = [seconds / _BATCH for seconds in _timed(lambda: classifier(*crowd), slow)]
    found = _timed(lambda: finder.detect(frame), slow)
    cold = [_cold_start(options) for _ in range(5)]
    moving = []
    if (of_videos := options.classifier.for_videos()) is not options.classifier:
        alone = face_timing(load_classifier(of_videos), repeats)
        moving = [replace(alone, what=f"{alone.what} of a video")]
    return [
        one,
        *moving,
        _timing(f"{classifier.name}, faces in batches of {_BATCH}", [1 / seconds for seconds in many], "faces/s"),
        _timing(f"detector {finder.name}, 640x480", [1000 * seconds for seconds in found], "ms"),
        _timing("cold start of a new process, with its first frame", cold, "s"),
        _timing("peak memory of that process", [_peak_memory(options)], "MB"),
    ]


def face_timing(classifier: Classifier, repeats: int) -> Timing:
    """The time of a classifier for one face of its input size: ms, median of `repeats`."""
    face = _faces(classifier, 1)
    times = _timed(lambda: classifier(*face), repeats)
    return _timing(f"{classifier.name}, one face", [1000 * seconds for seconds in times], "ms")


def _faces(classifier: Classifier, count: int) -> list[list[Observation]]:
    """Made-up faces, for each kind of crop, that have all that a classifier reads: images, windows and keypoints."""
    rng = np.random.default_rng(0)
    frames, points = classifier.frames, COUNTS.get(classifier.keypoint_scheme or "", 0)
    try:
        specs = classifier.crop_specs
    except ConfigError:  # a model that does not know how its faces were cropped
        specs = ()
    side = classifier.input_size
    shapes = [(spec.size, spec.size) if spec.grey else (spec.size, spec.size, 3) for spec in specs] or [(side, side, 3)]
    return [
        [
            Observation(
                tuple(rng.integers(0, 256, (frames, *shape), dtype=np.uint8)),
                rng.random((frames, points, 2), dtype=np.float32) if points else None,
            )
            for _ in range(count)
        ]
        for shape in shapes
    ]


def _timing(what: str, values: Sequence[float], unit: str) -> Timing:
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return Timing(what, statistics.median(ordered), unit, ordered[quarter], ordered[-1 - quarter])


def _timed(call: Callable[[], object], repeats: int) -> list[float]:
    """The seconds of `repeats` calls, after five that are not measured."""
    for _ in range(5):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _child(options: AnalyzerOptions, program: str = "") -> str:
    """The output of a new process that makes an analyzer, analyses an empty frame and then runs `program`."""
    kinds = {type(value) for each in fields(options) if is_dataclass(value := getattr(options, each.name))}
    imports = "\n".join(f"from {kind.__module__} import {kind.__name__}" for kind in (AnalyzerOptions, *kinds))
    text = f"""
import numpy
from pathlib import *
from mien.analyzer import Analyzer
{imports}
Analyzer({options!r}).analyze(numpy.zeros((480, 640, 3), numpy.uint8))
{program}
"""
    return subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True).stdout


def _cold_start(options: AnalyzerOptions) -> float:
    start = time.perf_counter()
    _child(options)
    return time.perf_counter() - start


def _peak_memory(options: AnalyzerOptions) -> float:
    """The most memory, in megabytes, of a new process that analyses one 640x480 frame; nan if it is not known."""
    try:
        import resource  # noqa: F401
    except ImportError:  # Windows
        return float("nan")
    held = float(_child(options, "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"))
    return held / (1e6 if sys.platform == "darwin" else 1e3)  # macOS counts bytes, Linux kilobytes
