"""Frames, faces and expressions: frozen dataclasses over numpy arrays, validated when they are made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Final, Self, overload

import numpy as np
from numpy.typing import NDArray

from mien.emotions import find
from mien.errors import ConfigError
from mien.values import checked, equal, hash_of, reduced, source_text, timestamp_of, whole

# Names and order of the five landmarks, everywhere. Right and left are the subject's.
LANDMARKS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
# Names and order of the angles of a head's pose.
POSE = ("yaw", "pitch", "roll")
# Names and order of the dimensions of an expression.
AFFECT = ("valence", "arousal", "positive", "negative")

_FRAME: Final = 0.04  # seconds of a frame without a timestamp


def seconds_at(position: int, timestamp: float | None) -> float:
    """The time of a frame: its timestamp, or without one its position at 25 frames a second."""
    return position * _FRAME if timestamp is None else timestamp


@dataclass(frozen=True, slots=True)
class Frame:
    """One image or one frame of a video: the input of the analyzer.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        source: Where the image comes from: a path or URL, a camera, or a name such as "array". A path becomes text.
        index: Position in the source, from 0; an image file has 0.
        timestamp: Seconds from the start of a video; None for an image.
        note: What was ignored or not read of the image ("only the first of 12 frames was read"); None for nothing.
        faces: The faces, if their places are known; None if they have to be found. The analyzer keeps their order and
            their tracks, and neither detects nor follows any.

    Raises:
        ValueError: An attribute has another shape or type, or a number has no meaning.
        TypeError: `faces` has something else than faces.
    """

    image: NDArray[np.uint8] = field(repr=False, compare=False)
    source: str = "array"
    index: int = 0
    timestamp: float | None = None
    note: str | None = None
    faces: "tuple[Face, ...] | None" = field(default=None, repr=False, compare=False)

    @property
    def seconds(self) -> float:
        """`timestamp`; for a frame without one its position at 25 frames a second."""
        return seconds_at(self.index, self.timestamp)

    def __post_init__(self) -> None:
        shape, dtype = np.shape(self.image), getattr(self.image, "dtype", type(self.image))
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise ValueError(f"image: expected (H, W, 3) uint8 RGB, got {shape} {dtype}")
        object.__setattr__(self, "source", source_text(self.source))
        object.__setattr__(self, "index", whole(self.index, "index"))
        object.__setattr__(self, "timestamp", timestamp_of(self.timestamp))
        if self.faces is not None:
            faces = tuple(self.faces)
            if others := [each for each in faces if not isinstance(each, Face)]:
                raise TypeError(
                    f"faces: expected faces, got {type(others[0]).__name__}; write Face(box, 1.0) for a box"
                )
            object.__setattr__(self, "faces", faces)


@dataclass(frozen=True, slots=True)
class Affect:
    """An expression in dimensions; `mien.expression.affect` has their source.

    Attributes:
        valence: How pleasant it is, -1 to 1; `positive` less `negative`.
        arousal: How aroused it is, -1 to 1.
        positive: The pleasant part, 0-1.
        negative: The unpleasant part, 0-1.
    """

    valence: float
    arousal: float
    positive: float
    negative: float

    def __post_init__(self) -> None:
        for name, low in zip(AFFECT, (-1, -1, 0, 0), strict=True):
            value = getattr(self, name)
            if not low - 1e-6 <= value <= 1 + 1e-6:  # also refuses nan
                raise ValueError(f"{name}: expected a number from {low} to 1, got {value}")
            object.__setattr__(self, name, float(value))

    @classmethod
    def of(cls, valence: float, arousal: float) -> "Affect":
        """The dimensions of a valence and an arousal that were predicted directly: one part of the valence is 0."""
        return cls(valence, arousal, max(valence, 0.0), max(-valence, 0.0))


class _ByEmotion(dict[str, float]):
    """Probabilities by emotion, which are found by an alias, too."""

    def __missing__(self, emotion: object) -> float:
        try:
            return self[find(str(emotion), tuple(self))]
        except ConfigError:
            raise KeyError(f"{emotion!r}; this expression has {', '.join(self)}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Expression(Mapping[str, float]):
    """The probabilities of the emotions that a face shows: a mapping from each emotion to its probability.

    `expression["happy"]`, `"happy" in expression` and `expression.get("happy")` also accept aliases; iterating gives
    the names in `emotions`, in order.

    Two expressions are equal if all their attributes are, and then have the same hash. An expression is not equal to
    another mapping: compare `dict(expression)`.

    Attributes:
        probabilities: (C,) float32, each 0-1, summing to 1.
        emotions: The names of the C classes, in order.
        uncertain: Whether the highest probability is below the model's threshold.
        affect: Valence and arousal; None if the classes have no coordinates.
    """

    probabilities: NDArray[np.float32]
    emotions: tuple[str, ...]
    uncertain: bool = False
    affect: Affect | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "emotions", tuple(self.emotions))
        if len(set(self.emotions)) < len(self.emotions):
            raise ValueError(f"emotions: expected each name once, got {', '.join(map(str, self.emotions))}")
        probabilities = checked(self.probabilities, (len(self.emotions),), "probabilities")
        if (probabilities < 0).any() or abs(float(probabilities.sum()) - 1) > 1e-3:
            raise ValueError(f"probabilities: expected numbers 0-1 that sum to 1, got {probabilities.tolist()}")
        object.__setattr__(self, "probabilities", probabilities)
        object.__setattr__(self, "uncertain", bool(self.uncertain))

    __eq__, __hash__, __reduce__ = equal, hash_of, reduced

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return self.emotions[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """The probability of the most probable emotion."""
        return float(self.probabilities.max())

    def __getitem__(self, emotion: str) -> float:
        """The probability of an emotion, by its name or an alias: `expression["happy"]`."""
        try:
            return float(self.probabilities[self.emotions.index(find(str(emotion), self.emotions))])
        except ConfigError:
            raise KeyError(f"{emotion!r}; this expression has {', '.join(self.emotions)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.emotions)

    def __len__(self) -> int:
        return len(self.emotions)

    def as_dict(self) -> dict[str, float]:
        """Probabilities by emotion; a key may be an alias: `["happy"]`."""
        return _ByEmotion(zip(self.emotions, self.probabilities.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Measures:
    """What the keypoints of a face measure; `docs/outputs.md` has the formulas. Right and left are the subject's.

    An eye's width is the distance of its two corners. The unit of lengths is the distance of the outer eye corners,
    divided by the cosine of the yaw if the pose is known.

    Attributes:
        right_eye_openness: Mean distance of the lids of the right eye, relative to the eye's width.
        left_eye_openness: The same of the left eye.
        brow_height: Mean height of the brows above the middles of the eyes.
        mouth_opening: Distance of the inner edges of the lips.
        smile_width: Distance of the mouth corners, relative to that of the outer eye corners.
        iris_x: Where the irises stand between the corners of their eyes, from -0.5 at the subject's right corner to
            0.5 at the left one; above 0, the subject looks to its left, as with a yaw above 0. None without irises.
        iris_y: How far the irises stand above the line between the corners, relative to the eye's width. None without
            irises.
    """

    right_eye_openness: float
    left_eye_openness: float
    brow_height: float
    mouth_opening: float
    smile_width: float
    iris_x: float | None = None
    iris_y: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in a frame.

    Two faces are equal if all their attributes are, and then have the same hash.

    Attributes:
        box: (4,) float32 x0, y0, x1, y1 in pixels of the frame; may reach over its border.
        score: 0-1; 0.5 is the detector's operating point.
        landmarks: (5, 2) float32 x, y in pixels, in the order of `LANDMARKS`: those by which the face is aligned, or of
            `detect` those of the detector; None if it is aligned by its box, or the detector gives none.
        keypoints: (N, 2) float32 x, y in pixels, a denser set of points; None if none were computed.
        keypoint_scheme: The name of the keypoints' number and order, "300w-68" for example; None without keypoints.
        pose: (3,) float32 yaw, pitch and roll of the head in degrees; None if unknown. Yaw is above 0 if the subject
            turns to its left (to the right in the image), pitch if the face is turned up, roll if the head is turned
            clockwise in the image.
        measures: What the keypoints measure; None without keypoints.
        track: The number of the person's track in a video, from 0; None without tracking.
        expression: The model's probabilities for this frame; None after detection alone.
        smoothed: The probabilities smoothed over the frames of a track; None without smoothing. They never replace
            `expression`.
    """

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32] | None = None
    keypoints: NDArray[np.float32] | None = None
    keypoint_scheme: str | None = None
    pose: NDArray[np.float32] | None = None
    measures: Measures | None = None
    track: int | None = None
    expression: Expression | None = None
    smoothed: Expression | None = None

    def __post_init__(self) -> None:
        box = checked(self.box, (4,), "box")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(f"box: expected x0 < x1 and y0 < y1, got {box.tolist()}")
        object.__setattr__(self, "box", box)
        if self.landmarks is not None:
            object.__setattr__(self, "landmarks", checked(self.landmarks, (5, 2), "landmarks"))
        if (self.keypoints is None) != (not self.keypoint_scheme):
            given = "a scheme without keypoints" if self.keypoints is None else "keypoints without a scheme"
            raise ValueError(f"keypoint_scheme: expected keypoints and the name of their scheme, got {given}")
        if self.keypoints is not None:
            object.__setattr__(self, "keypoints", checked(self.keypoints, ("N", 2), "keypoints"))
        if self.pose is not None:
            object.__setattr__(self, "pose", checked(self.pose, (3,), "pose"))
        if not 0 <= self.score <= 1:
            raise ValueError(f"score: expected 0-1, got {self.score}")
        object.__setattr__(self, "score", float(self.score))
        if self.track is not None:
            object.__setattr__(self, "track", whole(self.track, "track"))

    __eq__, __hash__, __reduce__ = equal, hash_of, reduced

    @property
    def emotion(self) -> str | None:
        """The most probable emotion; None without an expression."""
        return None if self.expression is None else self.expression.emotion

    @property
    def confidence(self) -> float | None:
        """The probability of that emotion; None without an expression."""
        return None if self.expression is None else self.expression.confidence

    @property
    def uncertain(self) -> bool | None:
        """Whether that probability is below the model's threshold; None without an expression."""
        return None if self.expression is None else self.expression.uncertain

    @property
    def emotions(self) -> dict[str, float] | None:
        """The probabilities by emotion; None without an expression."""
        return None if self.expression is None else self.expression.as_dict()

    @property
    def affect(self) -> Affect | None:
        """Valence and arousal for this frame; None without an expression, or without coordinates of its classes."""
        return None if self.expression is None else self.expression.affect

    @property
    def smoothed_affect(self) -> Affect | None:
        """Valence and arousal smoothed over the frames of a track; None without smoothing."""
        return None if self.smoothed is None else self.smoothed.affect

    @property
    def smoothed_uncertain(self) -> bool | None:
        """Whether the highest smoothed probability is below the model's threshold; None without smoothing."""
        return None if self.smoothed is None else self.smoothed.uncertain

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON; `from_dict` reads them."""
        points = None if self.landmarks is None else dict(zip(LANDMARKS, self.landmarks.tolist(), strict=True))
        return {
            "box": self.box.tolist(),
            "score": self.score,
            "landmarks": points,
            "track": self.track,
            "keypoint_scheme": self.keypoint_scheme,
            "keypoints": None if self.keypoints is None else self.keypoints.tolist(),
            "pose": None if self.pose is None else dict(zip(POSE, self.pose.tolist(), strict=True)),
            "measures": None if self.measures is None else asdict(self.measures),
            "smoothed": None if self.smoothed is None else self.smoothed.as_dict(),
            "smoothed_affect": None if self.smoothed_affect is None else asdict(self.smoothed_affect),
            "smoothed_uncertain": self.smoothed_uncertain,
            "emotion": self.emotion,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "emotions": self.emotions,
            "affect": None if self.affect is None else asdict(self.affect),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The face that `as_dict` gave, or that a JSON line has, whose numbers are rounded.

        Raises:
            KeyError: A key is missing.
            ValueError: A value has another shape or no meaning.
        """
        landmarks, pose, measures = found["landmarks"], found["pose"], found["measures"]
        return cls(
            box=np.array(found["box"], np.float32),
            score=found["score"],
            landmarks=_points(landmarks and [landmarks[name] for name in LANDMARKS]),
            keypoints=_points(found["keypoints"]),
            keypoint_scheme=found["keypoint_scheme"],
            pose=_points(pose and [pose[name] for name in POSE]),
            measures=measures and Measures(**measures),
            track=found["track"],
            expression=_expression(found.get("emotions"), found.get("affect"), found.get("uncertain")),
            smoothed=_expression(found["smoothed"], found.get("smoothed_affect"), found.get("smoothed_uncertain")),
        )


