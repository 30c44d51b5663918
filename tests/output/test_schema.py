"""The schema is what is written: names, types, and when a cell may be empty; in tables, JSON and pandas."""

import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from tests.output.tables.test_text import COLUMNS, RESULTS, SIX

from mien.emotions import vocabulary
from mien.errors import ConfigError, MissingExtraError
from mien.output import SCHEMA, STYLES, Layout, document, open_table, rows, table_columns, to_pandas
from mien.output.schema import EXPRESSION, FACE, FRAME, Column, Row, columns, keys
from mien.results import AFFECT, Affect, Expression, Face, FrameResult, Measures

VERSION = Column("schema", "integer", "", "The version of this definition.")

KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}


def fits(values: dict[str, object], defined: Sequence[Column]) -> None:
    """Fails if keys, types or empty values differ from those defined."""
    assert set(values) == {column.name for column in defined}
    for column in defined:
        value = values[column.name]
        if value is None:
            assert column.empty, f"{column.name} is empty"
        else:
            assert isinstance(value, KINDS[column.type]), (column.name, value)
            assert isinstance(value, bool) == (column.type == "boolean")


def test_rows_are_as_defined() -> None:
    for result in RESULTS:
        for row in rows(result, COLUMNS):
            fits(dict(row), columns(COLUMNS))
            assert list(row) == [column.name for column in columns(COLUMNS)]


@pytest.mark.parametrize("style", list(STYLES))
def test_rows_of_every_style_are_as_defined(style: str) -> None:
    defined = STYLES[style].columns(COLUMNS)
    assert len({column.name for column in defined}) == len(defined)
    for result in RESULTS:
        found = STYLES[style].rows(result, COLUMNS)
        assert len(found) == max(1, len(result))
        for row in found:
            fits(dict(row), defined)


def test_the_json_is_as_defined() -> None:
    for result in RESULTS:
        shown = json.loads(json.dumps(document(result)))
        fits(shown, (VERSION, *keys(FRAME)))
        assert shown["schema"] == SCHEMA
        for face, given in zip(shown["faces"], result, strict=True):
            fits(face, keys(FACE, EXPRESSION))
            assert (face["emotion"] is None) == (given.expression is None)


def test_every_column_is_explained() -> None:
    all_columns = [one for style in STYLES.values() for one in style.columns(COLUMNS)]
    for column in (*columns(EVERYTHING), *keys(FRAME, FACE, EXPRESSION), *all_columns):
        assert column.meaning.endswith("."), column
        assert (column.unit != "") >= (column.type == "number"), column
        assert "|" not in f"{column}", "it would break the table in the documents"


# Fields that an output does not have, and why.
NOT_IN_JSON = {"image": "pixels are in the annotated images", "expression": "its fields are keys of the face"}
NOT_IN_TABLES = {
    "image": "pixels are in the annotated images",
    "width": "the same for all faces of an image",
    "height": "the same for all faces of an image",
}
EVERYTHING = Layout(SIX, keypoints=2, smoothed=True)
GROUPS = {FrameResult: FRAME, Face: FACE, Expression: EXPRESSION}
DOCUMENT = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, field.name) for kind in (FrameResult, Face) for field in fields(kind)]
)
def test_every_field_reaches_every_output_and_the_documentation(kind: type, name: str) -> None:
    field = next((field for field in GROUPS[kind] if field.name == name), None)
    assert (field is None or field.key is None) == (name in NOT_IN_JSON)
    assert (field is None or not field.columns(EVERYTHING)) == (name in NOT_IN_TABLES)
    if field is not None:
        for column in (*([field.key] if field.key else []), *field.columns(Layout(("emotion...",), 1, smoothed=True))):
            shown = column.name.replace("_emotion...", "_EMOTION").replace("_0", "_N")
            if column.name != "emotion...":
                assert f"| `{shown}` | {column.type} |" in DOCUMENT


