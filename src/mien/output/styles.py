"""Tables in the column names of other programs, for those who have written their analyses around them.

One table of renamings per style. What a program has and mien does not measure (action units, gaze, head pose,
identities, 65 of 68 landmarks) is left out; what mien alone has (`uncertain`, `error`) likewise: a image that could
not be read is a row without a face. Where a program has no column for what a row cannot do without, ours is added:
OpenFace knows no emotions, and neither OpenFace nor DeepFace the source. An emotion that a program does not know is
named after its manner; `--emotions 7` gives exactly those of Py-Feat and DeepFace.

Sources:
    Py-Feat 0.6: `feat/utils/__init__.py` (FEAT_FACEBOX_COLUMNS, FEAT_EMOTION_COLUMNS, openface_2d_landmark_columns) and
        the order of `output_columns` in `feat/detector.py`, https://github.com/cosanlab/py-feat
    OpenFace 2.2: https://github.com/TadasBaltrusaitis/OpenFace/wiki/Output-Format
    DeepFace 0.0.9x: the dictionaries of `DeepFace.analyze` (`deepface/modules/demography.py`), flattened as by
        `pandas.json_normalize`; percent, https://github.com/serengil/deepface
    The three landmarks that have a number among the 68 (nose tip 30, right and left mouth corner 48 and 54): Sagonas et
        al. 2013, 300 Faces in-the-Wild.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

from mien.errors import ConfigError
from mien.output.rows import Row, Value, rows
from mien.output.schema import Column, columns
from mien.results import FrameResult

__all__ = ["MIEN", "STYLES", "Style", "style_named"]


@dataclass(frozen=True, slots=True)
class _Renamed:
    """A column of theirs, and its value from a row of ours."""

    column: Column
    value: Callable[[Row], Value]


@dataclass(frozen=True, slots=True)
class Style:
    """The columns of one program.

    Attributes:
        name: As `--style` has it.
        before: The columns before the emotions.
        emotion: The column of an emotion.
        after: The columns behind them.
    """

    name: str
    before: tuple[_Renamed, ...]
    emotion: Callable[[str], _Renamed]
    after: tuple[_Renamed, ...]

    def columns(self, emotions: Sequence[str]) -> tuple[Column, ...]:
        """The columns in order; `emotions` are those of probabilities."""
        return tuple(renamed.column for renamed in self._all(emotions))

    def rows(self, result: FrameResult, emotions: Sequence[str]) -> list[Row]:
        """The rows of one result, each with the names of `columns` in their order; None for an empty cell.

        Raises:
            ValueError: A face's expression has other emotions than the table.
        """
        renamed = self._all(emotions)
        return [{one.column.name: one.value(row) for one in renamed} for row in rows(result, emotions)]

    def _all(self, emotions: Sequence[str]) -> tuple[_Renamed, ...]:
        return (*self.before, *map(self.emotion, emotions), *self.after)


def style_named(name: str) -> Style:
    """The style of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in STYLES:
        raise ConfigError(f"there is no style '{name}'", hint=f"choose one of {', '.join(STYLES)}")
    return STYLES[name]


_OURS: Final = {column.name: column for column in columns(())}


def _same(name: str, ours: str | None = None) -> _Renamed:
    """A column of ours, or one that has only another name."""
    return _Renamed(replace(_OURS[ours or name], name=name), itemgetter(ours or name))


def _emotion(name: str, ours: str) -> _Renamed:
    (column,) = (column for column in columns([ours]) if column.name == ours)
    return _Renamed(replace(column, name=name), itemgetter(ours))


def _number(row: Row, name: str) -> float | None:
    value = row[name]
    return None if value is None else float(value)


def _extent(low: str, high: str) -> Callable[[Row], Value]:
    """The length from one edge of the box to the other."""

    def value(row: Row) -> Value:
        start, end = _number(row, low), _number(row, high)
        return None if start is None or end is None else round(end - start, 2)

    return value


def _whole(value_of: Callable[[Row], Value]) -> Callable[[Row], Value]:
    """Rounded to whole pixels."""

    def value(row: Row) -> Value:
        found = value_of(row)
        return None if found is None else round(float(found))

    return value


