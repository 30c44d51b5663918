"""Refuses arguments of an analyzer that cannot be right, and says what to write."""

from collections.abc import Iterable
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np

from mien.analyzer.options import PARTS, AnalyzerOptions
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.media import VideoOptions
from mien.media.decode import shown
from mien.media.picking import TrackingOptions
from mien.results import Frame, FrameResult

# The calls that take arguments: in messages, and how each is given a part of the options.
ANALYZE: Final = "analyze"
DETECT: Final = "detect"
ANALYZER: Final = "Analyzer"
METHOD: Final = "Analyzer.analyze"

# What a ready object must have, at least; and what else may be given in its place.
DETECTOR: Final = ("mean_landmarks", "detect"), "a name, a file or DetectorOptions"
CLASSIFIER: Final = ("crop_specs", "emotions", "__call__"), "a name, a file or ClassifierOptions"

# What an analyzer is made of, and its method `analyze` therefore does not take.
_MADE_OF: Final = ("detector", "classifier", "tracker", "smoother", "emotions", "prior", "keypoints", "options")


def checked_options(options: object) -> AnalyzerOptions | None:
    """The options, if they are.

    Raises:
        TypeError: They are something else; the message has what to write.
    """
    if options is None or isinstance(options, AnalyzerOptions):
        return options
    message = f"options: expected AnalyzerOptions, got {type(options).__name__}"
    if isinstance(options, (str, Path)):
        raise TypeError(f"{message}; for a model write classifier={shown(repr(options))}")
    name = next((name for name, kind in PARTS.items() if isinstance(options, kind)), None)
    if name is not None:
        raise TypeError(f"{message}; write AnalyzerOptions({name}=...)")
    raise TypeError(f"{message}; write AnalyzerOptions(**options)" if isinstance(options, dict) else message)


def refuse_others(call: str, names: Iterable[str]) -> None:
    """Refuses further arguments that a call does not have; many of them are fields of options.

    Args:
        call: `ANALYZE`, `DETECT`, `ANALYZER` or `METHOD`.
        names: The arguments.

    Raises:
        TypeError: There is one; the message has what to write.
    """
    for name in names:
        instead = _instead(call, name)
        raise TypeError(f"{call} has no argument '{shown(name)}'{f'; {instead}' if instead else ''}")


def _instead(call: str, name: str) -> str:
    """What to write in place of an argument that a call does not have; empty if nothing is known."""
    of_detector = name in _names(DetectorOptions)
    if call == DETECT and not of_detector:
        known = name == "model" or name in {*_MADE_OF, *_names(ClassifierOptions), *_names(AnalyzerOptions)}
        return "detect only finds faces; use analyze" if known else ""
    made = call == METHOD  # its parts are given where it is made
    if made and name in _MADE_OF:
        return f"give it to the analyzer: Analyzer({name}=...)"
    if name == "model":
        return "write Analyzer(classifier='mien-s'), for example" if made else "write classifier='mien-s', for example"
    given = ""
    if name in _names(ClassifierOptions):
        given = f"classifier=ClassifierOptions({name}=...)"
    elif of_detector:
        given = f"detector=DetectorOptions({name}=...)"
    elif name in _names(VideoOptions):
        given, made = f"video=VideoOptions({name}=...)", False
        if call == ANALYZER:
            return f"write analyze(..., {given})"
    elif name in _names(TrackingOptions):
        given = f"options=AnalyzerOptions(tracking=TrackingOptions({name}=...))"
    elif name in _names(AnalyzerOptions):
        given = f"options=AnalyzerOptions({name}=...)"
    return given and f"write {f'Analyzer({given})' if made else given}"


def _names(options: type) -> list[str]:
    return [each.name for each in fields(options)]


def check_ready(name: str, given: object, members: Iterable[str], instead: str) -> None:
    """Refuses an object that cannot serve as a ready detector or classifier.

    Args:
        name: Of the argument.
        given: The object.
        members: Some of what it must have.
        instead: What else the argument takes.

    Raises:
        TypeError: It is a class, or lacks one of them.
    """
    kind = type(given).__name__
    if isinstance(given, type):
        raise TypeError(f"{name}: expected an object, got the class {given.__name__}; write {given.__name__}()")
    if missing := [member for member in members if not hasattr(given, member)]:
        lacks = " and no ".join(missing)
        raise TypeError(f"{name}: expected {instead}, or a ready object, got {kind}, which has no {lacks}")


def check_makers(**given: object) -> None:
    """Refuses what cannot make a tracker or a smoother for each source.

    Raises:
        TypeError: The message names the argument.
    """
    for name, maker in given.items():
        if maker is not None and not callable(maker):
            kind = type(maker).__name__
            raise TypeError(f"{name}: expected a class or a function that makes one, got {kind}; write {name}={kind}")


def check_video(video: object) -> None:
    """Refuses what are no options of a video.

    Raises:
        TypeError: The message has what to write.
    """
    if video is not None and not isinstance(video, VideoOptions):
        write = "; write VideoOptions(**video)" if isinstance(video, dict) else ""
        raise TypeError(f"video: expected VideoOptions, got {type(video).__name__}{write}")


def check_frame(frame: object) -> None:
    """Refuses what `stream` does not take.

    Raises:
        TypeError: It is no frame; the message has what to write.
    """
    if isinstance(frame, (Frame, FrameResult)):
        return
    write = "analyze takes images of other kinds"
    if isinstance(frame, np.ndarray):
        write = "write Frame(array, 'camera', index, seconds)"
    elif isinstance(frame, (str, PathLike)):
        write = "for files write stream(mien.media.open_frames([PATH]))"
    raise TypeError(f"stream takes Frames, got {type(frame).__name__}; {write}")
