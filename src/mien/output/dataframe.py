"""Results as a pandas table (`mien[report]`); pandas is loaded when it is asked for."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mien.emotions import vocabulary
from mien.errors import MissingExtraError
from mien.output.styles import MIEN, style_named
from mien.results import FrameResult

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["to_pandas"]

# Types that can be empty, and stay what they are where they are not.
_TYPES = {"text": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}


def to_pandas(
    results: FrameResult | Iterable[FrameResult], emotions: Sequence[str] | None = None, *, style: str = MIEN.name
) -> "DataFrame":
    """A table with one row per face and the columns of every mien table.

    Args:
        results: One result, or several.
        emotions: The columns of probabilities, as `Analyzer.emotions`; None for those of the first face that has
            any, or the eight of the default.
        style: Whose names the columns have: mien's, or those of another program.

    Raises:
        MissingExtraError: pandas is not installed.
        ConfigError: There is no such style.
        ValueError: The results differ in their emotions.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("a pandas table", "report") from None
    results = [results] if isinstance(results, FrameResult) else list(results)
    if emotions is None:
        known = (face.expression.emotions for result in results for face in result if face.expression)
        emotions = next(known, vocabulary(8))
    names = style_named(style)
    rows = [row for result in results for row in names.rows(result, emotions)]
    columns = names.columns(emotions)
    table = pandas.DataFrame(rows, columns=[column.name for column in columns])
    return table.astype({column.name: _TYPES[column.type] for column in columns})
