"""Fetching weights from a real server on this machine: whole, resumed, broken off, wrong, and not at all."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mien.assets import download
from mien.assets.download import RemoteFile, RemoteWeights, cached, fetch, remote_weights
from mien.errors import ConfigError, OutputError, WeightsError
from mien.files import cache_folder

CONTENT = np.random.default_rng(0).bytes(200_000)
SECOND = b"a definition\n" * 50


@dataclass
class Served:
    """What the server does, and what it was asked.

    Attributes:
        address: Of its folder.
        files: Bytes by name.
        ranges: It answers requests for parts.
        breaks_after: It closes the connection after so many bytes.
        says_length: It announces how much is to come.
        sleeps: It falls silent.
        asked: (name, Range header) of every request.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=lambda: {"one.bin": CONTENT, "two.txt": SECOND})
    ranges: bool = True
    breaks_after: int | None = None
    says_length: bool = True
    sleeps: threading.Event | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def _handler(served: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, part = self.path.rpartition("/")[2], self.headers["Range"]
            served.asked.append((name, part))
            if served.sleeps:
                served.sleeps.wait(600)
            if name not in served.files:
                self.send_error(404)
                return
            data = served.files[name]
            start = int(part.removeprefix("bytes=").removesuffix("-")) if part and served.ranges else 0
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            if served.says_length:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:][: served.breaks_after])

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    return Handler


