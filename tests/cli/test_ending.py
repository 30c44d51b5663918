"""How commands end early: readers of their output who leave, Ctrl-C at any moment, a terminal that is closed."""

import csv
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands import run_command
from tests.videos import portrait, write_video

import mien.cli
from mien.analyzer import Analyzer
from mien.cli.analyze import _start_after
from mien.cli.ending import Stop
from mien.media import VideoOptions
from mien.results import FrameResult

WAIT = 600.0  # seconds after which a test fails instead of waiting for ever; nothing depends on it

PROGRAM = (sys.executable, "-m", "mien", "analyze")


@pytest.fixture
def folder(tmp_path: Path, astronaut: Path) -> Path:
    """Three images, and a file that is none."""
    place = tmp_path / "images"
    place.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (place / name).write_bytes(astronaut.read_bytes())
    (place / "d.jpg").write_text("no image")
    return place


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Puts the handlers of this process back, which the code under test changes for the end of the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def sources(table: Path) -> list[str]:
    with table.open(newline="", encoding="utf-8") as file:
        return [Path(row["source"]).name for row in csv.DictReader(file)]


# --- readers who leave


@pytest.mark.parametrize(
    "printed", [[], ["--json"], ["--table", "-"], ["--table", "-", "--format", "parquet"]], ids=str
)
@pytest.mark.parametrize("with_messages", [False, True], ids=["| head", "2>&1 | head"])
def test_a_reader_who_leaves_only_ends_the_printing(
    folder: Path, tmp_path: Path, printed: list[str], with_messages: bool
) -> None:
    table, drawn = tmp_path / "keep.csv", tmp_path / "drawn"
    files = ["--annotate", str(drawn)] + ([] if "--table" in printed else ["--table", str(table)])
    reading, writing = os.pipe()
    os.close(reading)  # nobody reads from the beginning
    messages: Any = writing if with_messages else subprocess.PIPE
    try:
        result = subprocess.run(
            [*PROGRAM, str(folder), *files, *printed],
            stdout=writing,
            stderr=messages,
            text=True,
            timeout=WAIT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # each row is written at once
        )
    finally:
        os.close(writing)
    assert result.returncode == 3, result.stderr  # as without a reader: one image cannot be read
    assert len(list(drawn.iterdir())) == 3
    if "--table" not in printed:
        assert sources(table) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    if not with_messages:
        assert "Traceback" not in result.stderr
        assert "Exception ignored" not in result.stderr
        assert "3 faces, 1 failed" in result.stderr
    assert not list(tmp_path.rglob("*.partial"))


def test_head_gets_what_it_wants_and_the_table_is_complete(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "keep.csv"
    command = f"{' '.join(PROGRAM)} {folder} --table {table} | head -c 5"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=WAIT)
    assert result.stdout == "image"
    assert "Traceback" not in result.stderr
    assert len(sources(table)) == 4


# --- Ctrl-C


Stream = Callable[..., Iterator[FrameResult]]


def interrupted(after: int) -> Stream:
    """`Analyzer.stream` with Ctrl-C before its next result, and again while the source is closed."""
    real = Analyzer.stream

    def source() -> Iterator[None]:
        try:
            yield
        finally:
            signal.raise_signal(signal.SIGINT)

    def stream(self: Analyzer, frames: Iterable[Any], max_delay: float | None = None) -> Iterator[FrameResult]:
        still_open = source()
        next(still_open)
        for number, result in enumerate(real(self, frames, max_delay)):
            if number == after:
                signal.raise_signal(signal.SIGINT)
            yield result

    return stream


@pytest.mark.usefixtures("own_signals")
def test_ctrl_c_twice_before_the_first_frame(astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    monkeypatch.setattr(Analyzer, "stream", interrupted(0))
    clip = write_video(tmp_path / "clip.mp4", portrait(astronaut, 4, 200))
    files = ["--table", "w.csv", "--annotate", "w.mp4", "--timeline", "w.html"]
    result = run_command("analyze", clip.name, *files, cwd=tmp_path)
    assert result.returncode == 130, result.stderr
    assert "error: stopped before the first result" in result.stderr
    assert "no video was written to 'w.mp4'" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "w.csv"]
    assert sources(tmp_path / "w.csv") == []
    assert ignored == []


