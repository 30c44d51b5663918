"""Addresses and frames of the live page that no page sends: each is refused, and nothing else is affected."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mien.server.app import create_app
from mien.server.options import ServerOptions


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(ServerOptions(workers=1), live=True), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("name", ["a" * 5000 + ".js", "%2e%2e%2fpages.py", "..%5cpages.py", "a%00.js", "pages.py"])
def test_only_the_files_of_the_page_are_served(client: TestClient, name: str) -> None:
    assert client.get(f"/live/{name}").status_code == 404
    assert client.get("/live/main.js").status_code == 200


@pytest.mark.parametrize("frame", [b"", b"\0" * 15])
def test_a_frame_without_its_head_ends_the_connection(client: TestClient, frame: bytes) -> None:
    with client.websocket_connect("/live/socket", headers={"Host": "localhost"}) as socket:
        socket.send_json({"type": "hello"})
        assert socket.receive_json() == {"type": "welcome"}
        socket.send_bytes(frame)
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_json()
    assert ended.value.code == 1008


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"type": "hi"}', "null"])
def test_a_connection_begins_with_hello(client: TestClient, text: str) -> None:
    with client.websocket_connect("/live/socket", headers={"Host": "localhost"}) as socket:
        socket.send_text(text)
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
