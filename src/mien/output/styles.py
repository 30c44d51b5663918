"""Tables with the column names of other programs, for analyses that were written for these programs.

One table of renamings per style. What a program measures and mien does not (action units, gaze, head pose, identities,
65 of 68 landmarks) is left out, and so are `uncertain`, `error` and `note`, which only mien has: an image that could
not be read is a row without a face. Where a program has no column for something that a row needs, mien's column is
added: OpenFace has no emotions, and neither OpenFace nor DeepFace has the source. An emotion that a program does not
know gets a name in its manner; `--emotions 7` gives exactly those of Py-Feat and DeepFace.

Sources:
    Py-Feat 0.6: `feat/utils/__init__.py` (FEAT_FACEBOX_COLUMNS, FEAT_EMOTION_COLUMNS, openface_2d_landmark_columns) and
        the order of `output_columns` in `feat/detector.py`; `detect_image` counts `frame` up over the images
        (`frame_counter`), https://github.com/cosanlab/py-feat
    OpenFace 2.2: https://github.com/TadasBaltrusaitis/OpenFace/wiki/Output-Format
    DeepFace 0.0.9x: the dictionaries of `DeepFace.analyze` (`deepface/modules/demography.py`), flattened as by
        `pandas.json_normalize`; percent, https://github.com/serengil/deepface
    The three landmarks that have a number among the 68 (nose tip 30, right and left mouth corner 48 and 54): Sagonas et
        al. 2013, 300 Faces in-the-Wild.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

from mien.errors import ConfigError, meant
from mien.output.schema import Column, Layout, Row, Value, columns, rows
from mien.results import FrameResult


@dataclass(frozen=True, slots=True)
class _Renamed:
    """A column of the other program, and how its value is made from a row of mien's."""

    column: Column
    value: Callable[[Row], Value]


@dataclass(frozen=True, slots=True)
class Style:
    """The columns of one program.

    Attributes:
        name: The value of `--style`.
        before: The columns before the emotions.
        emotion: The column of an emotion.
        after: The columns behind them.
        counts_images: Whether `frame` counts the images of a table, as for the frames of a video.
        lacks: What it has no column for in videos, in words; empty if it has all.
    """

    name: str
    before: tuple[_Renamed, ...]
    emotion: Callable[[str], _Renamed]
    after: tuple[_Renamed, ...]
    counts_images: bool = False
    lacks: str = ""

    def columns(self, layout: Layout) -> tuple[Column, ...]:
        """The columns in order."""
        return tuple(renamed.column for renamed in self._all(layout))

    def rows(self, result: FrameResult, layout: Layout, number: int = 0) -> list[Row]:
        """The rows of one result, each with the names of `columns` in their order; None for an empty cell.

        Args:
            result: The result.
            layout: The columns that depend on what is analysed.
            number: The position of the result in its table, from 0.

        Raises:
            ValueError: A face's expression has other emotions than the table.
        """
        if self.counts_images and result.timestamp is None:
            result = replace(result, frame=number)
        renamed = self._all(layout)
        return [{one.column.name: one.value(row) for one in renamed} for row in rows(result, layout)]

    def _all(self, layout: Layout) -> tuple[_Renamed, ...]:
        return (*self.before, *map(self.emotion, layout.emotions), *self.after)


class _Mien(Style):
    """All columns of the schema, also those on request, which no other program has in this form."""

    def rows(self, result: FrameResult, layout: Layout, number: int = 0) -> list[Row]:
        """See `Style.rows`: those of the schema as they are."""
        del number  # images count as 0
        return rows(result, layout)

    def _all(self, layout: Layout) -> tuple[_Renamed, ...]:
        return tuple(_Renamed(column, itemgetter(column.name)) for column in columns(layout))


def style_named(name: str, layout: Layout) -> Style:
    """The style of that name.

    Raises:
        ConfigError: There is no such style, or it has no columns for what the layout requests.
    """
    if name not in STYLES:
        raise ConfigError(f"there is no style '{name}'", hint=f"{meant(name, STYLES)}choose one of {', '.join(STYLES)}")
    if name != MIEN.name and (layout.keypoints or layout.smoothed):
        requested = "keypoints" if layout.keypoints else "smoothed probabilities"
        raise ConfigError(f"the style '{name}' has no columns for {requested}", hint=f"use the style {MIEN.name}")
    return STYLES[name]


_OURS: Final = {column.name: column for column in columns(Layout(()))}


def _same(name: str, ours: str | None = None) -> _Renamed:
    """A column of mien's, possibly under another name."""
    return _Renamed(replace(_OURS[ours or name], name=name), itemgetter(ours or name))


def _emotion(ours: str, name: str | None = None) -> _Renamed:
    """The column of an emotion's probability, possibly under another name."""
    (column,) = (column for column in columns(Layout((ours,))) if column.name == ours)
    return _Renamed(replace(column, name=name or ours), itemgetter(ours))


