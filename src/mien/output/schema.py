"""Every field of a result, defined once: its key in the JSON, its columns in tables, its unit and its meaning.

The rows of tables, their column types and the tables in `docs/outputs.md` are made from `FRAME`, `FACE` and
`EXPRESSION`; a test compares the JSON with them and fails for a field that is missing.

`SCHEMA` is increased when a name, a type, a unit or a meaning changes or is removed. A new column or key does not
change it. It is written into the JSON as `schema` and into the metadata of Parquet files.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

from mien.names import printable
from mien.results import AFFECT, LANDMARKS, POSE, Face, FrameResult

SCHEMA: Final = 1

Type = Literal["text", "integer", "number", "boolean", "list", "object"]
Value = str | int | float | bool | None
Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or one key of the JSON.

    Attributes:
        name: The name in the file.
        type: The type of its values; "list" and "object" only in JSON.
        unit: Unit of numbers, or their range where it is fixed.
        meaning: One sentence.
        empty: When there is no value (an empty cell, or null); "" if there always is one.
    """

    name: str
    type: Type
    unit: str
    meaning: str
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that depend on what is analysed or requested.

    Attributes:
        emotions: The classes, one column of probabilities each; the results must have the same, in this order.
        keypoints: Number of dense keypoints a face: adds the pose, the measures, `keypoint_scheme`, `x_0`, `y_0`,
            `x_1`, ...
        smoothed: Adds the probabilities smoothed along a track: `smoothed_anger`, ...
    """

    emotions: tuple[str, ...]
    keypoints: int = 0
    smoothed: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute of `FrameResult`, `Face` or `Expression`, and its form in every output.

    Attributes:
        name: The attribute; "number" is the position of a face in its result.
        key: Its key in the JSON; None if it has none.
        columns: Its columns in a table of that layout, in order; none if it is not in tables.
    """

    name: str
    key: Column | None
    columns: Callable[[Layout], tuple[Column, ...]]


def _field(column: Column, *, table: bool = True) -> Field:
    """A field with the same name and type in JSON and in tables."""
    return Field(column.name, column, lambda layout: (column,) if table else ())


BOX: Final = ("x0", "y0", "x1", "y1")

_IMAGE: Final = "an image"
_NO_FACE: Final = "no face, or an error"
_NO_POINTS: Final = "no face, or a detector without landmarks"
_NO_KEYPOINTS: Final = "no face, or a face without keypoints"
_NO_EXPRESSION: Final = "no face, or detection only"
_NO_SMOOTHED: Final = "no smoothing"
_NO_ERROR: Final = "an image that could be read"

_BOX: Final = tuple(
    Column(name, "number", "pixels", f"{edge} edge of the box; it may lie outside the image.", _NO_FACE)
    for name, edge in zip(BOX, ("Left", "Upper", "Right", "Lower"), strict=True)
)
_POINTS: Final = tuple(
    Column(
        f"{name}_{axis}",
        "number",
        "pixels",
        f"{axis} of the {name.replace('_', ' ')}{' corner' * ('mouth' in name)}; right and left are the subject's.",
        _NO_POINTS,
    )
    for name in LANDMARKS
    for axis in "xy"
)
_PROBABILITY: Final = Column("", "number", "0-1", "Probability of this emotion; a row sums to 1.", _NO_EXPRESSION)
_EMOTION: Final = Column("emotion", "text", "", "The most probable emotion.", _NO_EXPRESSION)
_PLACES: Final = "no face, or detection only, or classes without coordinates"
_DIMENSIONS: Final = (
    Column("valence", "number", "-1 to 1", "How pleasant the expression is: `positive` less `negative`.", _PLACES),
    Column("arousal", "number", "-1 to 1", "How aroused the expression is.", _PLACES),
    Column("positive", "number", "0-1", "The pleasant part of the valence.", _PLACES),
    Column("negative", "number", "0-1", "The unpleasant part of the valence.", _PLACES),
)
_SCHEME: Final = Column(
    "keypoint_scheme", "text", "", "Name of the keypoints' number and order, `300w-68` for example.", _NO_KEYPOINTS
)


_NO_POSE: Final = "no face, or a face without keypoints, or a method without pose"
_NO_IRISES: Final = "no face, or a face without keypoints, or a method without irises"
_TURNS: Final = {
    "yaw": "Turn of the head; above 0, the subject turns to its left, which is the right of the image.",
    "pitch": "Turn of the head; above 0, the face is turned up.",
    "roll": "Turn of the head; above 0, it is turned clockwise in the image.",
}
_POSE: Final = tuple(Column(name, "number", "degrees", _TURNS[name], _NO_POSE) for name in POSE)
_EYE, _UNIT = "eye widths", "eye distances"
_MEASURED: Final = (
    Column("right_eye_openness", "number", _EYE, "Distance of the lids of the subject's right eye.", _NO_KEYPOINTS),
    Column("left_eye_openness", "number", _EYE, "Distance of the lids of the subject's left eye.", _NO_KEYPOINTS),
    Column("brow_height", "number", _UNIT, "Mean height of the brows above the middles of the eyes.", _NO_KEYPOINTS),
    Column("mouth_opening", "number", _UNIT, "Distance of the inner edges of the lips.", _NO_KEYPOINTS),
    Column("smile_width", "number", _UNIT, "Distance of the mouth corners.", _NO_KEYPOINTS),
    Column(
        "iris_x",
        "number",
        _EYE,
        "Place of the irises between the corners, -0.5 to 0.5; above 0, the subject looks to its left.",
        _NO_IRISES,
    ),
    Column("iris_y", "number", _EYE, "Height of the irises above the line between the corners.", _NO_IRISES),
)


