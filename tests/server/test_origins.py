"""Headers that say where a request comes from, damaged or forged: each is refused with its reason, never a crash."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from mien.server.app import create_app
from mien.server.options import ServerOptions


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(ServerOptions(workers=1)), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "null", "//localhost:1", "http://localhost.evil.org", "x"]
)
def test_other_and_damaged_origins_are_refused(client: TestClient, origin: str) -> None:
    answer = client.get("/healthz", headers={"Origin": origin})
    assert answer.status_code == 403
    assert f"pages of '{origin}' may not use this server" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["[", "[::1", "", "127.0.0.1.evil.org", "localhost@evil.org", "evil.org:80"])
def test_other_and_damaged_hosts_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 403
    assert f"the request is for the host '{host}', expected localhost" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.org:80", "http://evil.org:80"),
        ("Example.org", "http://Example.org"),
        ("[2001:db8::1]:8000", "http://[2001:db8::1]:8000"),
        ("[", ""),
        ("[::1", ""),
        ("", ""),
        ("localhost@evil.org", ""),
        ("a b", ""),
        ("x/../y", ""),
        ("x:123456", ""),
    ],
)
def test_only_a_host_that_can_be_allowed_is_in_the_hint(client: TestClient, host: str, origin: str) -> None:
    answer = client.get("/healthz", headers={"Host": host})
    hint = f"start the server with --allow-origin {origin}, or https:// behind a proxy that has HTTPS"
    assert answer.json()["error"]["hint"] == (hint if origin else "")
    if origin:
        assert ServerOptions(allow_origin=(origin,)).origins == (origin,)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]", "[::1]:8000", "LOCALHOST"])
def test_names_of_this_machine_are_accepted(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200
    assert client.get("/healthz", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200
