"""A network's inputs and outputs: their names, shapes and meaning."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

# A detector's cells have these strides, in this order. Each cell holds a score (logit), a box (centre x, y; logarithm
# of width, height) and five points (x, y), in units of the stride, relative to the middle of the cell.
STRIDES: Final = (8, 16, 32)
CELL_VALUES: Final = 1 + 4 + 10

Illumination = Literal["none", "plane"]
Shape = tuple[int | None, ...]  # None: any size
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, eq=False)
class CropSpec:
    """Size of a face crop, and where the face's landmarks lie in it.

    Attributes:
        size: Side of the square crop in pixels.
        points: (5, 2) float32 x, y in pixels of the crop, in the order of `results.LANDMARKS`.
        grey: Whether the crop has the luminance alone: what a network for grey images reads takes a third of the time.
    """

    size: int
    points: NDArray[np.float32]
    grey: bool = False

    def resized(self, size: int) -> "CropSpec":
        """The same crop at another size, in colour, for images that are kept."""
        return CropSpec(size, (self.points / self.size * size).astype(np.float32))

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: expected a number of pixels above 0, got {self.size}")
        object.__setattr__(self, "points", five_points(self.points))


def five_points(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only float32 copy of five finite points.

    Raises:
        ValueError: The shape is not (5, 2), or a number is not finite.
    """
    points = np.array(value, np.float32)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"points: expected (5, 2) finite numbers, got {points.shape} {points.tolist()}")
    points.flags.writeable = False
    return points


@dataclass(frozen=True)
class InputSpec:
    """The form of a network's images: square, (value / 255 - mean) / std.

    Attributes:
        size: Side in pixels.
        channels: "grey" (one channel) or "rgb".
        mean: One number for each channel, for values 0-1.
        std: One number for each channel.
        illumination: How the illumination is normalised before mean and std: "none", or "plane": the histogram is
            equalised, the best-fitting plane is subtracted, and the image is scaled to unit variance.
    """

    size: int
    channels: Literal["grey", "rgb"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    illumination: Illumination = "none"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != self.depth:
                raise ValueError(f"{name}: expected {self.depth} numbers for {self.channels}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std: expected numbers above 0, got {self.std}")
        if self.illumination not in get_args(Illumination):
            raise ValueError(
                f"illumination: expected one of {', '.join(get_args(Illumination))}, got '{self.illumination}'"
            )

    @property
    def depth(self) -> int:
        """Number of channels."""
        return 1 if self.channels == "grey" else 3


@dataclass(frozen=True)
class ImageInput:
    """An input that takes images.

    Attributes:
        name: Of the ONNX input.
        spec: Its size and normalisation; None: uint8 RGB images (N, H, W, 3) of any size, values 0-255.
        landmarks: (5, 2) where the five landmarks lie in a crop, as fractions of its side; empty if unknown, and the
            model then takes cropped faces only.
        frames: Length T of a window of images; 1 for still images.
    """

    name: str = "images"
    spec: InputSpec | None = None
    landmarks: tuple[tuple[float, float], ...] = ()
    frames: int = 1

    def __post_init__(self) -> None:
        spec = InputSpec(**self.spec) if isinstance(self.spec, dict) else self.spec
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "landmarks", tuple((float(x), float(y)) for x, y in self.landmarks))
        if len(self.landmarks) not in (0, 5):
            raise ValueError(f"landmarks: expected 5 points or none, got {len(self.landmarks)}")

    @property
    def shape(self) -> Shape:
        """(N, C, size, size) or (N, H, W, 3); with T after N for a window."""
        spec = self.spec
        return _windowed(self.frames, (None, None, 3) if spec is None else (spec.depth, spec.size, spec.size))


@dataclass(frozen=True)
class KeypointInput:
    """An input that takes keypoints, x and y.

    Attributes:
        name: Of the ONNX input.
        scheme: Name of the set of keypoints.
        count: How many there are.
        frames: Length T of a window; 1 for still images.
        mirrored: Their order in a mirrored face; empty if unknown: views of mirrored faces keep the points.
    """

    name: str
    scheme: str
    count: int
    frames: int = 1
    mirrored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mirrored", tuple(self.mirrored))
        if self.mirrored and sorted(self.mirrored) != list(range(self.count)):
            raise ValueError(f"mirrored: expected each number below {self.count} once, got {self.mirrored}")

    @property
    def shape(self) -> Shape:
        """(N, count, 2); with T after N for a window."""
        return _windowed(self.frames, (self.count, 2))


@dataclass(frozen=True)
class ClassShares:
    """How frequent the classes of a head were in training, and what was fitted for reading it under other frequencies.

    Attributes:
        shares: Of the training faces, one for each class, summing to 1; 0 for a class without training faces.
        removed: The power of the shares that the training loss has already taken out of the logits (logit adjustment);
            0 without it.
        temperatures: The temperature under a prior, by its name; under others, that of the head.
        thresholds: The threshold under a prior, by its name; under others, that of the head.
    """

    shares: tuple[float, ...]
    removed: float = 0.0
    temperatures: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", tuple(float(share) for share in self.shares))
        if not (all(0 <= share <= 1 for share in self.shares) and abs(sum(self.shares) - 1) < 1e-3):
            raise ValueError(f"shares: expected numbers 0-1 that sum to 1, got {self.shares}")
        if not all(value > 0 for value in self.temperatures.values()):
            raise ValueError(f"temperatures: expected positive numbers, got {dict(self.temperatures)}")