def _number(row: Row, name: str) -> float | None:
    value = row[name]
    return None if value is None else float(value)


def _extent(low: str, high: str) -> Callable[[Row], Value]:
    """The length from one edge of the box to the other."""

    def value(row: Row) -> Value:
        start, end = _number(row, low), _number(row, high)
        return None if start is None or end is None else round(end - start, 2)

    return value


def _or(name: str, otherwise: Value) -> Callable[[Row], Value]:
    """The value in mien's column, or another where this is empty."""
    return lambda row: otherwise if row[name] is None else row[name]


def _made(name: str, ours: str, value: Callable[[Row], Value], **changes: str) -> _Renamed:
    """A column of mien's with another name, value and description."""
    return _Renamed(replace(_OURS[ours], name=name, **changes), value)  # type: ignore[arg-type]


def _whole(name: str, ours: str, value_of: Callable[[Row], Value], **changes: str) -> _Renamed:
    """A column rounded to whole pixels."""

    def value(row: Row) -> Value:
        found = value_of(row)
        return None if found is None else round(float(found))

    return _made(name, ours, value, type="integer", **changes)


_WIDTH, _HEIGHT = _extent("x0", "x1"), _extent("y0", "y1")

# The numbers of the landmarks among the 68 of Multi-PIE; the centres of the eyes have none.
_NUMBERED: Final = {30: "nose", 48: "right_mouth", 54: "left_mouth"}
_LANDMARKS: Final = tuple(
    _same(f"{axis}_{number}", f"{name}_{axis}") for axis in "xy" for number, name in _NUMBERED.items()
)

MIEN: Final = _Mien("mien", before=(), emotion=_emotion, after=())

_PYFEAT: Final = Style(
    "pyfeat",
    before=(
        _made("frame", "frame", itemgetter("frame"), meaning="Position of the image in the table, or in its video."),
        _same("FaceRectX", "x0"),
        _same("FaceRectY", "y0"),
        _made("FaceRectWidth", "x0", _WIDTH, meaning="Width of the box."),
        _made("FaceRectHeight", "y0", _HEIGHT, meaning="Height of the box."),
        _same("FaceScore", "score"),
        *_LANDMARKS,
    ),
    emotion=_emotion,
    after=(_same("input", "source"),),
    counts_images=True,
    lacks="the person and the time",
)

_OPENFACE: Final = Style(
    "openface",
    before=(
        _Renamed(
            Column("frame", "integer", "from 1", "Position in a video; 1 for an image."),
            lambda row: int(row["frame"] or 0) + 1,
        ),
        _made(
            "face_id",
            "face",
            lambda row: _or("face", 0)(row) if row["track"] is None else row["track"],
            meaning="The person of a face of a video, or the number of the face in its image; 0 without a face.",
            empty="",
        ),
        _made(
            "timestamp", "timestamp", _or("timestamp", 0.0), meaning="Seconds in the video; 0 for an image.", empty=""
        ),
        _made("confidence", "score", _or("score", 0.0), meaning="Score of the detector; 0 without a face.", empty=""),
        _Renamed(
            Column("success", "integer", "0 or 1", "1 for a face, 0 without a face."),
            lambda row: int(row["face"] is not None),
        ),
        *_LANDMARKS,
    ),
    emotion=_emotion,
    after=(_same("source"),),
)

_DEEPFACE_WORDS: Final = {"anger": "angry", "happiness": "happy", "sadness": "sad"}


def _deepface_emotion(name: str) -> _Renamed:
    ours = _emotion(name, f"emotion.{_DEEPFACE_WORDS.get(name, name)}").column

    def percent(row: Row) -> Value:
        probability = _number(row, name)
        return None if probability is None else round(100 * probability, 4)

    return _Renamed(replace(ours, unit="percent", meaning="Probability of this emotion; a row sums to 100."), percent)


def _deepface_word(row: Row) -> Value:
    return _DEEPFACE_WORDS.get(str(row["emotion"]), row["emotion"])


_DEEPFACE: Final = Style(
    "deepface",
    before=(
        _same("source"),
        _made(
            "dominant_emotion",
            "emotion",
            _deepface_word,
            meaning="The most probable emotion, in DeepFace's vocabulary.",
        ),
        _same("face_confidence", "score"),
    ),
    emotion=_deepface_emotion,
    after=(
        _whole("region.x", "x0", itemgetter("x0")),
        _whole("region.y", "y0", itemgetter("y0")),
        _whole("region.w", "x0", _WIDTH, meaning="Width of the box."),
        _whole("region.h", "y0", _HEIGHT, meaning="Height of the box."),
    ),
    lacks="the person, the frame and the time",
)

STYLES: Final[dict[str, Style]] = {style.name: style for style in (MIEN, _PYFEAT, _OPENFACE, _DEEPFACE)}
