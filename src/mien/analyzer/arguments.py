"""Refuses arguments of an analyzer that cannot be right, and says what to write."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.analyzer.options import PARTS, AnalyzerOptions
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.media import VideoOptions
from mien.media.decode import shown
from mien.media.formats import AS_FILE
from mien.media.picking import TrackingOptions
from mien.results import Face, Frame, FrameResult

# The calls that take arguments: in messages, and how each is given a part of the options.
ANALYZE: Final = "analyze"
CLASSIFY: Final = "classify"
DETECT: Final = "detect"
ANALYZER: Final = "Analyzer"
METHOD: Final = "Analyzer.analyze"
METHOD_OF_FACES: Final = "Analyzer.classify"

# Stands for an argument that was not given, where no value can.
MISSING: Final[Any] = object()

# What a ready object must have, at least; and what else may be given in its place.
DETECTOR: Final = ("mean_landmarks", "detect"), "a name, a file or DetectorOptions"
CLASSIFIER: Final = ("crop_specs", "emotions", "__call__"), "a name, a file or ClassifierOptions"

# What others call the places of faces.
_PLACES: Final = ("boxes", "faces", "bboxes", "face_boxes", "face_rectangles", "face_locations")

# What other programs call it, and what to write.
_ELSEWHERE: Final = {
    "faces_are_crops": "write detector='whole-image'",
    "enforce_detection": "for images that are cropped faces write detector='whole-image'",
    "detector_backend": "write detector='mien', for example",
}
_OF_FACES: Final = (CLASSIFY, METHOD_OF_FACES)

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
        call: `ANALYZE`, `CLASSIFY`, `DETECT`, `ANALYZER` or `METHOD`.
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
    searches = of_detector or name == "detector"
    if name in _PLACES or name in _ELSEWHERE or (call in _OF_FACES and searches):
        return _of_places(call, name)
    if call == DETECT and not of_detector:
        known = name == "model" or name in {*_MADE_OF, *_names(ClassifierOptions), *_names(AnalyzerOptions)}
        return "detect only finds faces; use analyze" if known else ""
    made = call in (METHOD, METHOD_OF_FACES)  # its parts are given where it is made
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


def _of_places(call: str, name: str) -> str:
    """What to write in place of an argument that says where the faces are, or how they are found."""
    if call in _OF_FACES:
        return (
            "write faces=" if name in _PLACES else "no detector runs: the places of the faces are its second argument"
        )
    return _ELSEWHERE.get(name, "for faces whose places are known write classify(image, faces=boxes)")


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


def known_faces(faces: object, width: int, height: int) -> tuple[Face, ...]:
    """The faces whose places are known in an image; a box becomes a face with the score 1.

    Args:
        faces: Faces, or boxes (N, 4) or (4,).
        width: Of the image.
        height: Of the image.

    Raises:
        TypeError: They are something else; the message has what to write.
        ValueError: A box has no area, or lies outside the image.
    """
    if isinstance(faces, Face):
        faces = (faces,)
    if isinstance(faces, Sequence) and all(isinstance(each, Face) for each in faces):
        known = tuple(faces)
    else:
        known = tuple(Face(box, 1.0) for box in _boxes(faces))
    for number, face in enumerate(known):
        x0, y0, x1, y1 = face.box.tolist()
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise ValueError(
                f"faces: box {number}: {x0:g}, {y0:g}, {x1:g}, {y1:g} lies outside the image of {width} x {height} "
                "pixels; boxes are in pixels, x0, y0, x1, y1"
            )
    return known


def _boxes(given: object) -> NDArray[np.float32]:
    """Boxes (N, 4) of what can be an array (N, 4) or (4,); errors are those of `known_faces`."""
    try:
        boxes = np.atleast_2d(np.asarray(given, np.float32))
    except (TypeError, ValueError):
        write = "write [[x0, y0, x1, y1], ...], in pixels"
        raise TypeError(
            f"faces: expected faces, or boxes of four numbers, got {type(given).__name__}; {write}"
        ) from None
    if not boxes.size:
        return np.empty((0, 4), np.float32)
    if given is None or boxes.ndim != 2 or boxes.shape[1] != 4:
        got = "None" if given is None else f"an array {np.shape(boxes)}"
        more = "; leave the score out: boxes[:, :4]" if boxes.ndim == 2 and boxes.shape[1] == 5 else ""
        raise ValueError(f"faces: expected boxes (N, 4) x0, y0, x1, y1 in pixels, got {got}{more}")
    for number, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        got = f"{x0:g}, {y0:g}, {x1:g}, {y1:g}"
        if not np.isfinite(boxes[number]).all():
            raise ValueError(f"faces: box {number}: expected numbers, got {got}")
        if not (x0 < x1 and y0 < y1):
            raise ValueError(
                f"faces: box {number}: expected x0 < x1 and y0 < y1, got {got}; of x, y, width and height make "
                "[x, y, x + width, y + height], of top, right, bottom and left [left, top, right, bottom]"
            )
        if min(x0, y0) >= 0 and x1 <= 1 and y1 <= 1:
            raise ValueError(
                f"faces: box {number}: {got} is a pixel at most; multiply x by the width of the image, y by its height"
            )
    return boxes


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


def named_video(images: object) -> str | PathLike[str]:
    """The path or address that options of a video are for.

    Raises:
        TypeError: It is something else; the message has what to write.
    """
    if isinstance(images, (str, PathLike)):
        return images
    content = isinstance(images, (bytes, bytearray, memoryview)) or hasattr(images, "read")
    write = AS_FILE if content else "leave it out, or call for each path"
    raise TypeError(f"video: is for one path or address, got {type(images).__name__}; {write}")


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
