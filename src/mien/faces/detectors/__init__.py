"""The contract of face detectors, and their registry: every module in this folder is a detector.

To add one, write `<name>.py` here with `load`, which makes a `Detector` from `DetectorOptions`. There is no other list:
`names` reads the folder, and one conformance suite (tests/faces/test_detectors.py) runs over it. A detector whose
weights do not ship names their table in assets/remote.toml: `WEIGHTS = "<name>"`. A detector that ships with weights
and accepts others sets `TAKES_WEIGHTS = True`.
"""

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Annotated, Final, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, check_flag, check_fraction, meant
from mien.faces.boxes import areas
from mien.values import checked, path_of

__all__ = ["DEFAULT", "Detections", "Detector", "DetectorOptions", "FromOptions", "as_options", "load", "names"]

DEFAULT: Final = "mien"

# Names in other programs, and what to use here.
_ELSEWHERE: Final = {
    "dlib": "dlib's detector is hog; ",
    "opencv": "OpenCV's detectors are yunet and haar; ",
    "caffe": "OpenCV's Caffe network is ssd; ",
    "none": "for images that are cropped faces: whole-image; ",
    "skip": "for images that are cropped faces: whole-image; ",
}


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces found in one image.

    Attributes:
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels; may reach over the border of the image.
        scores: (N,) float32, 0-1; 0.5 is the detector's operating point.
        landmarks: (N, 5, 2) float32 x, y in pixels, in the order of `results.LANDMARKS`; None if the detector
            gives none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = np.size(self.scores)
        if not count and not np.size(self.boxes):  # of an image without faces, an empty list has lost its shape
            object.__setattr__(self, "boxes", np.empty((0, 4), np.float32))
            object.__setattr__(self, "scores", np.empty(0, np.float32))
            if self.landmarks is not None and not np.size(self.landmarks):
                object.__setattr__(self, "landmarks", np.empty((0, 5, 2), np.float32))
        for name, shape in {"boxes": (count, 4), "scores": (count,), "landmarks": (count, 5, 2)}.items():
            if name != "landmarks" or self.landmarks is not None:
                object.__setattr__(self, name, checked(getattr(self, name), shape, name))
        if count and not 0 <= self.scores.min() <= self.scores.max() <= 1:
            raise ValueError(f"scores: expected numbers 0-1, got {self.scores.tolist()}")
        if (self.boxes[:, 2:] <= self.boxes[:, :2]).any():
            raise ValueError(f"boxes: expected x0 < x1 and y0 < y1, got {self.boxes.tolist()}")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Self:
        """No faces."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32))

    def at_least(self, min_score: float, min_face: int | None = None) -> "Detections":
        """The faces with a score of `min_score` and a side (root of the area) of `min_face` or more, largest first."""
        area = areas(self.boxes)
        kept = np.flatnonzero((self.scores >= min_score) & (area >= (min_face or 0) ** 2))
        order = kept[np.argsort(-area[kept], kind="stable")]
        landmarks = None if self.landmarks is None else self.landmarks[order]
        return Detections(self.boxes[order], self.scores[order], landmarks)


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """The options of face detection; the command line derives its options and their help from these fields.

    Raises:
        ConfigError: An option has a value of another type or out of its range, or there is no detector of that name.
    """

    name: Annotated[str, "Face detector."] = DEFAULT
    weights: Annotated[Path | None, "A file with the detector's weights; by default the shipped or fetched file."] = (
        None
    )
    max_side: Annotated[int | None, "Long side, in pixels, to which larger images are downscaled."] = None
    min_face: Annotated[int | None, "Ignore faces whose side is smaller than this, in pixels."] = None
    min_score: Annotated[
        float, "Leave out faces with a lower score; 0.5 is the detector's operating point.", {"fraction": True}
    ] = 0.5
    any_rotation: Annotated[bool, "Also find faces on their side or upside down; takes four times as long."] = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            hint = f"choose one of {', '.join(names())}"
            if isinstance(self.name, os.PathLike):
                hint = "write DetectorOptions(weights=...) for a file of weights"
            raise ConfigError(f"name: expected the name of a detector, got {repr(self.name)[:80]}", hint=hint)
        if self.name not in names():
            near = _ELSEWHERE.get(self.name.lower()) or meant(self.name, names())
            raise ConfigError(f"there is no detector '{self.name}'", hint=f"{near}choose one of {', '.join(names())}")
        for option in ("min_face", "max_side"):
            value = getattr(self, option)
            if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
                hint = "for example 64"
                raise ConfigError(f"{option}: expected a whole number of pixels above 0, got {value!r}", hint=hint)
        check_fraction("min_score", self.min_score)
        check_flag("any_rotation", self.any_rotation)
        if self.weights is not None:
            object.__setattr__(self, "weights", path_of(self.weights, "weights"))


class Detector(Protocol):
    """Finds faces. One instance serves one thread at a time.

    A detector with files of weights has another attribute, `files`: the SHA-256 of each by its name, for records.

    Attributes:
        name: As in `names`.
    """

    name: str

    @property
    def mean_landmarks(self) -> NDArray[np.float32] | None:
        """(5, 2) float32: the mean place of the five landmarks in a box of this detector.

        From (0, 0) at the box's top left corner to (1, 1), in the order of `results.LANDMARKS`. None says that a box
        already is the crop of a face: such a detector does not search.
        """

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """Finds the faces in an image, largest box first.

        Args:
            image: (H, W, 3) uint8, RGB.
            min_score: Lowest score to report, 0-1.

        Raises:
            ValueError: The image has another shape or type.
        """


class FromOptions:
    """The base of detectors whose networks cannot be pickled: a copy is loaded from the options, with its weights.

    Attributes:
        options: Its options.
    """

    options: DetectorOptions

    def __reduce__(self) -> tuple[Callable[[DetectorOptions], Detector], tuple[DetectorOptions]]:
        return load, (self.options,)


def names() -> tuple[str, ...]:
    """The names of all detectors, the default first; `whole-image` is the module `whole_image`."""
    found = {module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)}
    return tuple(sorted(found, key=lambda name: (name != DEFAULT, name)))


def as_options(source: DetectorOptions | str | Path, base: DetectorOptions | None = None) -> DetectorOptions:
    """The options of a detector: given as they are, or `base` with another name or another file of weights.

    A `Path`, and text that ends with ".onnx", is the file of an exported detector of mien's.
    """
    if isinstance(source, DetectorOptions):
        return source
    base = base or DetectorOptions()
    if isinstance(source, Path) or source.endswith(".onnx"):
        return replace(base, name=DEFAULT, weights=Path(source))
    return replace(base, name=source)


def load(source: DetectorOptions | str = DEFAULT) -> Detector:
    """Loads a detector by its options or its name.

    Raises:
        ConfigError: There is no detector of that name, or it does not have an option that is set.
        UnsupportedError: An installed library cannot run it.
        WeightsError: Its weights are missing, damaged, or of another network.
    """
    options = as_options(source)
    module = importlib.import_module(f"{__name__}.{options.name.replace('-', '_')}")
    takes_weights = hasattr(module, "WEIGHTS") or getattr(module, "TAKES_WEIGHTS", False)
    if options.weights is not None and not takes_weights:
        raise ConfigError(
            f"the detector '{options.name}' does not use a weights file, got {options.weights}",
            hint="leave out the weights, or choose another detector",
        )
    return cast(Detector, module.load(options))
