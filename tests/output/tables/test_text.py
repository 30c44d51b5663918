"""The tables: their exact text, their rows, and what stays on the disk when things go wrong."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mien.emotions import vocabulary
from mien.errors import ConfigError, OutputError
from mien.names import from_cell
from mien.output import Layout, open_table, rows, table_columns, table_formats
from mien.output.tables.csv import CsvTable
from mien.output.tables.jsonl import JsonlTable
from mien.results import AFFECT, Affect, Expression, Face, FrameResult

SIX = vocabulary(6)
COLUMNS = Layout(SIX)


def expression(*values: float, uncertain: bool = False, affect: Affect | None = None) -> Expression:
    return Expression(np.array(values, np.float32), SIX, uncertain, affect)


def face(*box: float, points: bool = False, reading: Expression | None = None, track: int | None = None) -> Face:
    landmarks = np.arange(10, dtype=np.float32).reshape(5, 2) + 0.126 if points else None
    return Face(np.array(box, np.float32), 0.875, landmarks, track=track, expression=reading)


RESULTS = [
    FrameResult(
        "party.jpg",
        width=640,
        height=480,
        faces=(
            face(
                10,
                20.004,
                50.126,
                70,
                points=True,
                reading=expression(0.1, 0.05, 0.6, 0.125, 0.1, 0.025, affect=Affect.of(-0.25, 0.50000001)),
                track=3,
            ),
            face(-0.001, 0, 9, 9, reading=expression(0.2, 0.2, 0.1, 0.1, 0.1, 0.3, uncertain=True)),
        ),
    ),
    FrameResult(
        "clip, of the sea.mp4",
        frame=7,
        timestamp=0.2800000001,
        width=640,
        height=480,
        note="only the first of 3 frames was read",
    ),
    FrameResult("gone.png", error="'gone.png' does not exist"),
    FrameResult("seen.png", width=9, height=9, faces=(face(1, 2, 3, 4),)),
]

CSV = """\
source,frame,timestamp,track,face,x0,y0,x1,y1,score,right_eye_x,right_eye_y,left_eye_x,left_eye_y,nose_x,nose_y,\
right_mouth_x,right_mouth_y,left_mouth_x,left_mouth_y,anger,fear,happiness,sadness,surprise,neutral,\
emotion,confidence,uncertain,valence,arousal,positive,negative,error,note
party.jpg,0,,3,0,10.0,20.0,50.13,70.0,0.875,0.13,1.13,2.13,3.13,4.13,5.13,6.13,7.13,8.13,9.13,\
0.1,0.05,0.6,0.125,0.1,0.025,happiness,0.6,false,-0.25,0.5,0.0,0.25,,
party.jpg,0,,,1,0.0,0.0,9.0,9.0,0.875,,,,,,,,,,,0.2,0.2,0.1,0.1,0.1,0.3,neutral,0.3,true,,,,,,
"clip, of the sea.mp4",7,0.28,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,only the first of 3 frames was read
gone.png,0,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,'gone.png' does not exist,
seen.png,0,,,0,1.0,2.0,3.0,4.0,0.875,,,,,,,,,,,,,,,,,,,,,,,,,
"""

JSONL_SECOND_LINE = (
    '{"source": "party.jpg", "frame": 0, "timestamp": null, "track": null, "face": 1, "x0": 0.0, "y0": 0.0, "x1": 9.0, '
    '"y1": 9.0, "score": 0.875, "right_eye_x": null, "right_eye_y": null, "left_eye_x": null, '
    '"left_eye_y": null, "nose_x": null, "nose_y": null, "right_mouth_x": null, "right_mouth_y": null, '
    '"left_mouth_x": null, "left_mouth_y": null, "anger": 0.2, "fear": 0.2, "happiness": 0.1, "sadness": 0.1, '
    '"surprise": 0.1, "neutral": 0.3, "emotion": "neutral", "confidence": 0.3, "uncertain": true, "valence": null, '
    '"arousal": null, "positive": null, "negative": null, "error": null, "note": null}'
)


def test_the_csv_is_exactly_this(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with CsvTable(path, COLUMNS) as table:
        for result in RESULTS:
            table.write(result)
    assert path.read_bytes().decode() == CSV


def test_the_jsonl_has_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonlTable(path, COLUMNS) as table:
        for result in RESULTS:
            table.write(result)
    text = path.read_bytes().decode()
    assert text.endswith("}\n")
    assert text.split("\n")[1] == JSONL_SECOND_LINE
    objects = [json.loads(line) for line in text.splitlines()]
    assert [tuple(info) for info in objects] == [table_columns(SIX)] * 5
    cells = list(csv.DictReader(io.StringIO(CSV)))
    for info, row in zip(objects, cells, strict=True):
        for name, value in info.items():
            shown = "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)
            assert row[name] == shown


def test_columns_of_every_vocabulary() -> None:
    for size in (6, 7, 8, 10):
        columns = table_columns(vocabulary(size))
        assert len(set(columns)) == len(columns) == 29 + size
        assert columns[20 : 20 + size] == vocabulary(size)
        assert columns[-9:] == ("emotion", "confidence", "uncertain", *AFFECT, "error", "note")


@settings(deadline=None)
@given(
    st.sampled_from([6, 7, 8, 10]).flatmap(
        lambda size: hnp.arrays(np.float64, (3, size), elements=st.floats(0, 1e3, allow_subnormal=False))
    )
)
def test_rounded_rows_still_sum_to_one(weights: NDArray[np.float64]) -> None:
    names = vocabulary(weights.shape[1])
    weights = weights + 1e-9
    readings = [Expression((row / row.sum()).astype(np.float32), names) for row in weights]
    result = FrameResult("x", width=9, height=9, faces=tuple(face(0, 0, 1, 1, reading=one) for one in readings))
    for number, row in enumerate(rows(result, Layout(names))):
        probabilities = {name: float(row[name] or 0) for name in names}
        assert abs(sum(probabilities.values()) - 1) < 1e-5
        assert row["face"] == number
        assert row["confidence"] == probabilities[str(row["emotion"])] == max(probabilities.values())
        assert tuple(row) == table_columns(names)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.none() | st.text(max_size=20)), min_size=1, max_size=3))
def test_any_source_and_error_survive(texts: list[tuple[str, str | None]]) -> None:
    stream, lines = io.StringIO(newline=""), io.StringIO(newline="")
    with CsvTable(stream, COLUMNS) as table, JsonlTable(lines, COLUMNS) as jsonl:
        for source, error in texts:
            table.write(FrameResult(source, error=error))
            jsonl.write(FrameResult(source, error=error))
    text = stream.getvalue()
    table_rows = list(csv.DictReader(io.StringIO(text, newline="")))
    objects = [json.loads(line) for line in lines.getvalue().splitlines()]
    for (source, error), row, info in zip(texts, table_rows, objects, strict=True):
        assert from_cell(row["source"]) == info["source"] == source
        assert row["error"] == (info["error"] or "")
        assert len(row["error"].splitlines()) <= 1  # a message stays on one line
        if error is None or error.isprintable():
            assert info["error"] == error
        text.encode("utf-8")


def test_a_file_name_that_is_no_unicode(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    name = os.fsdecode(b"caf\xe9\n.png")
    with CsvTable(path, COLUMNS) as table:
        table.write(FrameResult(name))
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["source"] == "caf\\udce9\n.png"
    assert from_cell(row["source"]) == name


def test_other_emotions_than_the_tables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"this table has .*'contempt'.*the face has"):
        rows(RESULTS[0], Layout(vocabulary(8)))


def test_standard_output_and_streams_stay_open(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    for target in ("-", stream):
        with CsvTable(target, COLUMNS) as table:
            for result in RESULTS:
                table.write(result)
    assert capsys.readouterr().out == stream.getvalue() == CSV
    with open_table("-", SIX) as output:
        output.write(RESULTS[2])
    assert capsys.readouterr().out.splitlines()[1].startswith("gone.png,0,")


def test_a_stream_that_lacks_letters_gets_escapes() -> None:
    raw = io.BytesIO()
    with CsvTable(io.TextIOWrapper(raw, "ascii", newline=""), COLUMNS) as table:
        table.write(FrameResult("łódź.png"))
        assert b"\\u0142\\xf3d\\u017a.png,0" in raw.getvalue()


def test_a_reader_who_left_is_no_output_error() -> None:
    end, start = os.pipe()
    os.close(end)
    stream = os.fdopen(start, "w")
    with pytest.raises(BrokenPipeError), CsvTable(stream, COLUMNS):
        pass
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_output_error() -> None:
    stream = open("/dev/full", "w")  # noqa: SIM115
    with (
        pytest.raises(OutputError, match="cannot write '/dev/full': no space left on device"),
        CsvTable(stream, COLUMNS),
    ):
        pass
    with pytest.raises(OSError, match="No space left"):
        stream.close()


@pytest.mark.parametrize("suffix", [f".{name}" for name in table_formats()])
class TestEveryTable:
    """What holds for every format that the folder has, also for those yet to come."""

    def write(self, path: Path, results: Sequence[FrameResult] = RESULTS) -> None:
        with open_table(path, SIX) as table:
            for result in results:
                table.write(result)

    def test_the_file_has_its_name_only_when_it_is_whole(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        with open_table(path, SIX) as table:
            table.write(RESULTS[0])
            assert not path.exists()
        assert os.listdir(tmp_path) == [path.name]

    def test_an_existing_file_is_replaced_only_in_the_end(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        path.write_text("old")
        with open_table(path, SIX) as table:
            table.write(RESULTS[0])
            assert path.read_text() == "old"
        self.write(other := tmp_path / f"other{suffix}", RESULTS[:1])
        assert path.read_bytes() == other.read_bytes()

    def test_an_exception_leaves_the_rows_so_far_beside_it(self, tmp_path: Path, suffix: str) -> None:
        def broken_off(error: type[BaseException]) -> None:
            with open_table(path, SIX) as table:
                table.write(RESULTS[0])
                raise error

        path, partial = tmp_path / f"out{suffix}", tmp_path / f"out{suffix}.partial"
        path.write_text("old")
        with pytest.raises(KeyboardInterrupt):
            broken_off(KeyboardInterrupt)
        assert path.read_text() == "old"
        self.write(path, RESULTS[:1])
        assert not partial.exists()
        whole = path.read_bytes()
        with pytest.raises(RuntimeError):
            broken_off(RuntimeError)
        assert partial.read_bytes() == whole

    def test_no_results_make_a_valid_empty_table(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        self.write(path, [])
        assert path.exists()

    def test_twice_the_same_gives_the_same_bytes(self, tmp_path: Path, suffix: str) -> None:
        first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"
        self.write(first)
        self.write(second)
        assert first.read_bytes() == second.read_bytes()

    def test_writing_outside_of_with_is_refused(self, tmp_path: Path, suffix: str) -> None:
        table = open_table(tmp_path / f"out{suffix}", SIX)
        with pytest.raises(ValueError, match="not open: use it in a with statement"):
            table.write(RESULTS[0])
        with table:
            pass
        with pytest.raises(ValueError, match="not open"):
            table.write(RESULTS[0])
        assert os.listdir(tmp_path) == [f"out{suffix}"]

    def test_a_missing_folder_is_named(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / "none" / f"out{suffix}"
        with pytest.raises(OutputError) as caught, open_table(path, SIX):
            pass
        assert caught.value.message == f"cannot write '{path}': there is no folder '{path.parent}'"
        assert caught.value.hint

    def test_a_folder_or_device_in_its_place_is_refused(self, tmp_path: Path, suffix: str) -> None:
        folder, pipe = tmp_path / f"folder{suffix}", tmp_path / f"pipe{suffix}"
        folder.mkdir()
        os.mkfifo(pipe)
        with pytest.raises(OutputError, match="it is a folder"), open_table(folder, SIX):
            pass
        with pytest.raises(OutputError, match="not a regular file"), open_table(pipe, SIX):
            pass

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody may write")
    def test_a_place_that_cannot_be_written(self, suffix: str) -> None:
        path = Path(f"/proc/self/out{suffix}")
        with pytest.raises(OutputError, match=f"cannot write '{path}': ") as caught, open_table(path, SIX):
            pass
        assert "permissions" in caught.value.hint

    def test_a_link_keeps_pointing_to_the_file_it_names(self, tmp_path: Path, suffix: str) -> None:
        real, link = tmp_path / f"real{suffix}", tmp_path / f"link{suffix}"
        real.write_text("old")
        link.symlink_to(real)
        self.write(link)
        assert link.is_symlink()
        assert real.read_bytes() != b"old"


@pytest.mark.parametrize(("name", "found"), [("out.xlsx", "'.xlsx'"), ("out", "none"), (".csv", "none")])
def test_an_unknown_suffix_is_refused_with_those_known(name: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_table(name, SIX)
    assert f"expected the suffix .csv or .jsonl or .parquet, found {found}" in str(caught.value)