def _keypoint_columns(layout: Layout) -> tuple[Column, ...]:
    return tuple(
        Column(f"{axis}_{number}", "number", "pixels", f"{axis} of keypoint {number} of the scheme.", _NO_KEYPOINTS)
        for number in range(layout.keypoints)
        for axis in "xy"
    )


def _affect_columns(layout: Layout) -> tuple[Column, ...]:
    """None if a class has the name of a dimension: such classes have no coordinates."""
    return () if set(AFFECT) & {name.lower() for name in layout.emotions} else _DIMENSIONS


def _smoothed_affect_columns(layout: Layout) -> tuple[Column, ...]:
    return tuple(
        replace(column, name=f"smoothed_{column.name}", empty=_NO_SMOOTHED, meaning=f"{column.meaning[:-1]}; smoothed.")
        for column in _affect_columns(layout) * layout.smoothed
    )


def _smoothed_columns(layout: Layout) -> tuple[Column, ...]:
    meaning = "Probability of this emotion, smoothed along the track; a row sums to 1."
    return tuple(
        Column(f"smoothed_{name}", "number", "0-1", meaning, _NO_SMOOTHED) for name in layout.emotions * layout.smoothed
    )


# The fields in the order of the columns. In the JSON a face has the keys of FACE and of EXPRESSION.
EXPRESSION: Final = (
    Field(
        "probabilities",
        Column("emotions", "object", "0-1", "Probabilities by name; they sum to 1.", _NO_EXPRESSION),
        lambda layout: tuple(replace(_PROBABILITY, name=name) for name in layout.emotions),
    ),
    _field(_EMOTION),
    _field(Column("confidence", "number", "0-1", "Probability of that emotion.", _NO_EXPRESSION)),
    _field(
        Column(
            "uncertain",
            "boolean",
            "",
            "Whether the confidence is below the model's threshold, or `--abstain`.",
            _NO_EXPRESSION,
        )
    ),
    Field(
        "affect",
        Column("affect", "object", "-1 to 1", "`valence`, `arousal`, `positive` and `negative`.", _PLACES),
        _affect_columns,
    ),
)

FACE: Final = (
    _field(Column("track", "integer", "from 0", "Number of the person's track in a video.", _IMAGE)),
    Field(
        "number",
        None,
        lambda _: (Column("face", "integer", "from 0", "Number of the face in its image, largest first.", _NO_FACE),),
    ),
    Field(
        "box",
        Column("box", "list", "pixels", "Left, upper, right and lower edge; it may lie outside the image."),
        lambda _: _BOX,
    ),
    _field(Column("score", "number", "0-1", "Score of the detector; 0.5 is its operating point.", _NO_FACE)),
    Field(
        "landmarks",
        Column("landmarks", "object", "pixels", "[x, y] by name; right and left are the subject's.", _NO_POINTS),
        lambda _: _POINTS,
    ),
    Field(
        "pose",
        Column("pose", "object", "degrees", "`yaw`, `pitch` and `roll` of the head.", _NO_POSE),
        lambda layout: _POSE if layout.keypoints else (),
    ),
    Field(
        "measures",
        Column("measures", "object", "", "What the keypoints measure, by the names of the columns.", _NO_KEYPOINTS),
        lambda layout: _MEASURED if layout.keypoints else (),
    ),
    Field("keypoint_scheme", _SCHEME, lambda layout: (_SCHEME,) if layout.keypoints else ()),
    Field(
        "keypoints",
        Column("keypoints", "list", "pixels", "[x, y] of each keypoint, in the order of the scheme.", _NO_KEYPOINTS),
        _keypoint_columns,
    ),
    Field(
        "expression",
        None,  # its keys are those of EXPRESSION
        lambda layout: tuple(column for field in EXPRESSION for column in field.columns(layout)),
    ),
    Field(
        "smoothed",
        Column("smoothed", "object", "0-1", "Probabilities by name, smoothed along the track.", _NO_SMOOTHED),
        _smoothed_columns,
    ),
    Field(
        "smoothed_affect",
        Column("smoothed_affect", "object", "-1 to 1", "`affect`, smoothed along the track.", _NO_SMOOTHED),
        _smoothed_affect_columns,
    ),
    _field(
        Column(
            "smoothed_uncertain",
            "boolean",
            "",
            "Whether the highest smoothed probability is below the threshold.",
            _NO_SMOOTHED,
        ),
        table=False,
    ),
)

