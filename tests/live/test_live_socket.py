"""The WebSocket and the files of the live page, without a browser."""

import json
import math
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from mien.analyzer import Analyzer
from mien.output.schema import Layout, columns
from mien.server.app import create_app
from mien.server.live.socket import HEAD
from mien.server.options import ServerOptions

KEY = "0123456789abcdef0123"
SOCKET = "ws://localhost/live/socket"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(ServerOptions(max_live=1), live=True), "http://localhost") as found:
        yield found


def hello(socket: WebSocketTestSession, key: str = "") -> Any:
    socket.send_json({"type": "hello", "key": key})
    return socket.receive_json()


def frame(number: int, file: bytes, seconds: float = 0.0, *, still: bool = False) -> bytes:
    return HEAD.pack(number, int(still), seconds) + file


def test_a_frame_is_answered_with_its_result(client: TestClient, astronaut: Path) -> None:
    with client.websocket_connect(SOCKET) as socket:
        assert hello(socket) == {"type": "welcome"}
        socket.send_json({"type": "settings", "source": "a.jpg"})
        socket.send_bytes(frame(7, astronaut.read_bytes(), still=True))
        answer = socket.receive_json()
    assert (answer["type"], answer["id"]) == ("result", 7)
    assert answer["ms"] > 0
    expected = Analyzer().analyze(astronaut).as_dict() | {"source": "a.jpg", "schema": 1}
    assert answer["result"] == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("file", "seconds"), [(b"", 0.0), (b"text", 0.0), (b"\xff\xd8\xff", 0.0), (None, -1.0), (None, math.nan)]
)
def test_a_frame_that_cannot_be_used_fails_and_the_next_one_is_answered(
    client: TestClient, astronaut: Path, file: bytes | None, seconds: float
) -> None:
    good = astronaut.read_bytes()
    with client.websocket_connect(SOCKET) as socket:
        hello(socket)
        socket.send_bytes(frame(1, good if file is None else file, seconds))
        failed = socket.receive_json()
        socket.send_bytes(frame(2, good, 1.0))
        assert socket.receive_json()["type"] == "result"
    assert (failed["type"], failed["id"], failed["error"]["status"]) == ("failed", 1, 422)
    assert failed["error"]["message"]


def test_the_newest_frame_wins(client: TestClient, astronaut: Path) -> None:
    with client.websocket_connect(SOCKET) as socket:
        hello(socket)
        for number in range(20):
            socket.send_bytes(frame(number, astronaut.read_bytes(), number / 100))
        answers: dict[int, str] = {}
        while len(answers) < 20:
            answer = socket.receive_json()
            answers[answer["id"]] = answer["type"]
    assert answers[19] == "result"
    assert list(answers.values()).count("skipped") >= 10


@pytest.mark.parametrize("first", ["", "[]", "hello", '{"type": "settings"}', '{"type": "hello"', "null"])
def test_a_page_that_does_not_say_hello_is_closed(client: TestClient, first: str) -> None:
    with client.websocket_connect(SOCKET) as socket:
        socket.send_text(first)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1008


