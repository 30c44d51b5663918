"""Clients that send nothing, half of something, or without end: a good client is served, and memory is bounded."""

import contextlib
import json
import resource
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.conftest import Server, Starter, error_in
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

IDLE = 500

# The live page, with a limit of time that a busy machine keeps.
LIVE = """
import sys
from mien.server.app import create_app
from mien.server.options import ServerOptions
from mien.server.run import serve
options = ServerOptions(port=0, workers=1, max_live=2, max_seconds=600)
serve(create_app(options, live=True), options, lambda url: print("listening on", url, file=sys.stderr, flush=True))
"""
HEAD = b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(start: Starter) -> Server:
    return start("--workers", "1", "--max-megabytes", "8", "--max-seconds", "600")


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _is_served(server: Server, photo: bytes) -> bool:
    response = server.post(("photo.jpg", photo))
    assert response.status_code == 200, response.text
    return len(response.json()["results"][0]["faces"]) == 1


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /healthz HT",
        HEAD,
        HEAD + b"Content-Length: 1000000\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
    ],
    ids=["idle", "half a line", "half a head", "half a body", "half a chunk"],
)
def test_connections_that_stop(server: Server, photo: bytes, begin: bytes) -> None:
    before = server.metric("process_resident_memory_bytes")
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            connection = stack.enter_context(server.connect())
            connection.sendall(begin)
        assert _is_served(server, photo)
        assert server.metric("process_resident_memory_bytes") < before + 150e6
    assert _is_served(server, photo)


def test_a_head_or_a_handshake_that_does_not_arrive_ends_the_connection(
    server: Server, start: Starter, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"],
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )
    secure = start("--workers", "1", "--certfile", str(certificate), "--keyfile", str(key))
    trusting = ssl.create_default_context(cafile=certificate)
    with secure.connect() as connection, trusting.wrap_socket(connection, server_hostname="localhost") as tls:
        tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 200")
    with server.connect() as half, secure.connect() as silent:
        silent.settimeout(45)  # asyncio itself would wait for a minute
        half.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert half.recv(100) == b""  # closed by the server
        assert silent.recv(100) == b""


def test_many_waiting_connections_give_way_to_new_ones(server: Server, photo: bytes) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(IDLE + 100)]
        assert _is_served(server, photo)
        with contextlib.suppress(ConnectionError):
            assert held[0].recv(100) == b""


def test_endless_bodies(server: Server, photo: bytes) -> None:
    """Twelve clients send without end; each body is refused at its limit, and the good client is served."""
    stop = threading.Event()
    answers: list[bytes] = []

    def flood() -> None:
        part = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
        while not stop.is_set():
            with server.connect() as connection, contextlib.suppress(ConnectionError):
                connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                with contextlib.suppress(ConnectionError, socket.timeout):
                    while not stop.is_set():
                        connection.sendall(part)
                answers.append(connection.recv(100))

    before = server.metric("process_resident_memory_bytes")
    threads = [threading.Thread(target=flood) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        assert all(_is_served(server, photo) for _ in range(5))
        memory = server.metric("process_resident_memory_bytes")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert memory < before + 200e6
    assert server.metric("mien_body_bytes") == 0


def test_an_endless_body_gets_its_answer(server: Server) -> None:
    """A client that sends before it reads still receives the status."""
    headers = {"Content-Type": "application/json"}
    content = iter([b" " * 1_000_000] * 20)
    error_in(server.http.post("/v1/analyze", content=content, headers=headers), 413, "LimitError")


def test_websockets_without_a_page(server: Server, photo: bytes) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(server.connect())
            connection.sendall(b"GET /live/socket HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.com\r\n" + upgrade)
            assert connection.recv(100).startswith(b"HTTP/1.1 403")
        assert _is_served(server, photo)


def test_floods_of_websockets(start: Starter, photo: bytes) -> None:
    """Pages that send frames, nonsense and large messages without reading; a good client is served meanwhile."""
    server = start(program=LIVE)
    address = f"ws{server.url.removeprefix('http').rstrip('/')}/live/socket"
    frame = struct.pack("<IId", 1, 0, 0.0) + photo
    stop = threading.Event()

    def flood(message: str | bytes) -> None:
        while not stop.is_set():
            with contextlib.suppress(WebSocketException, OSError), connect(address, open_timeout=600) as page:
                page.send('{"type": "hello"}')
                while not stop.is_set():
                    page.send(message)

    messages = [frame, frame, b"", b"x" * 1_000_000, "nonsense", '{"type": "settings"}', "[" * 100_000, frame]
    threads = [threading.Thread(target=flood, args=(message,), daemon=True) for message in messages]
    # Each of the two places gets an analyzer with both of its classifiers.
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            page = stack.enter_context(connect(address, open_timeout=600))
            page.send('{"type": "hello"}')
            page.send(frame)
            assert json.loads(page.recv(600))["type"] == "welcome"
            assert json.loads(page.recv(600))["type"] == "result"
    assert _is_served(server, photo)
    before = server.metric("process_resident_memory_bytes")
    for thread in threads:
        thread.start()
    try:
        assert all(_is_served(server, photo) for _ in range(5))
        memory = server.metric("process_resident_memory_bytes")
    finally:
        stop.set()
        for thread in threads:
            thread.join(600)
    assert memory < before + 200e6
    assert _is_served(server, photo)
