"""What goes in and what comes out: frames, faces, expressions. Frozen, typed, checked when made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["LANDMARKS", "Expression", "Face", "Frame", "FrameResult"]

# Names and order of the five landmarks, everywhere. Right and left are the subject's.
LANDMARKS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")


def _shaped(value: NDArray[np.float32], shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """A read-only float32 copy of `value`, which must be finite and of that shape."""
    array = np.array(value, np.float32)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array.tolist()}")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Frame:
    """One image on its way in.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        source: Where it comes from: a path, a camera, or "array".
        index: Position in its source, from 0; images have 0.
        timestamp: Seconds from the start of a video; None for a image.
        note: What a person should know about how it was read ("only the first of 12 frames"); None for nothing.
    """

    image: NDArray[np.uint8] = field(repr=False, compare=False)
    source: str = "array"
    index: int = 0
    timestamp: float | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        shape, dtype = np.shape(self.image), getattr(self.image, "dtype", type(self.image))
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise ValueError(f"image: expected (H, W, 3) uint8 RGB, got {shape} {dtype}")


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """Probabilities of a face's emotions.

    Attributes:
        probabilities: (C,) float32, each 0-1, summing to 1.
        emotions: The C names, in order.
        uncertain: The top probability lies under the model's threshold.
    """

    probabilities: NDArray[np.float32]
    emotions: tuple[str, ...]
    uncertain: bool = False

    def __post_init__(self) -> None:
        probabilities = _shaped(self.probabilities, (len(self.emotions),), "probabilities")
        if (probabilities < 0).any() or abs(float(probabilities.sum()) - 1) > 1e-3:
            raise ValueError(f"probabilities: expected numbers 0-1 that sum to 1, got {probabilities.tolist()}")
        object.__setattr__(self, "probabilities", probabilities)

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return self.emotions[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """The probability of the most probable emotion."""
        return float(self.probabilities.max())

    def __getitem__(self, emotion: str) -> float:
        try:
            return float(self.probabilities[self.emotions.index(emotion)])
        except ValueError:
            raise KeyError(f"{emotion!r}; this expression has {', '.join(self.emotions)}") from None

    def as_dict(self) -> dict[str, float]:
        """Probabilities by emotion."""
        return dict(zip(self.emotions, self.probabilities.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in a frame.

    Attributes:
        box: (4,) float32 x0, y0, x1, y1 in pixels of the frame; may reach over its border.
        score: 0-1; 0.5 is the detector's operating point.
        landmarks: (5, 2) float32 x, y in pixels, in the order of `LANDMARKS`; None if the detector gives none.
        track: Number of the person's track in a video, from 0; None in images.
        expression: None if only detection was asked for.
    """

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32] | None = None
    track: int | None = None
    expression: Expression | None = None

    def __post_init__(self) -> None:
        box = _shaped(self.box, (4,), "box")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(f"box: expected x0 < x1 and y0 < y1, got {box.tolist()}")
        object.__setattr__(self, "box", box)
        if self.landmarks is not None:
            object.__setattr__(self, "landmarks", _shaped(self.landmarks, (5, 2), "landmarks"))
        if not 0 <= self.score <= 1:
            raise ValueError(f"score: expected 0-1, got {self.score}")

    @property
    def emotion(self) -> str | None:
        """The most probable emotion; None without an expression."""
        return self.expression.emotion if self.expression else None

    @property
    def confidence(self) -> float | None:
        """The probability of that emotion; None without an expression."""
        return self.expression.confidence if self.expression else None


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that was read from one frame; iterating gives its faces.

    Attributes:
        source: The frame's source.
        frame: The frame's position in its source.
        timestamp: Seconds; None for a image.
        width: Of the frame, in pixels; 0 if it could not be read.
        height: Likewise.
        faces: Largest first; empty where there is no face.
        error: Why the frame could not be read; None if it could.
        image: The frame's pixels, only where they were asked for.
        note: What a person should know about how it was read, though it is no error; None for nothing.
    """

    source: str
    frame: int = 0
    timestamp: float | None = None
    width: int = 0
    height: int = 0
    faces: tuple[Face, ...] = ()
    error: str | None = None
    image: NDArray[np.uint8] | None = field(default=None, repr=False)
    note: str | None = None

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, number: int) -> Face:
        return self.faces[number]

    def as_dict(self) -> Mapping[str, object]:
        """Plain types, as written to JSON."""
        return {
            "source": self.source,
            "frame": self.frame,
            "timestamp": self.timestamp,
            "width": self.width,
            "height": self.height,
            "faces": [_face_dict(face) for face in self.faces],
            "error": self.error,
            "note": self.note,
        }


def _face_dict(face: Face) -> dict[str, object]:
    points = None
    if face.landmarks is not None:
        points = dict(zip(LANDMARKS, face.landmarks.tolist(), strict=True))
    info: dict[str, object] = {
        "box": face.box.tolist(),
        "score": face.score,
        "landmarks": points,
        "track": face.track,
    }
    if face.expression:
        info |= {
            "emotion": face.expression.emotion,
            "confidence": face.expression.confidence,
            "uncertain": face.expression.uncertain,
            "emotions": face.expression.as_dict(),
        }
    return info
