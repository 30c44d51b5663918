"""`mien.analyze`, `mien.classify` and `mien.detect`: an analyzer for each thread that is kept from call to call."""

import functools
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Never, TypedDict, TypeVar, Unpack, cast, overload

from numpy.typing import ArrayLike

from mien.analyzer.analyzer import Analyzer
from mien.analyzer.arguments import (
    ANALYZE,
    CLASSIFY,
    DETECT,
    DETECTOR,
    MISSING,
    check_ready,
    checked_options,
    refuse_others,
)
from mien.analyzer.options import AnalyzerOptions, DetectorSource
from mien.expression.base import Classifier, ClassifierSource, Emotions, checked_emotions
from mien.expression.prior import Prior
from mien.expression.prior import checked as checked_prior
from mien.faces import detectors, landmarks
from mien.faces.align import Aligner
from mien.faces.detectors import DetectorOptions
from mien.media import ImageItem, ImageSource, OnError, VideoOptions, frame_of, is_one
from mien.results import Face, Frame, FrameResult


class _Cached(threading.local):
    """The last analyzers and detectors of each thread: those of dlib and OpenCV serve one thread at a time."""

    def __init__(self) -> None:
        self.analyzer = functools.lru_cache(maxsize=4)(Analyzer)
        self.aligner = functools.lru_cache(maxsize=4)(Aligner)
        self.landmarker = functools.lru_cache(maxsize=1)(landmarks.load)


_cached = _Cached()
Made = TypeVar("Made")


def _kept(cached: Callable[..., Made], make: Callable[..., Made], *arguments: object, **parts: object) -> Made:
    """What is made of these arguments, kept if they can be compared: a ready object may have no hash."""
    try:
        hash((arguments, tuple(parts.values())))
    except TypeError:
        return make(*arguments, **parts)
    return cached(*arguments, **parts)


# Any overload of `Analyzer.analyze`.
_Analyze = Callable[..., FrameResult | list[FrameResult] | Generator[FrameResult]]


class _Parts(TypedDict, total=False):
    """The keyword arguments of `analyze`."""

    on_error: OnError | None
    emotions: Emotions | Collection[str]
    prior: Prior | Mapping[str, float] | None
    detector: DetectorSource
    classifier: Classifier | ClassifierSource
    options: AnalyzerOptions | None
    keypoints: bool | None


@overload
def analyze(images: ImageSource | Frame, **parts: Unpack[_Parts]) -> FrameResult: ...  # type: ignore[overload-overlap]
@overload
def analyze(  # type: ignore[overload-overlap]
    images: Collection[ImageItem], **parts: Unpack[_Parts]
) -> list[FrameResult]: ...
@overload
def analyze(
    images: str | PathLike[str] | Iterable[ImageItem], *, video: VideoOptions | None = ..., **parts: Unpack[_Parts]
) -> Generator[FrameResult]: ...
def analyze(  # noqa: PLR0913  (all that an analyzer is made of, so that help and editors show it)
    images: ImageSource | Frame | Iterable[ImageItem],
    *,
    on_error: OnError | None = None,
    video: VideoOptions | None = None,
    detector: DetectorSource = None,
    classifier: Classifier | ClassifierSource = None,
    emotions: Emotions | Collection[str] = None,
    prior: Prior | Mapping[str, float] | None = None,
    keypoints: bool | None = None,
    options: AnalyzerOptions | None = None,
    **others: Never,
) -> FrameResult | list[FrameResult] | Generator[FrameResult]:
    """Finds the faces in an image, in several, or in a video, and classifies their expressions.

    Each thread keeps its last few analyzers, so that calling again is fast.

    Args:
        images: As for `Analyzer.analyze`: an image, a video, a list or a generator.
        on_error: As for `Analyzer.analyze`: "result" or "raise".
        video: As for `Analyzer.analyze`.
        detector: As for `Analyzer`.
        classifier: As for `Analyzer`.
        emotions: Number or names of the classes, as for `Analyzer`.
        prior: Class frequencies that probabilities assume, as for `Analyzer`.
        keypoints: As for `Analyzer`.
        options: As for `Analyzer`.
        **others: There are none; the error has what to write.

    Returns:
        A `FrameResult`, which is a sequence of `Face`s; a list of them for a list; an iterator for a
        generator and a video.

    Raises:
        InputError: A single image cannot be read, without `on_error="result"`; or one of several, with
            `on_error="raise"`.
        ConfigError: There is no such detector or model, or an option has a value that cannot be used.
        TypeError: There is no such argument, or `images` is not an image; the message has what to write.
    """
    refuse_others(ANALYZE, others)
    analyzer = _analyzer(
        options, detector=detector, classifier=classifier, emotions=emotions, prior=prior, keypoints=keypoints
    )
    return cast("_Analyze", analyzer.analyze)(images, on_error=on_error, video=video)


