"""What every column of a table and every key of the JSON is: the one list, from which files and documents are made.

`SCHEMA` counts up when a name, a type, a unit or a meaning changes, or one is taken away; adding one at the end of
its group does not change it. It stands in the JSON as `schema` and in the metadata of Parquet files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mien.results import LANDMARKS, FrameResult

__all__ = ["BOX", "FACE", "FRAME", "POINTS", "SCHEMA", "Column", "Type", "columns", "document", "table_columns"]

SCHEMA: Final = 1

Type = Literal["text", "integer", "number", "boolean", "list", "object"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or one key of the JSON.

    Attributes:
        name: As it is written.
        type: Of its values; "list" and "object" only in JSON.
        unit: Of numbers, with their range where it is fixed.
        meaning: One sentence.
        empty: When there is no value: an empty cell, or null; nothing if there always is one.
    """

    name: str
    type: Type
    unit: str
    meaning: str
    empty: str = ""


BOX: Final = ("x0", "y0", "x1", "y1")
POINTS: Final = tuple(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")

_NO_FACE: Final = "no face, or an error"
_NO_POINTS: Final = "no face, or the detector gives none"
_NO_EMOTION: Final = "no face, or only detection was asked for"

_EDGES: Final = dict(zip(BOX, ("Left", "Upper", "Right", "Lower"), strict=True))

_BEFORE: Final = (
    Column("source", "text", "", "Where the image comes from: its path, `stdin` or `array`."),
    Column("frame", "integer", "from 0", "The position in a video; 0 for a image."),
    Column("timestamp", "number", "seconds", "From the start of the video.", "a image"),
    Column("face", "integer", "from 0", "The number of the face in its image; the largest comes first.", _NO_FACE),
    *(
        Column(name, "number", "pixels", f"{edge} edge of the box; it may lie outside of the image.", _NO_FACE)
        for name, edge in _EDGES.items()
    ),
    Column("score", "number", "0-1", "How sure the detector is; 0.5 is its operating point.", _NO_FACE),
    *(
        Column(
            f"{name}_{axis}",
            "number",
            "pixels",
            f"The {name.replace('_', ' ')}, {way}; right and left are the subject's.",
            _NO_POINTS,
        )
        for name in LANDMARKS
        for axis, way in (("x", "across"), ("y", "down"))
    ),
)

_AFTER: Final = (
    Column("emotion", "text", "", "The most probable emotion.", _NO_EMOTION),
    Column("confidence", "number", "0-1", "The probability of that emotion.", _NO_EMOTION),
    Column("uncertain", "boolean", "", "The confidence lies under the model's threshold, or `--abstain`.", _NO_EMOTION),
    Column("error", "text", "", "Why the image could not be read.", "a image that could"),
)


def columns(emotions: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a table, in order; `emotions` are those of probabilities."""
    probabilities = (
        Column(name, "number", "0-1", "The probability of this emotion; those of a row sum to 1.", _NO_EMOTION)
        for name in emotions
    )
    return (*_BEFORE, *probabilities, *_AFTER)


def table_columns(emotions: Sequence[str]) -> tuple[str, ...]:
    """The names of a table's columns, in order; `emotions` are the columns of probabilities."""
    return tuple(column.name for column in columns(emotions))


# The JSON of a image, as `mien analyze --json` prints it, one a line; and of a face in it.
FRAME: Final = (
    Column("schema", "integer", "", "The version of this definition."),
    Column("source", "text", "", "Where the image comes from: its path, `stdin` or `array`."),
    Column("frame", "integer", "from 0", "The position in a video; 0 for a image."),
    Column("timestamp", "number", "seconds", "From the start of the video.", "a image"),
    Column("width", "integer", "pixels", "Of the image; 0 if it could not be read."),
    Column("height", "integer", "pixels", "Of the image; 0 if it could not be read."),
    Column("faces", "list", "", "The faces, largest first; of no length where there is none."),
    Column("error", "text", "", "Why the image could not be read.", "a image that could"),
    Column("note", "text", "", "What is worth knowing though it is no error.", "most images"),
)

FACE: Final = (
    Column("box", "list", "pixels", "Left, upper, right and lower edge; it may lie outside of the image."),
    Column("score", "number", "0-1", "How sure the detector is; 0.5 is its operating point."),
    Column("landmarks", "object", "pixels", "[x, y] by name; right and left are the subject's.", "none are known"),
    Column("track", "integer", "from 0", "The number of the person's track.", "a image"),
    Column("emotion", "text", "", "The most probable emotion."),
    Column("confidence", "number", "0-1", "The probability of that emotion."),
    Column("uncertain", "boolean", "", "The confidence lies under the model's threshold, or `--abstain`."),
    Column("emotions", "object", "0-1", "The probabilities by name; they sum to 1."),
)


def document(result: FrameResult) -> dict[str, object]:
    """The JSON of a image, with the keys of `FRAME`; each face has those of `FACE`."""
    return {"schema": SCHEMA, **result.as_dict()}
