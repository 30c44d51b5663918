"""The class `Analyzer`: finds the faces of frames, follows them, crops them and classifies them, in batches."""

import functools
import math
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, Never, Self, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.analyzer.arguments import (
    ANALYZER,
    CLASSIFIER,
    DETECTOR,
    METHOD,
    METHOD_OF_FACES,
    MISSING,
    check_frame,
    check_makers,
    check_ready,
    check_video,
    checked_options,
    known_faces,
    named_video,
    refuse_others,
)
from mien.analyzer.options import AnalyzerOptions, DetectorSource
from mien.analyzer.stages import PerSource, Smoother, Tracker, smoothed
from mien.errors import ConfigError, InputError
from mien.expression import Ensemble, OnnxClassifier, load_classifier
from mien.expression.base import NAMED, Classifier, ClassifierOptions, ClassifierSource, Emotions, checked_emotions
from mien.expression.base import as_options as classifier_options
from mien.expression.observation import Observation, Windows
from mien.expression.prior import AUTO, Prior
from mien.expression.smoothing import SECONDS, TrackSmoother
from mien.faces import detectors, landmarks
from mien.faces.align import Aligner, CropAligner
from mien.faces.detectors import Detector, DetectorOptions
from mien.faces.keypoints import COUNTS, as_scheme
from mien.faces.landmarks import Landmarker
from mien.faces.tracking import FaceTracker
from mien.media import (
    LIVE_DELAY,
    FrameSource,
    ImageItem,
    ImageSource,
    OnError,
    VideoOptions,
    check_on_error,
    frame_of,
    frames_of,
    is_one,
    open_frames,
    open_video,
    source_of,
)
from mien.media.feed import Feed
from mien.results import Expression, Face, Frame, FrameResult

# For each of the crop specs of the classifier, what it gets of the faces of a frame.
Crops = tuple[Sequence[NDArray[np.uint8]] | Sequence[Observation], ...]

# A batch is closed early when the images kept for it have this many pixels: memory stays flat.
_HELD_PIXELS: Final = 64_000_000


def _analyzing(options: ClassifierOptions) -> ClassifierOptions:
    """Options of a classifier, with the analyzer's own prior if they give none."""
    return replace(options, prior=options.prior or AUTO)


def _or_error(frames: Iterator[Frame | FrameResult]) -> Iterator[Frame | FrameResult]:
    """The frames of one source, which raises if it gives nothing but an error: it could not be opened.

    Raises:
        InputError: With the first frame.
    """
    first = next(frames, None)
    if first is None:
        return
    if isinstance(first, FrameResult) and first.error is not None:
        second = next(frames, None)
        if second is None:
            raise InputError(first.error)
        yield first
        yield second
    else:
        yield first
    yield from frames


@dataclass(slots=True)
class _Pending:
    """A frame whose faces are found and not yet classified."""

    result: FrameResult
    crops: Crops = ()
    due: float = math.inf  # when it must be classified


def _own(frame: Frame | FrameResult) -> Frame | FrameResult:
    """A frame whose pixels are its own: those of the caller may be overwritten by the next frame."""
    return replace(frame, image=frame.image.copy()) if isinstance(frame, Frame) else frame


