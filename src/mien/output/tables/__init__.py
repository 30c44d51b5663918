"""Results as tables: files in the formats of this folder, and pandas.

To add a format, write `<suffix>.py` in this folder with a `TABLE` (see `mien.output.base.TableFormat`), and with
`read_rows(path)` (see `ReadRows` there) if `mien report` and others shall read it.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from mien.emotions import vocabulary
from mien.errors import ConfigError, MissingExtraError, meant
from mien.names import to_cell
from mien.output.base import Output, TableFormat, checked_result
from mien.output.schema import Layout
from mien.output.styles import MIEN, style_named
from mien.results import Face, FrameResult

if TYPE_CHECKING:
    from pandas import DataFrame

_KEYPOINTS: Final = 70  # of a face, by the method mien

__all__ = ["open_table", "table_formats", "table_module", "to_pandas"]


def table_formats() -> tuple[str, ...]:
    """The names of the formats, which are the suffixes of their files without the dot."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def table_module(format: str) -> ModuleType:
    """The module of a format."""
    return importlib.import_module(f"{__name__}.{format}")


def open_table(
    path: str | Path,
    emotions: int | Sequence[str],
    *,
    format: str | None = None,
    style: str = MIEN.name,
    keypoints: int = 0,
    smoothed: bool = False,
) -> Output:
    """A table to be used in a `with` statement, in the format that the suffix of `path` names.

    Args:
        path: The file to write; "-" is standard output.
        emotions: The columns of probabilities, as `Analyzer.emotions`, or the size of a vocabulary; the results must
            have the same emotions, in this order.
        format: Name of the format; None for the suffix of `path`, and for CSV on standard output.
        style: Whose column names to use: mien's, or those of another program.
        keypoints: Number of dense keypoints per face to write, 70 of `mien`, as for True, and 68 of dlib's predictor:
            adds the pose, the measures, `keypoint_scheme`, `x_0`, `y_0`, `x_1`, ...
        smoothed: Also write the probabilities that are smoothed along a track: `smoothed_anger`, ...

    Raises:
        ConfigError: There is no such format or style, the style has no columns for what is requested, or an argument
            has a value that cannot be used.
        MissingExtraError: The format needs packages that are not installed.
    """
    formats = table_formats()
    layout = Layout(_classes(emotions), _count(keypoints), smoothed)
    names = style_named(style, layout)
    if format is None:
        suffix = ".csv" if str(path) == "-" else Path(path).suffix.lower()
        format = suffix.removeprefix(".")
        if format not in formats:
            if Path(path).is_dir():
                raise ConfigError(
                    f"no table can be written to '{path}': it is a folder",
                    hint=f"for example {Path(path) / 'faces.csv'}",
                )
            expected, found = " or ".join(f".{name}" for name in formats), f"'{suffix}'" if suffix else "none"
            raise ConfigError(
                f"no table format for '{path}': expected the suffix {expected}, found {found}",
                hint=_instead(Path(path)),
            )
    if format not in formats:
        raise ConfigError(
            f"there is no table format '{format}'", hint=f"{meant(format, formats)}choose one of {', '.join(formats)}"
        )
    table: TableFormat = table_module(format).TABLE
    return table(path, layout, names)


def _classes(given: object) -> tuple[str, ...]:
    """The names of classes: those given, or the vocabulary of that size.

    Raises:
        ConfigError: They are neither.
    """
    if isinstance(given, Integral) and not isinstance(given, bool):
        return vocabulary(int(given))
    names = (None,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"emotions: expected the names of the classes, got {repr(given)[:80]}",
            hint="pass Analyzer.emotions, or the size of a vocabulary, for example 8",
        )
    return names


def _count(keypoints: object) -> int:
    """The number of keypoints of a face.

    Raises:
        ConfigError: It is something else.
    """
    if keypoints is True:
        return _KEYPOINTS
    if not isinstance(keypoints, Integral) or keypoints < 0:
        raise ConfigError(
            f"keypoints: expected the number of keypoints of a face, got {repr(keypoints)[:80]}",
            hint="70 of the method mien, 68 of dlib, 0 for none",
        )
    return int(keypoints)


def _instead(path: Path) -> str:
    """The name to give to a table instead of this one."""
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        inner = path.with_suffix("")
        is_table = inner.suffix.lower().removeprefix(".") in table_formats()
        return f"for example {inner if is_table else inner.with_suffix('.csv')}, and compress it afterwards"
    if path.name.lower().removeprefix(".") in table_formats():  # a suffix alone
        return f"for example {path.with_name(f'faces{path.name}')}"
    name = path.with_suffix(".jsonl" if suffix in (".json", ".ndjson") else ".csv")
    opens = ", which Excel opens" if suffix.startswith(".xls") else ""
    return f"for example {name}{opens}"


_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")


# Types that can be empty and keep their values as they are.
_PANDAS_TYPES = {"text": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}


def to_pandas(
    results: FrameResult | Iterable[FrameResult],
    emotions: int | Sequence[str] | None = None,
    *,
    style: str = MIEN.name,
    keypoints: int | None = None,
    smoothed: bool | None = None,
) -> "DataFrame":
    """A pandas table with one row per face and the same columns as the files.

    Args:
        results: One result, or several.
        emotions: As in `open_table`; None for those of the first face that has any, or the eight of the default.
        style: As in `open_table`.
        keypoints: As in `open_table`; True for as many as the first face has that has any; None for the same, in mien's
            own style.
        smoothed: As in `open_table`; None for whether any face has them, in mien's own style.

    Raises:
        MissingExtraError: pandas is not installed.
        ConfigError: There is no such style, it has no columns for what is requested, or an argument has a value that
            cannot be used.
        TypeError: `results` are no results; the message has the conversion of faces.
        ValueError: The results differ in their emotions.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("a pandas table", "report") from None
    one = isinstance(results, (FrameResult, Face, str)) or not isinstance(results, Iterable)
    results = [checked_result(result) for result in ([results] if one else results)]
    faces = [face for result in results for face in result]
    if emotions is None:
        known = (face.expression.emotions for face in faces if face.expression is not None)
        emotions = next(known, vocabulary(8))
    own = style == MIEN.name  # other styles have no columns for more
    if keypoints is True or (keypoints is None and own):
        keypoints = next((len(face.keypoints) for face in faces if face.keypoints is not None), 0)
    if smoothed is None:
        smoothed = own and any(face.smoothed is not None for face in faces)
    layout = Layout(_classes(emotions), _count(keypoints or 0), smoothed)
    names = style_named(style, layout)
    rows = [
        {key: to_cell(cell) if isinstance(cell, str) else cell for key, cell in row.items()}
        for number, result in enumerate(results)
        for row in names.rows(result, layout, number)
    ]
    columns = names.columns(layout)
    table = pandas.DataFrame(rows, columns=[column.name for column in columns])
    return table.astype({column.name: _PANDAS_TYPES[column.type] for column in columns})
