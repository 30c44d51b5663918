"""The contract of face detectors, and the registry: every module in this folder is a detector.

To add one, write `<name>.py` here with a function `load(options: DetectorOptions) -> Detector`. Nothing keeps
a list: `names` reads the folder, and one conformance suite (tests/faces/test_detectors.py) runs over it.
A detector whose weights do not ship names their table in assets/fetchable.toml: `WEIGHTS = "<name>"`; one that ships
with some and takes others says `TAKES_WEIGHTS = True`.
"""

import importlib
import pkgutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError

__all__ = ["DEFAULT", "Detections", "Detector", "DetectorOptions", "load", "names"]

DEFAULT: Final = "mien"


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces found in one image.

    Attributes:
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels; may reach over the image's border.
        scores: (N,) float32, 0-1; 0.5 is the detector's operating point.
        landmarks: (N, 5, 2) float32 x, y in pixels, in the order of `results.LANDMARKS`; None if the detector
            gives none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = np.size(self.scores)
        shapes = {"boxes": (count, 4), "scores": (count,), "landmarks": (count, 5, 2)}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "landmarks":
                continue
            array = np.array(value, np.float32)
            if array.shape != shapes[field.name]:
                raise ValueError(f"{field.name}: expected shape {shapes[field.name]}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{field.name}: expected finite numbers, got {array.tolist()}")
            array.flags.writeable = False
            object.__setattr__(self, field.name, array)
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
        areas = np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        kept = np.flatnonzero((self.scores >= min_score) & (areas >= (min_face or 0) ** 2))
        order = kept[np.argsort(-areas[kept], kind="stable")]
        landmarks = None if self.landmarks is None else self.landmarks[order]
        return Detections(self.boxes[order], self.scores[order], landmarks)


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What a user may set; each detector documents its defaults.

    Attributes:
        min_face: Side of the smallest face to look for, in pixels of the image; None leaves it to the detector.
        max_side: Long side, in pixels, at which a larger image is searched; None leaves it to the detector.
            Faces that are then smaller than the detector can see are missed.
        weights: File (or folder) of the detector's network, for a detector whose weights do not ship; None takes
            those that `mien models fetch` brought.
    """

    min_face: int | None = None
    max_side: int | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        for name in ("min_face", "max_side"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: expected a number of pixels above 0, got {value}")


class Detector(Protocol):
    """Finds faces. One instance serves one thread at a time.

    Attributes:
        name: As in `names`.
        mean_landmarks: (5, 2) float32: where the five landmarks typically lie inside a box of this detector, from
            (0, 0) at its top left corner to (1, 1), in the order of `results.LANDMARKS`.
    """

    name: str
    mean_landmarks: NDArray[np.float32]

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """Finds the faces in a image, largest box first.

        Args:
            image: (H, W, 3) uint8, RGB.
            min_score: Lowest score to report, 0-1.

        Raises:
            ValueError: The image has another shape or type.
        """


def names() -> tuple[str, ...]:
    """The names of all detectors, the default first."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return tuple(sorted(found, key=lambda name: (name != DEFAULT, name)))


def load(name: str = DEFAULT, options: DetectorOptions | None = None) -> Detector:
    """Makes the detector of that name ready for use.

    Raises:
        ConfigError: There is no detector of that name, or it takes no weights and was given some.
        UnsupportedError: An installed library cannot run it.
        WeightsError: Its weights are missing, damaged, or another network's.
    """
    if name not in names():
        raise ConfigError(f"there is no detector '{name}'", hint=f"choose one of {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    options = options or DetectorOptions()
    takes = hasattr(module, "WEIGHTS") or getattr(module, "TAKES_WEIGHTS", False)
    if options.weights is not None and not takes:
        raise ConfigError(f"the detector '{name}' takes no weights, got {options.weights}", hint="leave them out")
    return cast(Detector, module.load(options))