def _points(value: Any) -> NDArray[np.float32] | None:
    return None if value is None else np.array(value, np.float32)


def _expression(
    found: Mapping[str, float] | None, dimensions: Mapping[str, float] | None, uncertain: bool | None
) -> Expression | None:
    if found is None:
        return None
    affect = Affect(**dimensions) if dimensions else None
    return Expression(np.array(list(found.values()), np.float32), tuple(found), bool(uncertain), affect)


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult(Sequence[Face]):
    """The result of one frame: a sequence of its faces.

    Two results are equal if all their attributes but `image` are, and then have the same hash.

    Attributes:
        source: The frame's source.
        frame: The frame's position in its source.
        timestamp: Seconds from the start of a video; None for an image.
        width: Width of the frame in pixels; 0 if it could not be read.
        height: Height of the frame in pixels; 0 if it could not be read.
        faces: The faces, largest first, or of `classify` as they were given; empty if there are none.
        error: Why the frame could not be read; None if it could.
        image: (H, W, 3) uint8 RGB, the frame's pixels; None unless `AnalyzerOptions.keep_images` is set.
        note: What was ignored or not read of the frame; None for nothing.
    """

    source: str
    frame: int = 0
    timestamp: float | None = None
    width: int = 0
    height: int = 0
    faces: tuple[Face, ...] = ()
    error: str | None = None
    image: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    note: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", source_text(self.source))
        object.__setattr__(self, "timestamp", timestamp_of(self.timestamp))
        object.__setattr__(self, "faces", tuple(self.faces))
        if strange := next((each for each in self.faces if not isinstance(each, Face)), None):
            raise ValueError(f"faces: expected faces, got {type(strange).__name__}")
        for name in ("frame", "width", "height"):
            object.__setattr__(self, name, whole(getattr(self, name), name))

    __eq__, __hash__ = equal, hash_of

    @property
    def seconds(self) -> float:
        """`timestamp`; for a frame without one its position at 25 frames a second."""
        return seconds_at(self.frame, self.timestamp)

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    def __len__(self) -> int:
        return len(self.faces)

    @overload
    def __getitem__(self, number: int) -> Face: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[Face, ...]: ...
    def __getitem__(self, number: int | slice) -> Face | tuple[Face, ...]:
        return self.faces[number]

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of the faces."""
        size = f"{self.width} x {self.height}" if self.width else ""
        head = " · ".join(escape(text) for text in (self.source, size, self.error or "", self.note or "") if text)
        if not self.faces:
            return f"<p>{head}{'' if self.error else ' · no face'}</p>"
        cells = [("track", "box", "score", "emotion", "confidence")]
        for face in self.faces:
            box = ", ".join(f"{end:.0f}" for end in face.box.tolist())
            said = (face.emotion or "", "" if face.confidence is None else f"{face.confidence:.0%}")
            said = (f"{said[0]}?" if face.uncertain else said[0], said[1])
            cells.append(("" if face.track is None else str(face.track), box, f"{face.score:.2f}", *said))
        rows = "".join(
            "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in row) + "</tr>"
            for row, kind in zip(cells, ["th"] + ["td"] * len(self.faces), strict=True)
        )
        return f"<p>{head}</p><table>{rows}</table>"

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON; `from_dict` reads them. Without `image`."""
        return {
            "source": self.source,
            "frame": self.frame,
            "timestamp": self.timestamp,
            "width": self.width,
            "height": self.height,
            "faces": [face.as_dict() for face in self.faces],
            "error": self.error,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The result that `as_dict` wrote, or a line of `mien analyze --json`; tables have rows of another form.

        Raises:
            KeyError: A key is missing.
            ValueError: A value has another shape or no meaning.
        """
        plain = {name: found[name] for name in ("source", "frame", "timestamp", "width", "height", "error", "note")}
        return cls(**plain, faces=tuple(map(Face.from_dict, found["faces"])))