FRAME: Final = (
    _field(Column("source", "text", "", "Where the image comes from: its path or URL, or a name such as `array`.")),
    _field(Column("frame", "integer", "from 0", "Position in a video; 0 for an image.")),
    _field(Column("timestamp", "number", "seconds", "Time from the start of the video.", _IMAGE)),
    # The size of the frame is the same for all its rows: only in JSON.
    _field(Column("width", "integer", "pixels", "Width of the image; 0 if it could not be read."), table=False),
    _field(Column("height", "integer", "pixels", "Height of the image; 0 if it could not be read."), table=False),
    Field(
        "faces",
        Column("faces", "list", "", "The faces, largest first; an empty list if there are none."),
        lambda layout: tuple(column for field in FACE for column in field.columns(layout)),
    ),
    _field(Column("error", "text", "", "Why the image could not be read.", _NO_ERROR)),
    _field(Column("note", "text", "", "What was ignored or not read of the image.", "most images")),
)


@functools.lru_cache(maxsize=16)  # each row of a table asks for them
def columns(layout: Layout) -> tuple[Column, ...]:
    """The columns of a table, in order."""
    return tuple(column for field in FRAME for column in field.columns(layout))


def table_columns(emotions: Iterable[str]) -> tuple[str, ...]:
    """The names of the columns that every table with these classes has, in order."""
    return tuple(column.name for column in columns(Layout(tuple(emotions))))


def keys(*groups: Sequence[Field]) -> tuple[Column, ...]:
    """The keys in the JSON of some groups of fields; there, a face is always present, so that fewer are empty."""
    found = (field.key for group in groups for field in group if field.key)
    return tuple(
        replace(key, empty="" if key.empty == _NO_FACE else key.empty.removeprefix("no face, or ")) for key in found
    )


def document(result: FrameResult) -> dict[str, object]:
    """The JSON of an image: `schema` and the keys of `FRAME`; each face has those of `FACE` and `EXPRESSION`."""
    return {"schema": SCHEMA, **result.as_dict()}


def rows(result: FrameResult, layout: Layout) -> list[Row]:
    """One row per face with the names of `columns` in their order; None for an empty cell.

    A result without a face or with an error gives one row, without a number in `face`.

    Raises:
        ValueError: A face's expression has other emotions, or a face more keypoints, than the table.
    """
    shared: Row = {name: getattr(result, name) for name in ("source", "frame", "timestamp", "error", "note")}
    found = [shared | {"face": number} | _face(face, layout) for number, face in enumerate(result)]
    return [{name: _cell(cells.get(name), form) for name, form in _forms(layout)} for cells in found or [shared]]


def _face(face: Face, layout: Layout) -> Row:
    cells: Row = {"track": face.track, "score": face.score}
    cells |= zip(BOX, face.box.tolist(), strict=True)
    if face.landmarks is not None:
        cells |= zip((column.name for column in _POINTS), face.landmarks.ravel().tolist(), strict=True)
    if layout.keypoints and face.keypoints is not None:
        if len(face.keypoints) > layout.keypoints:
            raise ValueError(f"keypoints: this table has {layout.keypoints}, the face has {len(face.keypoints)}")
        names = (column.name for column in _keypoint_columns(layout))
        cells |= zip(names, face.keypoints.ravel().tolist(), strict=False)
        cells["keypoint_scheme"] = face.keypoint_scheme
        if face.pose is not None:
            cells |= zip(POSE, face.pose.tolist(), strict=True)
        if face.measures is not None:
            cells |= asdict(face.measures)
    for expression, prefix in ((face.expression, ""), (face.smoothed if layout.smoothed else None, "smoothed_")):
        if expression is None:
            continue
        if expression.emotions != layout.emotions:
            raise ValueError(f"emotions: this table has {layout.emotions}, the face has {expression.emotions}")
        cells |= {prefix + name: value for name, value in expression.as_dict().items()}
        if expression.affect is not None and _affect_columns(layout):
            cells |= {prefix + name: value for name, value in asdict(expression.affect).items()}
    if face.expression is not None:
        cells |= {name: getattr(face.expression, name) for name in ("emotion", "confidence", "uncertain")}
    return cells


# Decimals by unit: a hundredth of a pixel; probabilities so that a rounded row sums to 1 within 1e-5; microseconds.
_DECIMALS: Final = {"pixels": 2, "0-1": 6, "-1 to 1": 6, "seconds": 6, "degrees": 2, _EYE: 4, _UNIT: 4}


@functools.lru_cache(maxsize=16)
def _forms(layout: Layout) -> tuple[tuple[str, int | bool | None], ...]:
    """The names of the columns, and how their values are written: decimals, True for a message, None as they are."""
    return tuple((each.name, True if each.name in ("error", "note") else decimals(each)) for each in columns(layout))


def _cell(value: Value, form: int | bool | None) -> Value:
    """The value as it is written: names exact, messages on one line, numbers rounded."""
    if value is None or form is None:
        return value
    if form is True:
        return printable(str(value))
    return round(value, form) + 0.0  # type: ignore[arg-type]  # a number; adding turns -0.0 into 0.0


def decimals(column: Column) -> int | None:
    """How many decimals numbers of a column are rounded to; None for a column of another type."""
    return _DECIMALS[column.unit] if column.type == "number" else None
