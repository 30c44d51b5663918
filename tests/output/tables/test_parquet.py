"""Parquet: the same rows with types, in groups, and what is on the disk when it fills up."""

import io
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.output.drawing.test_annotated import blank_image, result
from tests.output.tables.test_text import COLUMNS, RESULTS, SIX

import mien
from mien.errors import OutputError
from mien.output import STYLES, open_table, rows, table_formats
from mien.output.drawing.annotated import AnnotatedImages
from mien.output.tables.parquet import _GROUP, ParquetTable


def test_the_rows_are_those_of_the_other_tables(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with open_table(path, SIX, style="mien") as table:
        for one in RESULTS:
            table.write(one)
    read = pq.read_table(path)
    assert read.to_pylist() == [row for one in RESULTS for row in rows(one, COLUMNS)]
    assert read.schema.metadata[b"mien_schema"] == b"1"
    assert read.schema.metadata[b"mien_version"].decode() == mien.__version__
    types = {"text": "string", "integer": "int64", "number": "double", "boolean": "bool"}
    assert [str(kind) for kind in read.schema.types] == [
        types[column.type] for column in STYLES["mien"].columns(COLUMNS)
    ]


def test_rows_are_written_in_groups_and_none_is_held_back(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    count = 2 * _GROUP + 10
    with ParquetTable(path, COLUMNS) as table:
        for number in range(count // 2):
            table.write(replace(RESULTS[0], frame=number))  # two faces
            assert len(table._waiting) < _GROUP
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [_GROUP, _GROUP, 10]
    assert file.read(["frame"]).column(0).to_pylist() == [number // 2 for number in range(count)]


def test_a_stream_is_left_open() -> None:
    stream = io.BytesIO()
    with ParquetTable(stream, COLUMNS, STYLES["pyfeat"]) as table:
        table.write(RESULTS[0])
    assert not stream.closed
    read = pq.read_table(io.BytesIO(stream.getvalue()))
    assert read.column_names[1] == "FaceRectX"
    assert read.schema.metadata[b"mien_style"] == b"pyfeat"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    with open_table(path, SIX) as table:
        for number in range(20_000):
            table.write(replace(RESULTS[0], source=f"{number * 7919 % 100_003:x}" * 4, frame=number))


@pytest.mark.parametrize("suffix", sorted(table_formats()))
def test_a_full_disk_leaves_the_old_table_alone(small_disk: Path, suffix: str) -> None:
    path = small_disk / f"out.{suffix}"
    with open_table(path, SIX) as table:
        table.write(RESULTS[0])
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"cannot write '{path}': no space left on device"):
        fill(path)
    assert path.read_bytes() == before
    partial = small_disk / f"out.{suffix}.partial"
    if suffix == "parquet":  # what was written before the disk was full can be read
        frames = pq.read_table(partial).column("frame").to_pylist()
        assert len(frames) > 20
        assert frames == [number // 2 for number in range(len(frames))]
    partial.unlink()
    fresh = small_disk / f"new.{suffix}"
    with pytest.raises(OutputError, match="no space left on device"):
        fill(fresh)
    assert not fresh.exists()


@pytest.mark.parametrize("suffix", sorted(table_formats()))
def test_a_file_that_may_not_grow_is_an_output_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=f"cannot write '{path}': file too large"):
            fill(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"


def test_a_full_disk_under_annotated_images(small_disk: Path) -> None:
    (small_disk / "x.annotated.png").write_text("old")
    with pytest.raises(OutputError, match="no space left on device"), AnnotatedImages(small_disk) as output:
        output.write(result("x.png", blank_image()))
    assert (small_disk / "x.annotated.png").read_text() == "old"