@pytest.mark.parametrize("message", [b"", b"short", struct.pack("<I", 1)])
def test_a_frame_without_its_head_ends_the_connection(client: TestClient, message: bytes) -> None:
    with client.websocket_connect(SOCKET) as socket:
        hello(socket)
        socket.send_bytes(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1008


def test_beyond_the_places_the_server_is_busy_and_then_free(client: TestClient, astronaut: Path) -> None:
    good = frame(0, astronaut.read_bytes())
    with client.websocket_connect(SOCKET) as first:
        hello(first)
        first.send_bytes(good)
        assert first.receive_json()["type"] == "result"
        with client.websocket_connect(SOCKET) as second:
            hello(second)
            second.send_bytes(good)
            assert second.receive_json() == {"type": "busy"}
            with pytest.raises(WebSocketDisconnect) as closed:
                second.receive_json()
        assert closed.value.code == 1013
    for _ in range(50):  # the place is free a moment after the first page has gone
        with client.websocket_connect(SOCKET) as third:
            hello(third)
            third.send_bytes(good)
            if third.receive_json()["type"] == "result":
                return
    pytest.fail("the place did not become free")


def test_pages_that_wait_without_frames_give_way_to_others(client: TestClient, astronaut: Path) -> None:
    """Eight may wait for each place; the one that waits longest is closed, and one that is live stays."""
    with ExitStack() as stack:
        live = stack.enter_context(client.websocket_connect(SOCKET))
        hello(live)
        live.send_bytes(frame(0, astronaut.read_bytes()))
        assert live.receive_json()["type"] == "result"
        waiting = [stack.enter_context(client.websocket_connect(SOCKET)) for _ in range(9)]
        for socket in waiting:
            assert hello(socket) == {"type": "welcome"}
        live.send_bytes(frame(1, astronaut.read_bytes(), 0.1))
        assert live.receive_json()["type"] == "result"
        for socket in waiting[:2]:
            socket.send_bytes(frame(2, astronaut.read_bytes(), 0.1))
        with pytest.raises(WebSocketDisconnect) as closed:
            waiting[0].receive_json()
        assert closed.value.code == 1013
        assert waiting[1].receive_json()["type"] == "busy"  # it was not closed, and there is one place


@pytest.mark.parametrize("length", [501, 10_000, 1_000_000])
def test_a_name_that_is_too_long_ends_the_connection(client: TestClient, astronaut: Path, length: int) -> None:
    with client.websocket_connect(SOCKET) as socket:
        hello(socket)
        socket.send_json({"type": "settings", "source": "x" * 500})
        socket.send_bytes(frame(0, astronaut.read_bytes()))
        assert socket.receive_json()["result"]["source"] == "x" * 500
        socket.send_json({"type": "settings", "source": "x" * length})
        socket.send_bytes(frame(1, astronaut.read_bytes(), 0.1))
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1008


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:8001", "null"])
def test_pages_of_other_origins_are_refused(client: TestClient, origin: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect(SOCKET, headers={"Origin": origin}),
    ):
        pass
    assert closed.value.code == 1008


def test_the_own_origin_is_welcome(client: TestClient) -> None:
    with client.websocket_connect(SOCKET, headers={"Origin": "http://localhost"}) as socket:
        assert hello(socket) == {"type": "welcome"}


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    with TestClient(create_app(ServerOptions(api_keys=(KEY,)), live=True), "http://localhost") as found:
        yield found


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1]])
def test_a_wrong_key_is_asked_for_again(guarded: TestClient, key: str) -> None:
    with guarded.websocket_connect(SOCKET) as socket:
        assert hello(socket, key) == {"type": "key"}
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 4401


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1]])
def test_keys_cannot_be_tried_quickly(key: str) -> None:
    app = create_app(ServerOptions(api_keys=(KEY,), rate=0.01, workers=1), live=True)
    with TestClient(app, "http://localhost") as tried:
        answers = []
        for _ in range(3):
            with tried.websocket_connect(SOCKET) as socket:
                answers.append(hello(socket, key)["type"])
        assert answers == ["key", "busy", "busy"]
        with tried.websocket_connect(SOCKET) as socket:
            assert hello(socket, KEY) == {"type": "welcome"}


def test_the_page_needs_no_key_but_its_socket_does(guarded: TestClient) -> None:
    assert guarded.get("/").status_code == 200
    with guarded.websocket_connect(SOCKET) as socket:
        assert hello(socket, KEY) == {"type": "welcome"}


def test_every_file_has_its_type_and_a_strict_policy(client: TestClient) -> None:
    types = {"": "text/html", "live/main.js": "text/javascript", "live/style.css": "text/css"}
    types |= {"live/config.json": "application/json", "live/emoji/happiness.png": "image/png"}
    for path, kind in types.items():
        response = client.get(f"/{path}")
        assert response.headers["content-type"].startswith(kind)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["live/none.js", "live/..%2fpages.py", "live/%2e%2e/pages.py", "live/emoji/none.png", "live/static"]
)
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    response = client.get(f"/{path}")
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "NotFoundError"


def test_the_page_knows_the_columns_of_the_tables(client: TestClient) -> None:
    config = client.get("/live/config.json").json()
    emotions = tuple(config["emotions"])
    parts = config["columns"]
    narrow = [column.name for column in columns(Layout(emotions, smoothed=True))]
    wide = [column.name for column in columns(Layout(emotions, keypoints=70, smoothed=True))]
    assert [column["name"] for part in ("before", "after") for column in parts[part]] == narrow
    assert [column["name"] for part in ("before", "keypoints", "after") for column in parts[part]] == wide
    assert set(config["colours"]) == {*emotions, "unknown"}