def classify(
    image: ImageSource | Frame,
    faces: Sequence[Face] | ArrayLike = MISSING,
    *,
    classifier: Classifier | ClassifierSource = None,
    emotions: Emotions | Collection[str] = None,
    prior: Prior | Mapping[str, float] | None = None,
    keypoints: bool | None = None,
    options: AnalyzerOptions | None = None,
    **others: Never,
) -> FrameResult:
    """Classifies faces of an image whose places are known, from another program or from `detect`.

    Args:
        image: One image, as for `Analyzer.analyze`.
        faces: Faces, or their boxes (N, 4) x0, y0, x1, y1 in pixels, as for `Analyzer.classify`.
        classifier: As for `Analyzer`.
        emotions: As for `Analyzer`.
        prior: As for `Analyzer`.
        keypoints: As for `Analyzer`.
        options: As for `Analyzer`.
        **others: There are none; the error has what to write.

    Returns:
        A `FrameResult` with the faces in the given order.

    Raises:
        InputError: The image cannot be read.
        ConfigError: There is no such model, or an option has a value that cannot be used.
        TypeError: There is no such argument, or one is something else; the message has what to write.
        ValueError: A box has no area, or lies outside the image.
    """
    refuse_others(CLASSIFY, others)
    return _analyzer(options, classifier=classifier, emotions=emotions, prior=prior, keypoints=keypoints).classify(
        image, faces
    )


def _analyzer(
    options: AnalyzerOptions | None,
    *,
    classifier: Classifier | ClassifierSource,
    emotions: Emotions | Collection[str],
    prior: Prior | Mapping[str, float] | None,
    keypoints: bool | None,
    detector: DetectorSource = None,
) -> Analyzer:
    """The analyzer of this thread that is made of these arguments."""
    parts: dict[str, Any] = {
        "detector": detector,
        "classifier": tuple(classifier) if isinstance(classifier, list) else classifier,
        "emotions": checked_emotions(emotions),
        "prior": None if prior is None else checked_prior(prior),
        "keypoints": keypoints,
    }
    return _kept(_cached.analyzer, Analyzer, checked_options(options), **parts)


def detect(
    image: ImageSource | Frame,
    *,
    min_score: float | None = None,
    detector: DetectorSource = None,
    keypoints: bool = False,
    **others: Never,
) -> list[Face]:
    """Finds the faces in an image, largest first, without their expressions.

    Args:
        image: One image, as for `Analyzer.analyze`.
        min_score: Leave out faces with a lower score; by default that of the options, 0.5, which is the operating
            point of each detector.
        detector: As for `Analyzer`.
        keypoints: As for `Analyzer`, with the default method; the five `landmarks` are then more exact where it
            is sure.
        **others: There are none; the error has what to write.

    Raises:
        InputError: The image cannot be read.
        TypeError: It is not an image, or several; the message has the conversion.
        ValueError: An array has another shape.
        ConfigError: There is no such detector, or an option has a value that cannot be used.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
    """
    refuse_others(DETECT, others)
    if not is_one(image):
        raise TypeError(f"detect takes one image, got {type(image).__name__}; call it for each, or use analyze")
    if min_score is not None:
        DetectorOptions(min_score=min_score)  # refuses other numbers
    if isinstance(detector, (str, Path)):
        detector = detectors.as_options(detector)
    if detector is not None and not isinstance(detector, DetectorOptions):
        check_ready("detector", detector, *DETECTOR)
    aligner = _kept(_cached.aligner, Aligner, detector or DetectorOptions())
    pixels = frame_of(image).image
    faces = aligner.find(pixels, min_score=min_score)
    if keypoints:
        faces = landmarks.with_keypoints(pixels, faces, aligner.landmarks(faces), _cached.landmarker())
    return list(faces)