def _or(name: str, otherwise: Value) -> Callable[[Row], Value]:
    """Our value, or another where we have none."""
    return lambda row: otherwise if row[name] is None else row[name]


_WIDTH: Final = Column("", "number", "pixels", "Width of the box.", _OURS["x0"].empty)
_HEIGHT: Final = Column("", "number", "pixels", "Height of the box.", _OURS["x0"].empty)

# The numbers of the landmarks among the 68 of Multi-PIE; the eyes' centres have none.
_NUMBERED: Final = {30: "nose", 48: "right_mouth", 54: "left_mouth"}
_LANDMARKS: Final = tuple(
    _same(f"{axis}_{number}", f"{name}_{axis}") for axis in "xy" for number, name in _NUMBERED.items()
)

MIEN: Final = Style(
    "mien",
    before=tuple(_same(column.name) for column in columns(())[:-4]),
    emotion=lambda name: _emotion(name, name),
    after=tuple(_same(column.name) for column in columns(())[-4:]),
)

_PYFEAT: Final = Style(
    "pyfeat",
    before=(
        _same("frame"),
        _same("FaceRectX", "x0"),
        _same("FaceRectY", "y0"),
        _Renamed(replace(_WIDTH, name="FaceRectWidth"), _extent("x0", "x1")),
        _Renamed(replace(_HEIGHT, name="FaceRectHeight"), _extent("y0", "y1")),
        _same("FaceScore", "score"),
        *_LANDMARKS,
    ),
    emotion=lambda name: _emotion(name, name),
    after=(_same("input", "source"),),
)

_OPENFACE: Final = Style(
    "openface",
    before=(
        _Renamed(
            Column("frame", "integer", "from 1", "The position in a video; 1 for a image."),
            lambda row: int(row["frame"] or 0) + 1,
        ),
        _Renamed(
            Column("face_id", "integer", "from 0", "The number of the face in its image; 0 where there is none."),
            _or("face", 0),
        ),
        _Renamed(
            Column("timestamp", "number", "seconds", "From the start of the video; 0 for a image."),
            _or("timestamp", 0.0),
        ),
        _Renamed(
            Column("confidence", "number", "0-1", "How sure the detector is of the face; 0 where there is none."),
            _or("score", 0.0),
        ),
        _Renamed(
            Column("success", "integer", "0 or 1", "1 for a face, 0 where there is none."),
            lambda row: int(row["face"] is not None),
        ),
        *_LANDMARKS,
    ),
    emotion=lambda name: _emotion(name, name),
    after=(_same("source"),),
)

_DEEPFACE_WORDS: Final = {"anger": "angry", "happiness": "happy", "sadness": "sad"}


def _deepface_emotion(name: str) -> _Renamed:
    ours = _emotion(f"emotion.{_DEEPFACE_WORDS.get(name, name)}", name).column

    def percent(row: Row) -> Value:
        probability = _number(row, name)
        return None if probability is None else round(100 * probability, 4)

    return _Renamed(replace(ours, unit="percent", meaning="This emotion; those of a row sum to 100."), percent)


_DEEPFACE: Final = Style(
    "deepface",
    before=(
        _same("source"),
        _Renamed(
            replace(
                _OURS["emotion"], name="dominant_emotion", meaning="The most probable emotion, in DeepFace's words."
            ),
            lambda row: _DEEPFACE_WORDS.get(str(row["emotion"]), row["emotion"]),
        ),
        _same("face_confidence", "score"),
    ),
    emotion=_deepface_emotion,
    after=(
        _Renamed(replace(_OURS["x0"], name="region.x", type="integer"), _whole(itemgetter("x0"))),
        _Renamed(replace(_OURS["y0"], name="region.y", type="integer"), _whole(itemgetter("y0"))),
        _Renamed(replace(_WIDTH, name="region.w", type="integer"), _whole(_extent("x0", "x1"))),
        _Renamed(replace(_HEIGHT, name="region.h", type="integer"), _whole(_extent("y0", "y1"))),
    ),
)

STYLES: Final[dict[str, Style]] = {style.name: style for style in (MIEN, _PYFEAT, _OPENFACE, _DEEPFACE)}