def test_every_field_of_the_schema_is_one_of_the_results() -> None:
    for kind, group in GROUPS.items():
        attributes = {name for name in dir(kind) if not name.startswith("_")} | {"number"}
        assert {field.name for field in group} <= attributes


def dense_face() -> FrameResult:
    raw, smooth = (
        Expression(np.array(values, np.float32), SIX, affect=affect)
        for values, affect in (((1, 0, 0, 0, 0, 0), Affect.of(-0.5, 0.6)), ([1 / 6] * 6, Affect.of(0.1, 0.2)))
    )
    face = Face(
        np.array([1, 2, 30, 40], np.float32),
        0.75,
        track=7,
        expression=raw,
        smoothed=smooth,
        keypoints=np.array([[1.126, 2], [3, 4.5]], np.float32),
        keypoint_scheme="pair",
        pose=np.array([-12.345, 4, 0.5], np.float32),
        measures=Measures(0.31, 0.29, 0.4, 0.25, 0.8, iris_x=-0.123456),
    )
    return FrameResult("clip.mp4", frame=3, timestamp=0.12, width=64, height=48, faces=(face,))


def test_keypoints_and_smoothed_probabilities_are_columns_on_request() -> None:
    (plain,), (row,) = rows(dense_face(), COLUMNS), rows(dense_face(), EVERYTHING)
    assert row | plain == row
    extra = [name for name in row if name not in plain]
    points = ["keypoint_scheme", "x_0", "y_0", "x_1", "y_1"]
    measured = [field.name for field in fields(Measures)]
    assert extra == ["yaw", "pitch", "roll", *measured, *points, *(f"smoothed_{name}" for name in (*SIX, *AFFECT))]
    assert [row[name] for name in points] == ["pair", 1.13, 2.0, 3.0, 4.5]
    assert [row[name] for name in ("yaw", "pitch", "roll")] == [-12.35, 4.0, 0.5]
    assert [row[name] for name in measured] == [0.31, 0.29, 0.4, 0.25, 0.8, -0.1235, None]
    assert (row["anger"], row["smoothed_anger"], row["track"]) == (1.0, 0.166667, 7)
    assert (row["valence"], row["negative"], row["smoothed_valence"], row["smoothed_positive"]) == (-0.5, 0.5, 0.1, 0.1)
    for column in columns(EVERYTHING):
        assert row[column.name] is None or isinstance(row[column.name], KINDS[column.type])


def test_faces_with_fewer_keypoints_have_empty_cells_and_more_are_refused() -> None:
    (row,) = rows(dense_face(), replace(EVERYTHING, keypoints=3))
    assert (row["x_1"], row["x_2"], row["y_2"]) == (3.0, None, None)
    with pytest.raises(ValueError, match="this table has 1, the face has 2"):
        rows(dense_face(), replace(EVERYTHING, keypoints=1))


def test_the_json_has_keypoints_with_their_scheme_and_both_distributions() -> None:
    (shown,) = json.loads(json.dumps(document(dense_face())))["faces"]
    assert (shown["pose"]["pitch"], shown["measures"]["smile_width"]) == (4, 0.8)
    assert (shown["keypoint_scheme"], np.shape(shown["keypoints"]), shown["track"]) == ("pair", (2, 2), 7)
    assert shown["emotions"]["anger"] == 1
    assert shown["smoothed"]["anger"] == pytest.approx(1 / 6)
    assert shown["affect"] == {"valence": -0.5, "arousal": 0.6, "positive": 0.0, "negative": 0.5}
    assert shown["smoothed_affect"]["valence"] == 0.1