@pytest.mark.usefixtures("own_signals")
def test_ctrl_c_before_the_first_result_leaves_an_older_table_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Analyzer, "stream", interrupted(0))
    (tmp_path / "keep.csv").write_text("176 rows")
    result = run_command("analyze", folder, "--table", "keep.csv", cwd=tmp_path)
    assert result.returncode == 130
    assert "'keep.csv' stays as it was" in result.stderr
    assert (tmp_path / "keep.csv").read_text() == "176 rows"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.usefixtures("own_signals")
def test_ctrl_c_names_the_last_image(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Analyzer, "stream", interrupted(2))
    result = run_command("analyze", folder, "--table", tmp_path / "t.csv")
    assert result.returncode == 130
    assert f"stopped after '{folder / 'b.jpg'}', 2 of 4 images; the results so far are kept" in result.stderr
    assert "the rest: the same command with --resume" in result.stderr
    assert sources(tmp_path / "t.csv") == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("seconds", "options", "expected"),
    [
        (0.0, VideoOptions(), "0.001"),
        (0.57, VideoOptions(), "0.571"),  # 0.57 * 1000 is below 570
        (1 / 30, VideoOptions(), "0.034"),
        (3725.04, VideoOptions(), "3725.041"),
        (0.57, VideoOptions(every=3), "0.569"),
        (1 / 30, VideoOptions(fps=5), "0.033"),
        (0.0, VideoOptions(every=3), "0.000"),
    ],
)
def test_the_start_of_the_rest(seconds: float, options: VideoOptions, expected: str) -> None:
    assert _start_after(seconds, options) == expected


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("place", ["a module", "a class", "a module in C"])
def test_ctrl_c_during_imports_ends_without_a_word(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def build(only: str | None) -> None:
        if place == "a class":  # what Python before 3.12 makes of it there
            raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()
        if place == "a module in C":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("initialization failed") from None
        raise KeyboardInterrupt

    monkeypatch.setattr(mien.cli, "build_app", build)
    result = run_command("analyze", "a.jpg")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_what_takes_long_to_import_is_imported_by_main() -> None:
    program = "import sys, mien.cli; sys.exit('typer' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=WAIT).returncode == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("times", [2, 3])
def test_a_third_ctrl_c_does_not_wait_for_the_end(name: str, times: int) -> None:
    program = f"""
import signal
from mien.cli.ending import Stop
with Stop() as stop:
    for _ in range({times}):
        signal.raise_signal(signal.{name})
    assert stop.asked
"""
    result = subprocess.run([sys.executable, "-c", program], timeout=WAIT)
    assert result.returncode == (0 if times == 2 else -signal.Signals[name])


def test_ctrl_c_after_the_last_result_is_no_stop() -> None:
    with Stop() as stop:
        assert list(stop.until(iter("ab"))) == ["a", "b"]
        signal.raise_signal(signal.SIGINT)
    assert not stop.asked


# --- a closed terminal


@pytest.mark.usefixtures("own_signals")
def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Stop() as stop:
        signal.raise_signal(signal.SIGHUP)
    assert not stop.asked


@pytest.mark.usefixtures("no_nohup")
def test_a_closed_terminal_keeps_the_table(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    camera = "lavfi:testsrc=size=160x120:rate=50,realtime"
    # The first terminal that the leader of a session opens is its own: it is told when this is closed.
    script = 'exec "$@" < "$0" > "$0" 2>&1'
    command = ["sh", "-c", script, os.ttyname(theirs), *PROGRAM, camera, "--table", str(tmp_path / "log.csv")]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        shown = b""
        while shown.count(b"no face") < 3:
            shown += os.read(ours, 4096)
        os.close(theirs)
        os.close(ours)
        assert process.wait(timeout=WAIT) == 0
    finally:
        process.kill()  # a camera would never end
    assert len(sources(tmp_path / "log.csv")) >= 3
    assert not list(tmp_path.glob("*.partial"))
