"""Results as rows: one per face, or one for a image without any, with the columns of the schema."""

import re
from collections.abc import Sequence
from typing import Final

from mien.output.schema import BOX, POINTS, table_columns
from mien.results import Face, FrameResult

__all__ = ["Row", "Value", "rows"]

Value = str | int | float | bool | None
Row = dict[str, Value]

# Decimals: a hundredth of a pixel; probabilities such that a row's still sum to 1 within 1e-5; microseconds.
_PIXEL, _PROBABILITY, _SECOND = 2, 6, 6

# What a file name may have and a line of text may not: breaks and stray bytes.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def rows(result: FrameResult, emotions: Sequence[str]) -> list[Row]:
    """The rows of one result, each with the keys of `table_columns` in their order; None for an empty cell.

    One row per face, numbered from 0 in `face`. A image without a face or with an error gives one row,
    without a number.

    Raises:
        ValueError: A face's expression has other emotions than the table.
    """
    blank: Row = dict.fromkeys(table_columns(emotions))
    blank |= {
        "source": _on_one_line(result.source),
        "frame": result.frame,
        "timestamp": None if result.timestamp is None else _rounded(result.timestamp, _SECOND),
        "error": None if result.error is None else _on_one_line(result.error),
    }
    if not result.faces:
        return [blank]
    return [blank | {"face": number} | _face(face, emotions) for number, face in enumerate(result.faces)]


def _face(face: Face, emotions: Sequence[str]) -> Row:
    cells: Row = {name: _rounded(value, _PIXEL) for name, value in zip(BOX, face.box.tolist(), strict=True)}
    cells["score"] = _rounded(face.score, _PROBABILITY)
    if face.landmarks is not None:
        places = zip(POINTS, face.landmarks.ravel().tolist(), strict=True)
        cells |= {name: _rounded(value, _PIXEL) for name, value in places}
    expression = face.expression
    if expression is not None:
        if expression.emotions != tuple(emotions):
            raise ValueError(f"emotions: this table has {tuple(emotions)}, the face has {expression.emotions}")
        cells |= {name: _rounded(value, _PROBABILITY) for name, value in expression.as_dict().items()}
        cells["emotion"] = expression.emotion
        cells["confidence"] = _rounded(expression.confidence, _PROBABILITY)
        cells["uncertain"] = expression.uncertain
    return cells


def _on_one_line(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # adding turns -0.0 into 0.0