def test_tables_on_request_in_every_format_and_in_pandas(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        with open_table(tmp_path / f"out.{suffix}", SIX, keypoints=2, smoothed=True) as table:
            table.write(dense_face())
        read = {"csv": pd.read_csv, "parquet": pd.read_parquet}.get(suffix, lambda path: pd.read_json(path, lines=True))
        assert list(read(tmp_path / f"out.{suffix}").columns) == [column.name for column in columns(EVERYTHING)]
    assert to_pandas(dense_face(), keypoints=2)["y_1"].tolist() == [4.5]


def test_pandas_has_all_that_the_faces_have() -> None:
    """Keypoints that were asked for would be lost without a word."""
    table = to_pandas([FrameResult("none.jpg", width=9, height=9), dense_face()])
    assert tuple(table.columns) == tuple(column.name for column in columns(EVERYTHING))
    assert table.loc[1, "pitch"] == 4
    assert tuple(to_pandas(dense_face(), keypoints=0, smoothed=False).columns) == table_columns(SIX)
    assert "yaw" not in to_pandas(dense_face(), style="openface")


def test_styles_of_other_programs_refuse_columns_that_they_do_not_have() -> None:
    with pytest.raises(ConfigError, match="the style 'pyfeat' has no columns for keypoints"):
        open_table("-", SIX, style="pyfeat", keypoints=68)
    with pytest.raises(ConfigError, match="the style 'openface' has no columns for smoothed probabilities"):
        to_pandas(dense_face(), style="openface", smoothed=True)


def one_face() -> FrameResult:
    expression = Expression(np.array([0.02, 0.03, 0.05, 0.6, 0.1, 0.05, 0.1, 0.05], np.float32), vocabulary(8))
    points = np.array([[20, 30], [40, 31], [30, 40.5], [22, 50], [38, 51]], np.float32)
    face = Face(np.array([10.4, 20, 50.4, 70.26], np.float32), 0.75, points, expression=expression)
    return FrameResult("a.jpg", frame=4, timestamp=0.16, width=99, height=99, faces=(face,))


def row_of(style: str, result: FrameResult | None = None) -> Row:
    (row,) = STYLES[style].rows(one_face() if result is None else result, Layout(vocabulary(8)))
    return row


def test_pyfeat() -> None:
    assert row_of("pyfeat") == {
        "frame": 4, "FaceRectX": 10.4, "FaceRectY": 20.0, "FaceRectWidth": 40.0, "FaceRectHeight": 50.26,
        "FaceScore": 0.75, "x_30": 30.0, "x_48": 22.0, "x_54": 38.0, "y_30": 40.5, "y_48": 50.0, "y_54": 51.0,
        "anger": 0.02, "disgust": 0.03, "fear": 0.05, "happiness": 0.6, "sadness": 0.1, "surprise": 0.05,
        "neutral": 0.1, "contempt": 0.05, "input": "a.jpg",
    }  # fmt: skip


def test_in_videos_openface_numbers_the_people() -> None:
    """The faces of a frame are in order of their size, which changes from one frame to the next."""
    (face,) = one_face()
    small, large = (replace(face, track=track) for track in (3, 1))
    found = STYLES["openface"].rows(replace(one_face(), faces=(large, small)), Layout(vocabulary(8)))
    assert [row["face_id"] for row in found] == [1, 3]


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
    (row,) = STYLES[style].rows(FrameResult("x", width=9, height=9, faces=(face,)), Layout(names))
    assert tuple(row) == tuple(column.name for column in STYLES[style].columns(Layout(names)))
    assert len(row) - len(STYLES[style].columns(Layout(()))) == size
    assert (None in row.values()) == (style != "deepface")  # landmarks and timestamp


def test_an_unknown_style_or_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="there is no style 'fer'") as caught:
        open_table("-", SIX, style="fer")
    assert caught.value.hint == "choose one of mien, pyfeat, openface, deepface"
    with pytest.raises(ConfigError, match="there is no table format 'xml'") as caught:
        open_table("-", SIX, format="xml")
    assert caught.value.hint == "choose one of csv, jsonl, parquet"


