"""What the Python client cannot send is refused by name before a request is made."""

import asyncio
import io
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mien.errors import ConfigError, InputError, UnavailableError
from mien.results import FrameResult
from mien.server.client import AsyncClient, Client, requests
from mien.server.client.clients import _growing, _may_come_back

# Nobody listens there: a request would raise UnavailableError.
NOWHERE = "http://127.0.0.1:9"

SOURCES: list[tuple[Callable[[Path], Any], type[Exception], str]] = [
    (lambda path: (each for each in [path]), TypeError, r"got generator; write list\(generator\)"),
    (lambda path: map(str, [path]), TypeError, "got map"),
    (lambda path: None, TypeError, "expected a path or an array, got None"),
    (lambda path: [path, 42], TypeError, r"images\[1\]: expected a path"),
    (lambda path: np.zeros((4, 4, 3)), TypeError, "expected dtype uint8"),
    (lambda path: [np.zeros((2, 4, 4, 3), np.uint8)], ValueError, r"images\[0\]: expected shape"),
    (lambda path: io.StringIO("x"), TypeError, "in text mode"),
    (lambda path: "no such file.jpg", InputError, "'no such file.jpg' does not exist"),
    (lambda path: path.parent, InputError, "is a folder"),
    (lambda path: "a\0b", InputError, "cannot be opened"),
]


@pytest.mark.parametrize(("source", "kind", "message"), SOURCES)
def test_what_cannot_be_sent_is_refused(
    tmp_path: Path, source: Callable[[Path], Any], kind: type[Exception], message: str
) -> None:
    """With the errors of `mien.analyze`."""
    path = tmp_path / "x.jpg"
    path.write_bytes(b"x")
    with Client(NOWHERE) as client, pytest.raises(kind, match=message):
        client.analyze(source(path))

    async def use() -> None:
        async with AsyncClient(NOWHERE) as other:
            with pytest.raises(kind, match=message):
                await other.analyze(source(path))

    asyncio.run(use())


def test_images_that_are_not_here_are_results_without_a_request() -> None:
    given: list[Any] = ["some/nope.jpg", None, np.zeros((0, 0, 3), np.uint8), FrameResult("a.jpg", error="damaged")]
    with Client(NOWHERE) as client:
        found = client.analyze(given)
    assert [each.source for each in found] == ["nope.jpg", "images[1]", "images[2]", "a.jpg"]
    assert found[0].error == "'some/nope.jpg' does not exist"
    assert all(each.error for each in found)


@pytest.mark.parametrize("key", ["", " \n", "schlüssel", "a\nb"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_key_that_no_request_can_carry_is_refused_and_not_shown(kind: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=r"^api_key: expected printable ASCII characters") as caught:
        kind(NOWHERE, api_key=key)
    assert "schl" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", ""])
def test_an_address_without_its_scheme_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^url: expected an address with http:// or https://"):
        Client(url)


@pytest.mark.parametrize("video", [None, [b"x"], io.StringIO("x"), "no such video.mp4"])
def test_a_video_that_cannot_be_sent_is_refused(video: Any) -> None:
    with Client(NOWHERE) as client, pytest.raises(InputError):
        client.analyze_video(video)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_that_starts_later_is_waited_for(unused_port: int) -> None:
    """The connection is refused at first, as while a server restarts."""

    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b'{"models": []}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    url = f"http://127.0.0.1:{unused_port}"
    with Client(url) as client, pytest.raises(UnavailableError, match="does not answer"):
        client.models()
    servers: list[HTTPServer] = []

    def later() -> None:
        servers.append(HTTPServer(("127.0.0.1", unused_port), Models))
        servers[0].serve_forever()

    timer = threading.Timer(0.5, later)
    timer.start()
    try:
        with Client(url, retries=6) as client:
            assert client.models() == {"models": []}
    finally:
        timer.join(0.6)
        for server in servers:
            server.shutdown()
            server.server_close()


def test_what_may_be_sent_again_without_an_answer() -> None:
    image, video = requests.Request("POST", "/v1/analyze", str, form="images"), requests.submit(b"film", None)
    assert _may_come_back(httpx.ConnectError("refused"), video)
    assert _may_come_back(httpx.ReadError("reset"), image)
    assert not _may_come_back(httpx.ReadError("reset"), video)  # it may have arrived
    assert not _may_come_back(httpx.ReadTimeout("slow"), image)
    assert 1 <= _growing(0) <= 1.25
    assert 8 <= _growing(3) <= 10
    assert _growing(20) == 60