class Analyzer:
    """Finds the faces of frames and classifies their expressions, batched across faces and frames.

    One analyzer serves one thread at a time. Making one loads the weights; use it again. An analyzer can be pickled,
    for example for a pool of processes: it is made again from its options and the ready objects that it was given.

    Args:
        options: The options; the other arguments replace parts of them.
        detector: Name of a detector, the file of an exported one, its options, or a ready object.
        classifier: Name of a shipped model, the path of an exported ONNX file, several of them for an ensemble ("A,B"
            or a sequence), options, or a ready object. None for the default, the vote of two networks; the frames of
            videos and cameras are then classified by one of them, in less time.
        tracker: Makes a tracker for each source: a class or another callable. By default frames with a time, those of
            videos and cameras, are tracked by `FaceTracker` and smoothed by `TrackSmoother`.
        smoother: Makes a smoother for each source: a class or another callable.
        emotions: 6, 7, 8 or 10 classes; or two or more of the model's by name or alias, as in ["happy", "sad"]: their
            probabilities are the model's, renormalised over these; "model" for the classes of its first head.
        prior: The class frequencies that probabilities assume: "training", "soft", "uniform", "auto", a file, or a
            share for each class; see `mien.expression.prior`. By default "auto": soft if the model knows its shares.
        keypoints: Whether to find dense keypoints, the head pose and measures of each face; None: as the options say.
        **others: There are none; the error has what to write.

    Attributes:
        options: The options, with the other arguments applied.
        detector: The detector.
        classifier: The classifier of images, and of videos if a classifier was chosen.
        landmarker: Finds the keypoints; None without keypoints.

    Raises:
        ConfigError: There is no such detector or model, or an option has a value that cannot be used.
        TypeError: An argument is something else, or there is no such argument; the message has what to write.
        WeightsError: The weights of the model or the detector are missing or damaged.
        UnsupportedError: The detector cannot run here.
    """

    def __init__(
        self,
        options: AnalyzerOptions | None = None,
        *,
        detector: DetectorSource = None,
        classifier: Classifier | ClassifierSource = None,
        tracker: Callable[[], Tracker] | None = None,
        smoother: Callable[[], Smoother] | None = None,
        emotions: Emotions | Collection[str] = None,
        prior: Prior | Mapping[str, float] | None = None,
        keypoints: bool | None = None,
        **others: Never,
    ) -> None:
        refuse_others(ANALYZER, others)
        check_makers(tracker=tracker, smoother=smoother)
        options = checked_options(options) or AnalyzerOptions()
        if keypoints is not None:
            options = replace(options, keypoints=keypoints)
        made: dict[str, Any] = {"tracker": tracker, "smoother": smoother}
        if isinstance(detector, (str, Path, DetectorOptions)):
            options = replace(options, detector=detectors.as_options(detector, options.detector))
            detector = None
        if not isinstance(classifier, NAMED):
            check_ready("classifier", classifier, *CLASSIFIER)
        if isinstance(classifier, NAMED):
            if classifier is not None:
                options = replace(options, classifier=classifier_options(classifier, options.classifier))
            if emotions is not None:
                options = replace(options, classifier=replace(options.classifier, emotions=cast(Emotions, emotions)))
            if prior is not None:
                options = replace(options, classifier=replace(options.classifier, prior=prior))
            self.classifier: Classifier = load_classifier(_analyzing(options.classifier))
        elif prior is not None:
            raise ConfigError(
                "prior: has no effect on a ready classifier",
                hint="give it to the classifier: ClassifierOptions(prior=)",
            )
        else:
            self.classifier = classifier if emotions is None else classifier.with_classes(checked_emotions(emotions))
            made["classifier"] = self.classifier
        if detector is not None:
            check_ready("detector", detector, *DETECTOR)
            made["detector"] = detector
        self.options = options
        self._made_from = made
        self.detector: Detector = detectors.load(options.detector) if detector is None else detector
        crop_aligner = self._crop_aligner() if self.detector.mean_landmarks is None and options.align else None
        crop_specs = () if self.detector.mean_landmarks is None else self.classifier.crop_specs
        self.landmarker: Landmarker | None = landmarks.load(options.landmarks) if options.keypoints else None
        align: bool | Landmarker = options.align
        if align and self.landmarker is not None and self.landmarker.name == landmarks.DEFAULT:
            align = self.landmarker  # one network finds the keypoints and aligns
        self._aligner = Aligner(
            self.detector, crop_specs, options=options.detector, crop_aligner=crop_aligner, align=align
        )
        self._points_of = self._points_source()
        self._tracker, self._smoother = tracker, smoother

    def __repr__(self) -> str:
        named = (getattr(each, "name", type(each).__name__) for each in (self.detector, self.classifier))
        detector, classifier = named
        return f"Analyzer(detector={detector!r}, classifier={classifier!r}, emotions={self.emotions})"

    def __reduce__(self) -> tuple[Callable[..., "Analyzer"], tuple[AnalyzerOptions]]:
        return functools.partial(type(self), **self._made_from), (self.options,)

    def _crop_aligner(self) -> CropAligner | None:
        """Aligns images that are cropped faces; None for a model that does not know how its faces were cropped.

        Such a model can still classify crops.
        """
        try:
            return CropAligner(self.classifier.crop_specs)
        except ConfigError:
            return None

    @property
    def given(self) -> Mapping[str, object]:
        """The ready objects that it was given, by the names of the arguments: no options made them."""
        return {name: each for name, each in self._made_from.items() if each is not None}

    @property
    def landmarkers(self) -> tuple[Landmarker, ...]:
        """What finds the keypoints, the landmarks that faces are aligned by, and the points that a classifier reads."""
        aligner = self._aligner.crop_aligner.landmarker if self._aligner.crop_aligner else self._aligner.landmarker
        found = (self.landmarker, aligner, self._points_of)
        return tuple({id(each): each for each in found if each is not None}.values())

    @functools.cached_property
    def video_classifier(self) -> Classifier:
        """The classifier of videos and cameras: `classifier`, or one network of the vote that is the default."""
        alone = self.options.classifier.for_videos()
        if "classifier" in self._made_from or alone is self.options.classifier:
            return self.classifier
        members = self.classifier.members if isinstance(self.classifier, Ensemble) else ()
        opened = (member.opened for member in members if member.name == alone.model)
        return OnnxClassifier(_analyzing(alone), opened=next(opened, None))

    def _crops(self, frame: Frame, faces: tuple[Face, ...]) -> tuple[Sequence[NDArray[np.uint8]], ...]:
        """The crops of some faces of a frame, as the classifier of such frames takes them."""
        own = frame.timestamp is None or self.video_classifier is self.classifier
        return self._aligner.crop(frame.image, faces, None if own else self.video_classifier.crop_specs)

    def _points_source(self) -> Landmarker | None:
        """Finds the keypoints that the classifier reads; None if it reads none.

        Raises:
            ConfigError: The method finds other keypoints.
        """
        scheme = self.classifier.keypoint_scheme
        if scheme is None:
            return None
        landmarker = self.landmarker or landmarks.load(self.options.landmarks)
        if as_scheme(np.empty((COUNTS.get(landmarker.scheme, 0), 2), np.float32), landmarker.scheme, scheme) is None:
            raise ConfigError(
                f"the model '{self.classifier.name}' reads keypoints of the scheme {scheme}, the method "
                f"'{landmarker.name}' finds {landmarker.scheme}",
                hint="choose another method for the keypoints, or another --model",
            )
        return landmarker

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes, in the order of every probability."""
        return self.classifier.emotions

    # A path, an array and a list can be iterated too: the first overload that fits counts. Whether a path is a video is
    # not known to the type checker: with `video` it is one.
    @overload
    def analyze(  # type: ignore[overload-overlap]
        self, images: ImageSource | Frame, *, on_error: OnError | None = ...
    ) -> FrameResult: ...
    @overload
    def analyze(  # type: ignore[overload-overlap]
        self, images: Collection[ImageItem], *, on_error: OnError | None = ...
    ) -> list[FrameResult]: ...
    @overload
    def analyze(
        self,
        images: str | PathLike[str] | Iterable[ImageItem],
        *,
        on_error: OnError | None = ...,
        video: VideoOptions | None = ...,
    ) -> Generator[FrameResult]: ...
    def analyze(
        self,
        images: ImageSource | Frame | Iterable[ImageItem],
        *,
        on_error: OnError | None = None,
        video: VideoOptions | None = None,
        **others: Never,
    ) -> FrameResult | list[FrameResult] | Generator[FrameResult]:
        """Analyzes one image, a video, a camera, a list of images, or the images of a generator.

        Args:
            images: A path, a file's content as bytes, an open binary file, a PIL image, a frame, or an array or tensor
                in the memory of the processor: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8. Or several of
                those: a list or another collection, or a generator or another iterable, which is read when its results
                are requested. Or the path of a video or of an animated GIF or WebP image, `camera:0`, or the URL of a
                stream.
            on_error: What becomes of an image that cannot be read, or of a damaged part of a video: "result" gives a
                result with its `error` in its place; "raise" raises the exception, after the results before it. By
                default a single image, and a video that cannot be opened, raise, and one of several is a result.
            video: Which frames of a video are analyzed. With it, the answer for a path is always an iterator; an image
                gives its one result.
            **others: There are none; the error has what to write.

        Returns:
            A result; for a collection a list of results; for a generator, a video and a camera an iterator, in constant
            memory. Its `close()` stops the analysis and closes the file or the camera.

        Raises:
            InputError: A single image cannot be read, or a video or camera not be opened (with the first result that is
                requested), without `on_error="result"`; or one of several, with `on_error="raise"`.
            ConfigError: `on_error` has another value.
            ValueError: An array has another shape.
            TypeError: `images`, or an item of a collection, is none of the above; the message has the conversion.
        """
        refuse_others(METHOD, others)
        check_video(video)
        if on_error is not None:
            check_on_error(on_error)
        among = on_error or "result"
        frames = images if isinstance(images, FrameSource) else open_video(images, video)
        if frames is None and video is not None:
            frames = open_frames([named_video(images)], options=video)
        if frames is not None:
            found = frames_of(iter(frames), among)
            alone = frames is not images and len(frames.items) == 1 and on_error != "result"
            delay = LIVE_DELAY if frames.is_live else None
            return self._stream(_or_error(found) if alone else found, delay, kept=True)
        if is_one(images):
            return self._one(cast("ImageSource | Frame", images), on_error)
        several = frames_of(cast("Iterable[ImageItem]", images), among)
        results = self._stream(several, None, kept=isinstance(images, Collection))
        return list(results) if isinstance(images, Collection) else results

    def _one(self, image: ImageSource | Frame, on_error: OnError | None) -> FrameResult:
        """The result of a single image, which has nothing to follow."""
        try:
            frame = frame_of(image)
        except InputError as error:
            if on_error != "result":
                raise
            return FrameResult(source_of(image), error=str(error))
        result = next(self.stream([replace(frame, timestamp=None)]))
        return replace(result, timestamp=frame.timestamp)

    def classify(
        self, image: ImageSource | Frame, faces: Sequence[Face] | ArrayLike = MISSING, **others: Never
    ) -> FrameResult:
        """Classifies faces of an image whose places are known, from another program or from `detect`.

        The detector does not run. A box is where to look: its face is aligned by the landmark network where that is
        sure, so that boxes may be looser, tighter or off by a seventh of the face.

        Args:
            image: One image, as for `analyze`.
            faces: Faces, or their boxes: (N, 4), or (4,) for a single one, x0, y0, x1, y1 in pixels.
            **others: There are none; the error has what to write.

        Returns:
            A result with the faces in the given order. A box has the score 1; what else a face had, such as its track,
            stays.

        Raises:
            InputError: The image cannot be read.
            TypeError: `image` or `faces` is something else; the message has what to write.
            ValueError: A box has no area, or lies outside the image.
        """
        refuse_others(METHOD_OF_FACES, others)
        if not is_one(image):
            raise TypeError(f"classify takes one image, got {type(image).__name__}; call it for each")
        if faces is MISSING:
            raise TypeError(
                "classify needs the places of the faces; write classify(image, faces=boxes), or use analyze"
            )
        frame = frame_of(image)
        known = known_faces(faces, frame.image.shape[1], frame.image.shape[0])
        result = next(self.stream([replace(frame, timestamp=None, faces=known)]))
        return replace(result, timestamp=frame.timestamp)

    def stream(self, frames: Iterable[Frame | FrameResult], max_delay: float | None = None) -> Generator[FrameResult]:
        """Analyzes frames as they come, in their order, in constant memory.

        A `FrameResult` in the source (an image that could not be read) is passed on in its place.

        Args:
            frames: The source. Frames of one video or camera have the same `source` and rising `index` or `timestamp`:
                they share a tracker and a smoother. Frames of another source end those of the one before, so that each
                camera needs a stream of its own. Pixels may be overwritten when the next frame is asked for. A frame
                that has `faces` keeps them: nothing is detected or followed in it.
            max_delay: The longest time, in seconds, that a frame waits for others of its batch; 0 analyzes every frame
                at once; None waits until the batch is full. The delay of a smoother is added: by default 0.3 s, and
                none if a `max_delay` is given.

        Raises:
            ConfigError: `max_delay` is below 0.
            TypeError: An item is no frame; the message has what to write.
        """
        if max_delay is not None and not max_delay >= 0:  # also refuses nan
            raise ConfigError(f"max_delay: expected a number of seconds from 0, got {max_delay}")
        return self._stream(frames, max_delay, kept=isinstance(frames, FrameSource))

    def _stream(
        self, frames: Iterable[Frame | FrameResult], max_delay: float | None, *, kept: bool
    ) -> Generator[FrameResult]:
        """The results of frames; `kept`: their pixels do not change while they wait."""
        delay = None if max_delay is None else 0.0
        results = self._classified(self._batches(frames, math.inf if max_delay is None else max_delay, kept=kept))
        if self._smoother is not None:
            return smoothed(results, PerSource(self._smoother), images=True)
        if not self.smooths:
            return results
        return smoothed(results, PerSource(functools.partial(self.new_smoother, delay)), images=False)

    @property
    def smooths(self) -> bool:
        """Whether the options smooth the probabilities of a video."""
        return self.options.tracking.smooth != 0

    def new_tracker(self) -> Tracker:
        """A tracker for a video, by the options. A box that is the whole image needs no detector."""
        return FaceTracker(1 if self._aligner.boxes_are_crops else self.options.tracking.detect_every)

    def new_smoother(self, delay: float | None = None) -> Smoother:
        """A smoother for a video, by the options; `delay` as for `TrackSmoother`."""
        seconds = self.options.tracking.smooth
        seconds = SECONDS if seconds is None else seconds
        return TrackSmoother(seconds, delay, threshold=self.video_classifier.threshold)

    def _batches(
        self, frames: Iterable[Frame | FrameResult], max_delay: float, *, kept: bool
    ) -> Iterator[list[_Pending]]:
        """Frames with their faces found, tracked and cropped, in batches; `kept`: nobody changes their pixels."""
        tracking = PerSource(self._tracker or self.new_tracker)
        windows = PerSource(functools.partial(Windows, self.classifier.frames))
        holds_images = self.options.keep_images or self._aligner.boxes_are_crops
        batch: list[_Pending] = []
        threaded = 0 < max_delay < math.inf
        taken = _own if (holds_images or threaded) and not kept else None
        with Feed(frames, threaded=threaded, taken=taken) as feed:
            while True:
                try:
                    got = feed.get(batch[0].due - time.monotonic() if batch and max_delay < math.inf else None)
                    if got is not None:
                        check_frame(got[0])
                except StopIteration:
                    break
                except Exception:
                    yield batch  # what came before is complete
                    raise
                if got is not None:
                    pending = self._found(got[0], tracking, windows)
                    pending.due = got[1] + max_delay
                    batch.append(pending)
                crops = sum(len(item.result) for item in batch)
                held = holds_images * sum(item.result.width * item.result.height for item in batch)
                full = max(crops, len(batch)) >= self.options.classifier.batch_size or held >= _HELD_PIXELS
                if full or time.monotonic() >= batch[0].due:
                    yield batch
                    batch = []
        yield batch

    def _found(self, frame: Frame | FrameResult, tracking: PerSource[Tracker], windows: PerSource[Windows]) -> _Pending:
        """One frame with its faces found, tracked and cropped."""
        if isinstance(frame, FrameResult):
            return _Pending(frame)
        image = frame.image
        if frame.faces is not None:
            known = self._aligner.refined(image, frame.faces)
            return self._pending(frame, self._aligner.refined(image, known), windows)  # the second is steadier
        still = self._tracker is None and frame.timestamp is None  # an image
        if still:
            faces = self._aligner.find(image)
        else:
            tracker, _ = tracking.at(frame.source, frame.index, frame.timestamp)
            found = self._aligner.find(image) if tracker.needs_detection(frame) else None
            faces = tuple(tracker.update(frame, None if found is None else self._aligner.refined(image, found)))
        if self.options.largest_only:
            faces = faces[:1]
        if still and self._aligner.landmarker is not self.landmarker:  # else the keypoints align
            faces = self._aligner.refined(image, faces)
        return self._pending(frame, faces, windows)

    def _pending(self, frame: Frame, faces: tuple[Face, ...], windows: PerSource[Windows]) -> _Pending:
        """One frame with these faces, cropped and with their keypoints, ready to be classified."""
        image = frame.image
        if self.landmarker is not None:
            points, align = self._aligner.landmarks(faces), self.options.align
            faces = landmarks.with_keypoints(image, faces, points, self.landmarker, align=align)
        result = FrameResult(
            source=frame.source,
            frame=frame.index,
            timestamp=frame.timestamp,
            width=image.shape[1],
            height=image.shape[0],
            faces=faces,
            image=image if self.options.keep_images else None,
            note=frame.note,
        )
        return _Pending(result, self._seen(frame, faces, windows))

    def _seen(self, frame: Frame, faces: tuple[Face, ...], windows: PerSource[Windows]) -> Crops:
        """What the classifier gets of the faces of a frame: their crops, or windows of them, with keypoints."""
        crops, scheme = self._crops(frame, faces), self.classifier.keypoint_scheme
        if scheme is None and self.classifier.frames == 1:
            return crops
        points = None
        if self._points_of is not None and scheme is not None and faces:
            if faces[0].keypoints is None:
                faces = landmarks.with_keypoints(frame.image, faces, self._aligner.landmarks(faces), self._points_of)
            found = np.stack([cast(NDArray[np.float32], face.keypoints) for face in faces])
            points = as_scheme(found, self._points_of.scheme, scheme)
        if frame.timestamp is None:
            return Windows(1).update(faces, crops, points)
        window, _ = windows.at(frame.source, frame.index, frame.timestamp)
        return window.update(faces, crops, points)

    def _classified(self, batches: Iterable[list[_Pending]]) -> Generator[FrameResult]:
        """The frames of batches with the expressions of their faces."""
        for batch in batches:
            stills = self._expressions([item for item in batch if item.result.timestamp is None], video=False)
            moving = self._expressions([item for item in batch if item.result.timestamp is not None], video=True)
            for item in batch:
                expressions = stills if item.result.timestamp is None else moving
                if not item.crops or not item.result.faces:
                    yield item.result
                    continue
                faces = tuple(replace(face, expression=next(expressions)) for face in item.result.faces)
                yield replace(item.result, faces=faces)

    def _expressions(self, items: Sequence[_Pending], *, video: bool) -> Iterator[Expression]:
        """The expressions of the faces of some frames, in their order."""
        kinds = max((len(item.crops) for item in items), default=0)
        crops = [[crop for item in items if item.crops for crop in item.crops[kind]] for kind in range(kinds)]
        if not any(crops):
            return iter(())
        return iter((self.video_classifier if video else self.classifier)(*crops))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Does nothing: an analyzer holds nothing open."""
