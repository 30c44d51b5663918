"""The schema is what is written: names, types, and when a cell may be empty; in tables, JSON and pandas alike."""

import json
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from tests.output.tables.test_text import RESULTS, SIX

from mien.emotions import vocabulary
from mien.errors import ConfigError, MissingExtraError
from mien.output import SCHEMA, STYLES, document, open_table, rows, table_columns, to_pandas
from mien.output.rows import Row
from mien.output.schema import FACE, FRAME, Column, columns
from mien.results import Expression, Face, FrameResult

KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}


def fits(values: dict[str, object], defined: Sequence[Column]) -> None:
    """Fails if keys, types or empty values are others than those defined."""
    assert list(values) == [column.name for column in defined]
    for column in defined:
        value = values[column.name]
        if value is None:
            assert column.empty, f"{column.name} is empty"
        else:
            assert isinstance(value, KINDS[column.type]), (column.name, value)
            assert isinstance(value, bool) == (column.type == "boolean")


def test_rows_are_as_defined() -> None:
    for result in RESULTS:
        for row in rows(result, SIX):
            fits(dict(row), columns(SIX))


@pytest.mark.parametrize("style", list(STYLES))
def test_rows_of_every_style_are_as_defined(style: str) -> None:
    defined = STYLES[style].columns(SIX)
    assert len({column.name for column in defined}) == len(defined)
    for result in RESULTS:
        found = STYLES[style].rows(result, SIX)
        assert len(found) == max(1, len(result))
        for row in found:
            fits(dict(row), defined)


def test_the_json_is_as_defined() -> None:
    for result in RESULTS:
        shown = json.loads(json.dumps(document(result)))
        fits(shown, FRAME)
        assert shown["schema"] == SCHEMA
        for face, given in zip(shown["faces"], result, strict=True):
            fits(face, FACE if given.expression else FACE[:4])


def test_every_column_is_explained() -> None:
    for column in (*columns(SIX), *FRAME, *FACE, *(one for style in STYLES.values() for one in style.columns(SIX))):
        assert column.meaning.endswith("."), column
        assert (column.unit != "") >= (column.type == "number"), column
        assert "|" not in f"{column}", "it would break the table in the documents"


def one_face() -> FrameResult:
    expression = Expression(np.array([0.02, 0.03, 0.05, 0.6, 0.1, 0.05, 0.1, 0.05], np.float32), vocabulary(8))
    points = np.array([[20, 30], [40, 31], [30, 40.5], [22, 50], [38, 51]], np.float32)
    face = Face(np.array([10.4, 20, 50.4, 70.26], np.float32), 0.75, points, expression=expression)
    return FrameResult("a.jpg", frame=4, timestamp=0.16, width=99, height=99, faces=(face,))


def row_of(style: str, result: FrameResult | None = None) -> Row:
    (row,) = STYLES[style].rows(one_face() if result is None else result, vocabulary(8))
    return row


def test_pyfeat() -> None:
    assert row_of("pyfeat") == {
        "frame": 4, "FaceRectX": 10.4, "FaceRectY": 20.0, "FaceRectWidth": 40.0, "FaceRectHeight": 50.26,
        "FaceScore": 0.75, "x_30": 30.0, "x_48": 22.0, "x_54": 38.0, "y_30": 40.5, "y_48": 50.0, "y_54": 51.0,
        "anger": 0.02, "disgust": 0.03, "fear": 0.05, "happiness": 0.6, "sadness": 0.1, "surprise": 0.05,
        "neutral": 0.1, "contempt": 0.05, "input": "a.jpg",
    }  # fmt: skip


def test_openface() -> None:
    row = row_of("openface")
    assert list(row)[:5] == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert list(row.values())[:5] == [5, 0, 0.16, 0.75, 1]
    assert (row["x_30"], row["y_48"], row["happiness"], row["source"]) == (30.0, 50.0, 0.6, "a.jpg")
    missed = row_of("openface", FrameResult("b.jpg", width=9, height=9))
    assert list(missed.values())[:5] == [1, 0, 0.0, 0.0, 0]
    assert missed["happiness"] is None


def test_deepface() -> None:
    row = row_of("deepface")
    assert row["dominant_emotion"] == "happy"
    assert [row[f"region.{side}"] for side in "xywh"] == [10, 20, 40, 50]
    assert [type(row[f"region.{side}"]) for side in "xywh"] == [int] * 4
    percent = {name: value for name, value in row.items() if name.startswith("emotion.")}
    assert list(percent)[:7] == [
        f"emotion.{word}" for word in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    ]
    assert sum(float(value or 0) for value in percent.values()) == pytest.approx(100, abs=1e-3)
    assert row["face_confidence"] == 0.75


@pytest.mark.parametrize("size", [6, 7, 8, 10])
@pytest.mark.parametrize("style", list(STYLES))
def test_styles_take_every_vocabulary(style: str, size: int) -> None:
    names = vocabulary(size)
    expression = Expression(np.full(size, 1 / size, np.float32), names)
    face = Face(np.array([0, 0, 9, 9], np.float32), 1, expression=expression)
    (row,) = STYLES[style].rows(FrameResult("x", width=9, height=9, faces=(face,)), names)
    assert tuple(row) == tuple(column.name for column in STYLES[style].columns(names))
    assert len(row) - len(STYLES[style].columns(())) == size
    assert (None in row.values()) == (style != "deepface")  # landmarks and timestamp


def test_an_unknown_style_or_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="there is no style 'fer'") as caught:
        open_table("-", SIX, style="fer")
    assert caught.value.hint == "choose one of mien, pyfeat, openface, deepface"
    with pytest.raises(ConfigError, match="there is no table format 'xml'") as caught:
        open_table("-", SIX, kind="xml")
    assert caught.value.hint == "choose one of csv, jsonl, parquet"


def test_pandas_has_the_rows_and_types_of_the_schema() -> None:
    table = to_pandas(RESULTS, SIX)
    assert tuple(table.columns) == table_columns(SIX)
    expected = [row for result in RESULTS for row in rows(result, SIX)]
    assert len(table) == len(expected)
    for (_, found), row in zip(table.iterrows(), expected, strict=True):
        for name, value in row.items():
            assert pd.isna(found[name]) if value is None else found[name] == value
    kinds = {"text": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}
    assert [str(kind) for kind in table.dtypes] == [kinds[column.type] for column in columns(SIX)]
    # Without being told, it takes the emotions that the faces have.
    assert to_pandas(RESULTS).equals(table)
    assert to_pandas(one_face(), style="deepface").loc[0, "emotion.happy"] == pytest.approx(60)
    assert tuple(to_pandas([]).columns) == table_columns(vocabulary(8))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="a pandas table") as caught:
        to_pandas(RESULTS)
    assert caught.value.hint == "pip install 'mien[report]'"
    with pytest.raises(MissingExtraError, match="a Parquet table") as caught:
        open_table("x.parquet", SIX)
    assert caught.value.hint == "pip install 'mien[report]'"
