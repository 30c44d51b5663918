"""A real server: `mien serve` in a process of its own, and what it is sent."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.videos import portrait, write_video

KEY = "a-key-of-the-tests-0123456789"
OTHER_KEY = "another-key-of-the-tests-0123"


@dataclass
class Server:
    """A running server."""

    process: "subprocess.Popen[str]"
    url: str
    http: httpx.Client

    @property
    def address(self) -> tuple[str, int]:
        """For a socket."""
        found = httpx.URL(self.url)
        return found.host, found.port or 80

    def post(self, *files: tuple[str, bytes], **options: Any) -> httpx.Response:
        """Sends images as a form."""
        return self.http.post("/v1/analyze", files=[("images", file) for file in files], **options)

    def metric(self, name: str) -> float:
        """One value of /metrics, with its labels."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        assert found, name
        return float(found[1])

    def connect(self) -> socket.socket:
        """A connection that has sent nothing."""
        return socket.create_connection(self.address, timeout=600)


@contextmanager
def running(*options: str, key: str | None = None, program: str = "") -> Iterator[Server]:
    """`mien serve` with options, on a free port; or a program that says where it listens, as `mien serve` does."""
    words = [sys.executable, *(["-c", program] if program else ["-m", "mien", "serve", "--port", "0", *options])]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"listening on (\S+)", line)
        assert found, line + process.stderr.read()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=found[1], headers=headers, timeout=600) as http:
            yield Server(process, found[1], http)
    finally:
        process.terminate()
        process.wait(600)
        process.stderr.close()


Starter = Callable[..., Server]


@pytest.fixture(scope="module")
def start() -> Iterator[Starter]:
    """Starts servers that run until the end of the module."""
    with ExitStack() as stack:
        yield lambda *options, **others: stack.enter_context(running(*options, **others))


@pytest.fixture(scope="session")
def photo(astronaut: Path) -> bytes:
    """A photograph with one happy face."""
    return astronaut.read_bytes()


@pytest.fixture(scope="session")
def clip(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short video of the same face: 12 frames."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_video(path, portrait(astronaut, 12))
    return path


@pytest.fixture(scope="session")
def long_clip(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that takes many seconds to analyze."""
    path = tmp_path_factory.mktemp("videos") / "long.mp4"
    write_video(path, portrait(astronaut, 600, width=256))
    return path


def error_in(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The error of a response, after checks of its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = json.loads(response.text)["error"]
    assert (found["type"], found["status"]) == (kind, status)
    assert set(found) == {"type", "status", "message", "hint"}
    assert found["message"]
    return found