@pytest.fixture
def server() -> Iterator[Served]:
    served = Served("")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(served)) as running:
        served.address = f"http://127.0.0.1:{running.server_port}/weights/"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        running.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a table of two: `one` with one file, `two` with two."""

    def remote(name: str, data: bytes) -> RemoteFile:
        return RemoteFile(name, f"https://127.0.0.1:9/{name}", hashlib.sha256(data).hexdigest(), len(data))

    one, two = remote("one.bin", CONTENT), remote("two.txt", SECOND)
    known = {"one": RemoteWeights("one", "", "", (one,)), "two": RemoteWeights("two", "", "", (one, two))}
    monkeypatch.setattr(download, "list_remote", lambda: known)
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def left_over(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.stat().st_size)


def test_a_whole_download(server: Served, cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assert remote_weights("one").state() == "not fetched"
    assert fetch("one", server.address, progress=lambda *news: seen.append(news)) == [cache / "one" / "one.bin"]
    assert cached("one") == {"one.bin": CONTENT}
    assert remote_weights("one").state() == "fetched"
    assert left_over(cache) == ["one.bin"]
    assert server.asked == [("one.bin", None)]
    assert seen[-1] == ("one.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_what_is_here_is_not_fetched_again(server: Served) -> None:
    assert fetch("one", server.address) == fetch("one", server.address)
    assert len(server.asked) == 1


def test_several_files(server: Served, cache: Path) -> None:
    fetch("two", server.address)
    assert cached("two") == {"one.bin": CONTENT, "two.txt": SECOND}
    assert left_over(cache) == ["one.bin", "two.txt"]


def test_a_half_downloaded_file_is_gone_on_with(server: Served, cache: Path) -> None:
    server.breaks_after = 70_000
    with pytest.raises(WeightsError, match="after 70,000 of 200,000 bytes: the connection broke") as caught:
        fetch("one", server.address)
    assert "which resumes the download" in caught.value.hint
    assert left_over(cache) == ["one.bin.part"]
    assert remote_weights("one").state() == "partly fetched"
    with pytest.raises(WeightsError, match=r"lacks one\.bin"):
        cached("one")

    server.breaks_after = None
    fetch("one", server.address)
    assert server.asked == [("one.bin", None), ("one.bin", "bytes=70000-")]
    assert cached("one") == {"one.bin": CONTENT}


@pytest.mark.parametrize("part", [CONTENT, CONTENT[:-1], CONTENT + b"more"], ids=["all", "nearly", "too much"])
def test_any_rest_of_an_earlier_download(server: Served, cache: Path, part: bytes) -> None:
    (cache / "one").mkdir(parents=True)
    (cache / "one" / "one.bin.part").write_bytes(part)
    fetch("one", server.address)
    assert cached("one") == {"one.bin": CONTENT}


def test_a_server_without_parts_is_read_anew(server: Served, cache: Path) -> None:
    (cache / "one").mkdir(parents=True)
    (cache / "one" / "one.bin.part").write_bytes(b"x" * 1000)
    server.ranges = False
    fetch("one", server.address)
    assert cached("one") == {"one.bin": CONTENT}


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize(
    "wrong", [CONTENT[::-1], CONTENT + CONTENT, b"<html>log in first</html>"], ids=["changed", "longer", "a page"]
)
def test_another_file_is_refused_and_removed(server: Served, cache: Path, wrong: bytes, says_length: bool) -> None:
    server.files["one.bin"] = wrong
    server.says_length = says_length
    with pytest.raises(
        WeightsError, match=r"is not the expected one\.bin, and the download was removed: sha256 .*expected"
    ):
        fetch("one", server.address)
    assert left_over(cache) == []


def test_a_bad_beginning_is_not_kept_for_ever(server: Served, cache: Path) -> None:
    (cache / "one").mkdir(parents=True)
    (cache / "one" / "one.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(WeightsError, match="is not the expected"):
        fetch("one", server.address)
    fetch("one", server.address)
    assert cached("one") == {"one.bin": CONTENT}


def test_a_server_that_is_down(cache: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WeightsError, match=rf"one\.bin: cannot be fetched from 127\.0\.0\.1:{port}: ") as caught:
        fetch("one", f"http://127.0.0.1:{port}/")
    assert f"on a machine without a network, put there by hand: {cache / 'one' / 'one.bin'}" in caught.value.hint
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.hint
    assert remote_weights("one").state() == "not fetched"


def test_a_server_that_has_no_such_file(server: Served) -> None:
    server.files.clear()
    with pytest.raises(WeightsError, match=r"cannot be fetched from .*: HTTP 404"):
        fetch("one", server.address)


def test_a_server_that_falls_silent(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    server.sleeps = threading.Event()
    monkeypatch.setattr(download, "_TIMEOUT", 0.2)
    with pytest.raises(WeightsError, match="timed out"):
        fetch("one", server.address)
    server.sleeps.set()


@pytest.mark.parametrize("whole", [True, False], ids=["file", "folder"])
def test_from_a_file_or_its_folder(tmp_path: Path, whole: bool) -> None:
    (tmp_path / "one.bin").write_bytes(CONTENT)
    fetch("one", str(tmp_path / "one.bin" if whole else tmp_path))
    assert cached("one") == {"one.bin": CONTENT}
    assert (tmp_path / "one.bin").exists()


def test_from_the_address_of_the_file_itself(server: Served) -> None:
    server.files["renamed"] = CONTENT
    fetch("one", f"{server.address}renamed")
    assert cached("one") == {"one.bin": CONTENT}


def test_a_wrong_file_is_not_taken_from_a_folder_either(tmp_path: Path, cache: Path) -> None:
    wrong = tmp_path / "one.bin"
    wrong.write_bytes(CONTENT[:1000])
    with pytest.raises(WeightsError, match="is not the expected") as caught:
        fetch("one", str(wrong))
    assert "download" not in caught.value.message  # nothing was
    assert "try again" not in caught.value.hint
    assert wrong.exists()
    assert left_over(cache) == []


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("one", "ftp://host/one.bin", "expected an address with https:// or http://"),
        ("two", "https://127.0.0.1:9/one.bin", "'two' has 2 files, expected the address of a folder, ending in /"),
        ("two", "one.bin", "'two' has 2 files, expected a folder"),
        ("three", None, "there are no weights 'three' to fetch"),
    ],
)
def test_sources_that_cannot_be(name: str, source: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fetch(name, source)


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights"):
        fetch("one", str(tmp_path / "nothing.bin"))


def test_a_cache_that_cannot_be_made(server: Served, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written: ") as caught:
        fetch("one", server.address)
    assert "MIEN_CACHE" in caught.value.hint
    assert "--detector-weights" in caught.value.hint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_cache(server: Served, cache: Path) -> None:
    fetch("one", server.address)
    for folder in (cache / "one", cache):
        folder.chmod(0o555)
    assert cached("one") == {"one.bin": CONTENT}  # reading goes on
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        fetch("two", server.address)
    for folder in (cache, cache / "one"):
        folder.chmod(0o755)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(server: Served, cache: Path) -> None:
    (cache / "one").mkdir(parents=True)
    (cache / "one" / "one.bin.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        fetch("one", server.address)


def test_a_damaged_file_is_found_at_use_and_mended(server: Served, cache: Path) -> None:
    (path,) = fetch("one", server.address)
    path.write_bytes(CONTENT[:100])
    assert remote_weights("one").state() == "damaged"
    with pytest.raises(WeightsError, match=r"one\.bin: is damaged or was replaced") as caught:
        cached("one")
    assert caught.value.hint == "mien models fetch one"
    fetch("one", server.address)
    assert cached("one") == {"one.bin": CONTENT}


def test_what_is_missing_is_said_with_both_ways_out(server: Served, cache: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"the weights 'two' have not been fetched: .* lacks one\.bin and two\.txt"
    ) as caught:
        cached("two")
    assert caught.value.hint.startswith("mien models fetch two; on a machine without a network, put there by hand: ")
    for name, data in (("one.bin", CONTENT), ("two.txt", SECOND)):
        assert f"{cache / 'two' / name} (sha256 {hashlib.sha256(data).hexdigest()})" in caught.value.hint


def test_the_cache_folder_is_looked_up_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MIEN_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "mien"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)
    assert "relative" not in cache_folder().parts
