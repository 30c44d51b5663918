"""The analyzer: frames in, results out. It knows detectors and classifiers, and no file format."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast, overload

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.expression import Classifier, load_classifier
from mien.faces import detectors
from mien.faces import rotations as turns
from mien.faces import tiling as strips
from mien.faces.crop import crop_faces, landmark_points
from mien.media import as_rgb, read_frame
from mien.results import Face, Frame, FrameResult

__all__ = ["Analyzer", "analyze", "detect"]

# A path ("-": standard input), the content of a image file, an open binary file, or pixels.
ImageSource = str | Path | bytes | BinaryIO | NDArray[np.uint8]

# A batch is closed early once the images kept for it hold this many pixels: memory stays flat.
_HELD_PIXELS: Final = 64_000_000


@dataclass(slots=True)
class _Pending:
    """A frame whose faces are found and not yet read."""

    result: FrameResult
    crops: Sequence[Sequence[NDArray[np.uint8]]]  # the faces, once for each crop_spec


class Analyzer:
    """Finds the faces of frames and reads their expressions, batched across faces and frames.

    One analyzer serves one thread at a time. Making one loads the weights; use it again.

    Args:
        model: Name of a shipped model, or path of an exported ONNX file; None for the default.
        detector: Name of a detector, or None for the default.
        detector_weights: File of the detector's network, where it takes one; None for the shipped ones, or those
            fetched by `mien models fetch`.
        detect_size: Long side, in pixels, at which larger images are searched; None leaves it to the detector.
        min_face: Side, in pixels, of the smallest face to report; None leaves it to the detector.
        any_turn: Find faces lying on their side or upside down too; takes four times as long.
        ensemble: Several models instead, whose votes are joined; see `mien.expression.Ensemble`.
        vote: Of an ensemble: "soft" (default) or "hard".
        emotions: 6, 7, 8 or 10 classes, or some of the model's by name; None for the eight, or for the model's own
            classes where it does not know these.
        min_score: Faces with a lower score are left out; 0.5 is each detector's operating point.
        faces_are_crops: Each frame is a cropped face already: no detector, one face a frame.
        abstain: 0-1; top probabilities under it are `uncertain`; None for the model's own threshold.
        keep_images: Results carry their frames' pixels, for drawing.
        batch_size: Faces that the network sees at once.
        threads: For the network.

    Raises:
        ConfigError: An option is none that exists.
        WeightsError: The weights of the model or the detector are missing or damaged.
        UnsupportedError: The detector cannot run here.
    """

    def __init__(
        self,
        *,
        model: str | Path | None = None,
        detector: str | None = None,
        detector_weights: str | Path | None = None,
        detect_size: int | None = None,
        min_face: int | None = None,
        any_turn: bool = False,
        ensemble: Sequence[str | Path] = (),
        vote: str | None = None,
        emotions: int | Sequence[str] | None = None,
        min_score: float = 0.5,
        faces_are_crops: bool = False,
        abstain: float | None = None,
        keep_images: bool = False,
        batch_size: int = 32,
        threads: int = 1,
    ) -> None:
        _check_share("min_score", min_score)
        if abstain is not None:
            _check_share("abstain", abstain)
        for name, count in {"batch_size": batch_size, "threads": threads}.items():
            if count < 1:
                raise ConfigError(f"{name}: expected a number from 1 on, found {count}")
        asked = (detector, detector_weights, detect_size, min_face)
        if faces_are_crops and (any_turn or any(value is not None for value in asked)):
            raise ConfigError(
                "faces that are cropped already need no detector", hint="leave out the detector, or faces_are_crops"
            )
        self.classifier: Classifier = load_classifier(
            model,
            ensemble,
            vote=vote,
            emotions=emotions,
            abstain=abstain,
            batch_size=batch_size,
            threads=threads,
        )
        self.detector = None if faces_are_crops else _load_detector(*asked)
        self.min_score = min_score
        self.any_turn = any_turn
        self.keep_images = keep_images
        self.batch_size = batch_size
        crop_specs = self.classifier.crop_specs
        self._crop_specs = [] if faces_are_crops else [info.crop_spec for info in crop_specs]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes, in the order of every probability."""
        return self.classifier.emotions

    # A path, an array and a list can be iterated too: of the overloads the first that fits holds.
    @overload
    def analyze(self, images: ImageSource | Frame) -> FrameResult: ...  # type: ignore[overload-overlap]
    @overload
    def analyze(self, images: list[Any] | tuple[Any, ...]) -> list[FrameResult]: ...  # type: ignore[overload-overlap]
    @overload
    def analyze(self, images: Iterable[Any]) -> Iterator[FrameResult]: ...
    def analyze(self, images: Any) -> FrameResult | list[FrameResult] | Iterator[FrameResult]:
        """Reads one image, a list of them, or as many as a generator gives.

        Args:
            images: A path, an open binary file, a file's content as bytes, a frame, or an array (H, W) grey,
                (H, W, 3) RGB or (H, W, 4) RGBA, uint8. Or several of those: a list or a tuple, or a generator or
                another iterable, which is read as its results are asked for.

        Returns:
            A result; for a list or a tuple a list of them; for a generator an iterator, in constant memory.

        Raises:
            InputError: A image cannot be read. To go on with the others, use `mien.media.read_frames` and `stream`.
            ValueError: An array has another shape.
            TypeError: An array has another type, or this is none of the above.
        """
        if _is_one(images):
            return next(self.stream([_frame(images)]))
        if not isinstance(images, Iterable):
            raise TypeError(f"images: expected a path, an array, or several of them, got {type(images).__name__}")
        results = self.stream(map(_frame, images))
        return list(results) if isinstance(images, (list, tuple)) else results

    def stream(self, frames: Iterable[Frame | FrameResult]) -> Iterator[FrameResult]:
        """Reads frames as they come, in their order, in constant memory.

        A `FrameResult` among them (a image that could not be read) is passed through.
        """
        waiting: list[_Pending] = []
        for frame in frames:
            waiting.append(self._find(frame))
            crops = sum(len(item.result) for item in waiting)
            pixels = sum(item.result.width * item.result.height for item in waiting)
            held = pixels if self.keep_images or self.detector is None else 0
            if crops >= self.batch_size or len(waiting) >= self.batch_size or held >= _HELD_PIXELS:
                yield from self._read(waiting)
                waiting = []
        yield from self._read(waiting)

    def _find(self, frame: Frame | FrameResult) -> _Pending:
        if isinstance(frame, FrameResult):
            return _Pending(frame, [[] for _ in self.classifier.crop_specs])
        image = frame.image
        height, width = image.shape[:2]
        if self.detector is None:
            faces: list[Face] = [Face(np.array([0, 0, width, height], np.float32), 1.0)]
            crops: list[list[NDArray[np.uint8]]] = [[image] for _ in self.classifier.crop_specs]
        else:
            faces = _faces(self.detector, image, self.min_score, any_turn=self.any_turn)
            mean_landmarks = self.detector.mean_landmarks
            points = [landmark_points(face.box, face.landmarks, mean_landmarks) for face in faces]
            crops = [list(crop_faces(image, points, crop_spec)) for crop_spec in self._crop_specs]
        result = FrameResult(
            source=frame.source,
            frame=frame.index,
            timestamp=frame.timestamp,
            width=width,
            height=height,
            faces=tuple(faces),
            image=image if self.keep_images else None,
            note=frame.note,
        )
        return _Pending(result, crops)

    def _read(self, waiting: Sequence[_Pending]) -> Iterator[FrameResult]:
        framed = [
            [crop for item in waiting for crop in item.crops[place]] for place in range(len(self.classifier.crop_specs))
        ]
        expressions = iter(self.classifier.expressions(self.classifier.predict_proba_of_crops(framed)))
        for item in waiting:
            faces = tuple(replace(face, expression=next(expressions)) for face in item.result.faces)
            yield replace(item.result, faces=faces)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open; the `with` statement is welcome all the same."""


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:  # also refuses nan
        raise ConfigError(f"{name}: expected a number 0-1, found {value}")


def _is_one(images: object) -> bool:
    """Whether this is a single image; an open file could be iterated too, by lines."""
    return isinstance(images, (str, Path, bytes, np.ndarray, Frame)) or hasattr(images, "read")


def _frame(image: ImageSource | Frame) -> Frame:
    if isinstance(image, Frame):
        return image
    if isinstance(image, (str, Path, bytes)) or hasattr(image, "read"):
        return read_frame(cast("str | Path | bytes | BinaryIO", image))
    return Frame(as_rgb(image))


def _faces(
    detector: detectors.Detector, image: NDArray[np.uint8], min_score: float, *, any_turn: bool = False
) -> list[Face]:
    search = turns.detect if any_turn else strips.detect
    found = search(detector, image, min_score=min_score)
    points = found.landmarks if found.landmarks is not None else [None] * len(found)
    return [
        Face(box, float(score), landmarks)
        for box, score, landmarks in zip(found.boxes, found.scores, points, strict=True)
    ]


def _load_detector(
    name: str | None, weights: str | Path | None, max_side: int | None = None, min_face: int | None = None
) -> detectors.Detector:
    file = None if weights is None else Path(weights)
    options = detectors.DetectorOptions(min_face=min_face, max_side=max_side, weights=file)
    return detectors.load(name or detectors.DEFAULT, options)


class _Kept(threading.local):
    """The last few analyzers and detectors of each thread: those of dlib and OpenCV serve one thread at a time."""

    def __init__(self) -> None:
        self.analyzer = lru_cache(maxsize=4)(Analyzer)
        self.detector = lru_cache(maxsize=4)(_load_detector)


_kept = _Kept()


@overload
def analyze(images: ImageSource, **options: Any) -> FrameResult: ...
@overload
def analyze(images: list[Any] | tuple[Any, ...], **options: Any) -> list[FrameResult]: ...
@overload
def analyze(images: Iterable[Any], **options: Any) -> Iterator[FrameResult]: ...
def analyze(images: Any, **options: Any) -> FrameResult | list[FrameResult] | Iterator[FrameResult]:
    """Finds the faces in a image, or in several, and reads their emotions.

    Args:
        images: A path, an open binary file, a file's content as bytes, or an array (H, W) grey, (H, W, 3) RGB or
            (H, W, 4) RGBA uint8; or a list or a generator of those.
        options: As for `Analyzer`. Each thread keeps its last few analyzers, so that calling again is quick.

    Returns:
        A `FrameResult`, which is a sequence of `Face`s; a list of them for a list, and an iterator for a generator,
        whose images are read as the results are asked for.

    Raises:
        InputError: A image cannot be read.
        ConfigError: An option is none that exists.
    """
    # What is kept is found by its options, which lists cannot be.
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    results: FrameResult | list[FrameResult] | Iterator[FrameResult] = _kept.analyzer(**options).analyze(images)
    return results


def detect(
    image: ImageSource,
    *,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    detect_size: int | None = None,
    min_face: int | None = None,
    any_turn: bool = False,
    min_score: float = 0.5,
) -> list[Face]:
    """Finds the faces in a image, largest first, without reading their emotions.

    Args:
        image: A path, an open binary file, a file's content as bytes, or an array (H, W) grey, (H, W, 3) RGB or
            (H, W, 4) RGBA uint8.
        detector: Name of a detector, or None for the default.
        detector_weights: As for `Analyzer`.
        detect_size: As for `Analyzer`.
        min_face: As for `Analyzer`.
        any_turn: As for `Analyzer`.
        min_score: Faces with a lower score are left out; 0.5 is each detector's operating point.

    Raises:
        InputError: The image cannot be read.
        ConfigError: There is no such detector.
        UnsupportedError: The detector cannot run here.
        WeightsError: Its weights are missing or damaged.
    """
    _check_share("min_score", min_score)
    finder = _kept.detector(detector, detector_weights, detect_size, min_face)
    return _faces(finder, _frame(image).image, min_score, any_turn=any_turn)