@dataclass(frozen=True)
class Head:
    """An output that holds class logits (N, C).

    Attributes:
        name: Of the ONNX output.
        emotions: The C classes.
        temperature: Divides the logits before the softmax (Guo et al. 2017).
        threshold: A prediction is uncertain if its probability is lower.
        classes: How frequent the classes were in training; None if unknown.
    """

    name: str
    emotions: tuple[str, ...]
    temperature: float = 1.0
    threshold: float = 0.0
    classes: ClassShares | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "emotions", tuple(self.emotions))
        if isinstance(self.classes, dict):
            object.__setattr__(self, "classes", ClassShares(**self.classes))
        if self.classes is not None and len(self.classes.shares) != len(self.emotions):
            raise ValueError(f"shares: expected {len(self.emotions)} numbers, got {len(self.classes.shares)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected a positive number, got {self.temperature}")

    @property
    def shape(self) -> Shape:
        """(N, C)."""
        return None, len(self.emotions)


@dataclass(frozen=True)
class Features:
    """An output that holds what the trunk computes and the heads read: (N, size)."""

    size: int
    name: str = "features"

    @property
    def shape(self) -> Shape:
        """(N, size)."""
        return None, self.size


@dataclass(frozen=True)
class ValenceArousal:
    """An output that holds the valence and the arousal of an expression, each -1 to 1: (N, 2); see `results.Affect`."""

    name: str = "affect"

    @property
    def shape(self) -> Shape:
        """(N, 2)."""
        return None, 2


@dataclass(frozen=True)
class Landmarks:
    """An output that holds `count` keypoints x, y of the set `scheme`, as fractions of the image: (N, count, 2)."""

    name: str
    scheme: str
    count: int

    @property
    def shape(self) -> Shape:
        """(N, count, 2)."""
        return None, self.count, 2


@dataclass(frozen=True)
class Pose:
    """An output that holds the yaw, the pitch and the roll of a head in degrees: (N, 3); see `results.Face`."""

    name: str = "pose"

    @property
    def shape(self) -> Shape:
        """(N, 3)."""
        return None, 3


@dataclass(frozen=True)
class FaceScore:
    """An output that holds one logit for each crop: whether it shows a face, (N, 1).

    Attributes:
        name: Of the ONNX output.
        operating_point: The network's score, 0-1, that is mapped to 0.5.
    """

    name: str = "score"
    operating_point: float = 0.5

    def __post_init__(self) -> None:
        _check_operating_point(self.operating_point)

    @property
    def shape(self) -> Shape:
        """(N, 1)."""
        return None, 1


@dataclass(frozen=True)
class Detections:
    """An output that holds a face detector's cells (N, cells, CELL_VALUES).

    Attributes:
        name: Of the ONNX output.
        operating_point: The network's score, 0-1, that is mapped to 0.5.
        by_size: Sides of faces in pixels of the searched image, ascending, each with the score that is mapped to 0.5
            for faces of that side; between them it is interpolated over the logarithm of the side. Empty: the operating
            point holds for all sides.
    """

    name: str = "cells"
    operating_point: float = 0.5
    by_size: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_size", tuple((float(side), float(point)) for side, point in self.by_size))
        for point in (self.operating_point, *(point for _, point in self.by_size)):
            if not (math.isfinite(point) and 0 < point < 1):
                raise ValueError(f"operating_point, by_size: expected points between 0 and 1, got {point}")
        sides = [side for side, _ in self.by_size]
        if not all(math.isfinite(side) and side > 0 for side in sides) or sides != sorted(set(sides)):
            raise ValueError(f"by_size: expected ascending sides above 0, got {sides}")

    @property
    def shape(self) -> Shape:
        """(N, cells, CELL_VALUES)."""
        return None, None, CELL_VALUES

    def calibrated(self, scores: NDArray[np.floating], sides: NDArray[np.floating]) -> NDArray[np.float32]:
        """The network's scores (N,) of faces with these sides, mapped so that 0.5 is the operating point."""
        points = np.full(len(scores), self.operating_point)
        if self.by_size:
            known, their_points = np.array(self.by_size).T
            points = np.interp(np.log(np.maximum(sides, 1e-6)), np.log(known), their_points)
        low, high = 0.5 * scores / points, 0.5 + 0.5 * (scores - points) / (1 - points)
        return np.asarray(np.where(scores < points, low, high), np.float32)


def _check_operating_point(value: float) -> None:
    if not (math.isfinite(value) and 0 < value < 1):
        raise ValueError(f"operating_point: expected a number between 0 and 1, got {value}")


INPUTS: Final = {"image": ImageInput, "keypoints": KeypointInput}
OUTPUTS: Final = {
    "logits": Head,
    "features": Features,
    "affect": ValenceArousal,
    "landmarks": Landmarks,
    "pose": Pose,
    "score": FaceScore,
    "detections": Detections,
}


def _windowed(frames: int, shape: Shape) -> Shape:
    return (None, *shape) if frames == 1 else (None, frames, *shape)


def from_tables(kinds: Mapping[str, type[_Part]], parts: Iterable[Mapping[str, Any]]) -> tuple[_Part, ...]:
    """Inputs or outputs from plain types, whose key `kind` names their class."""
    made = []
    for part in parts:
        values = dict(part)
        kind = values.pop("kind")
        if kind not in kinds:
            raise ValueError(f"kind: expected one of {', '.join(kinds)}, got '{kind}'")
        if any(value < 1 for name, value in values.items() if name in ("size", "count", "frames")):
            raise ValueError(f"{kind}: expected whole numbers above 0, got {values}")
        made.append(kinds[kind](**values))
    return tuple(made)