def test_pandas_has_the_rows_and_types_of_the_schema() -> None:
    table = to_pandas(RESULTS, SIX)
    assert tuple(table.columns) == table_columns(SIX)
    expected = [row for result in RESULTS for row in rows(result, COLUMNS)]
    assert len(table) == len(expected)
    for (_, found), row in zip(table.iterrows(), expected, strict=True):
        for name, value in row.items():
            assert pd.isna(found[name]) if value is None else found[name] == value
    kinds = {"text": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}
    assert [str(kind) for kind in table.dtypes] == [kinds[column.type] for column in columns(COLUMNS)]
    assert to_pandas(RESULTS, 6).equals(table)
    # Without being told, it takes the emotions that the faces have.
    assert to_pandas(RESULTS).equals(table)
    assert to_pandas(one_face(), style="deepface").loc[0, "emotion.happy"] == pytest.approx(60)
    assert tuple(to_pandas([]).columns) == table_columns(vocabulary(8))


def test_faces_are_refused_where_results_are_expected(tmp_path: Path) -> None:
    face = one_face()[0]
    for given in (face, [face], [one_face(), face]):
        with pytest.raises(
            TypeError, match=r"got Face; to write faces, .*FrameResult\('photo.jpg', faces=tuple\(faces\)"
        ):
            to_pandas(given)  # type: ignore[arg-type]
    with (
        open_table(tmp_path / "a.csv", 8) as table,
        pytest.raises(TypeError, match=r"expected a FrameResult .* got Face"),
    ):
        table.write(face)  # type: ignore[arg-type]
    for other, kind in ((None, "NoneType"), ("a.jpg", "str"), (["a.jpg"], "str")):
        with pytest.raises(TypeError, match=f"expected a FrameResult of mien.analyze, got {kind}$"):
            to_pandas(other)  # type: ignore[arg-type]
    assert len(to_pandas(FrameResult("photo.jpg", faces=(face,)))) == 1


def test_the_classes_of_a_table_may_be_a_number(tmp_path: Path) -> None:
    for given in (6, cast(int, np.int64(6)), list(SIX)):
        with open_table(tmp_path / "a.csv", given) as table:
            table.write(RESULTS[0])
        assert tuple(pd.read_csv(tmp_path / "a.csv").columns) == table_columns(SIX)
    detected = FrameResult("a.jpg", faces=(replace(one_face()[0], expression=None),))
    assert tuple(to_pandas(detected, [])) == table_columns(())
    with pytest.raises(ConfigError, match="there is no vocabulary of 5 emotions"):
        open_table(tmp_path / "a.csv", 5)


@pytest.mark.parametrize("given", ["happiness", None, True, [1, 2]])
def test_classes_that_no_table_has(given: Any) -> None:
    with pytest.raises(ConfigError, match="emotions: expected the names of the classes, got") as caught:
        open_table("-", given)
    assert caught.value.hint == "pass Analyzer.emotions, or the size of a vocabulary, for example 8"


def test_keypoints_are_a_number(tmp_path: Path) -> None:
    for given in (-1, 1.5, "70", None):
        with pytest.raises(ConfigError, match="keypoints: expected the number of keypoints of a face, got") as caught:
            open_table(tmp_path / "a.csv", SIX, keypoints=given)  # type: ignore[arg-type]
        assert "70" in caught.value.hint
    with open_table(tmp_path / "a.csv", SIX, keypoints=False) as table:
        table.write(dense_face())
    assert tuple(pd.read_csv(tmp_path / "a.csv").columns) == table_columns(SIX)
    # A data frame is made of faces that are known.
    assert to_pandas(dense_face(), keypoints=True).equals(to_pandas(dense_face()))
    assert to_pandas(dense_face(), keypoints=False).equals(to_pandas(dense_face(), keypoints=0))
    with pytest.raises(ConfigError, match="the style 'openface' has no columns for keypoints"):
        to_pandas(dense_face(), keypoints=True, style="openface")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="a pandas table") as caught:
        to_pandas(RESULTS)
    assert caught.value.hint == "pip install 'mien[report]'"
    with pytest.raises(MissingExtraError, match="a Parquet table") as caught:
        open_table("x.parquet", SIX)
    assert caught.value.hint == "pip install 'mien[report]'"
