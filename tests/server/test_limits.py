"""Who may use the server, how often, and for how long."""

import concurrent.futures
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.server.conftest import KEY, OTHER_KEY, Server, Starter, error_in

from mien.errors import ConfigError
from mien.server.app import create_app
from mien.server.options import ServerOptions, is_loopback
from mien.server.run import bind, serve


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    path.write_text(f"# of the tests\n{KEY}\n\n  {OTHER_KEY}  \n")
    path.chmod(stat.S_IRUSR)
    return path


@pytest.fixture(scope="module")
def guarded(start: Starter, keys: Path) -> Server:
    options = ("--api-key-file", str(keys), "--rate", "5", "--allow-origin", "https://example.org")
    return start("--host", "0.0.0.0", "--workers", "1", *options)


def test_keys(guarded: Server, photo: bytes) -> None:
    url = guarded.url.replace("0.0.0.0", "127.0.0.1")
    http = guarded.http
    assert http.get(f"{url}/healthz").status_code == 200
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing", "/v1/video/x"):
        error = error_in(http.get(url + path), 401, "AccessError")
        assert error["hint"]
    for key in ("wrong", KEY[:-1], KEY + "x", "", "ÿ" * 20):
        headers = {b"X-API-Key": key.encode()}
        error_in(http.post(f"{url}/v1/analyze", files={"images": photo}, headers=headers), 401, "AccessError")
    for headers in ({b"X-API-Key": KEY.encode()}, {b"Authorization": f"Bearer {OTHER_KEY}".encode()}):
        assert http.post(f"{url}/v1/analyze", files={"images": photo}, headers=headers).status_code == 200
    assert http.get(f"{url}/v1/models").headers["www-authenticate"] == "Bearer"


def test_jobs_belong_to_a_key(guarded: Server, clip: Path) -> None:
    url = guarded.url.replace("0.0.0.0", "127.0.0.1")
    mine, others = {"X-API-Key": KEY}, {"X-API-Key": OTHER_KEY}
    sent = guarded.http.post(f"{url}/v1/video", files={"video": clip.read_bytes()}, headers=mine)
    job = url + sent.headers["location"]
    error_in(guarded.http.get(job, headers=others), 404, "NotFoundError")
    error_in(guarded.http.delete(job, headers=others), 404, "NotFoundError")
    assert guarded.http.get(job, headers=mine, params={"wait": 30}).json()["state"] == "done"


def test_origins(guarded: Server, start: Starter) -> None:
    url = guarded.url.replace("0.0.0.0", "127.0.0.1")
    allowed = guarded.http.get(f"{url}/healthz", headers={"Origin": "https://example.org"})
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    for origin in ("https://example.com", "null", "https://example.org.evil.com", "http://127.0.0.1:1"):
        error_in(guarded.http.get(f"{url}/healthz", headers={"Origin": origin}), 403, "OriginError")
    assert guarded.http.get(f"{url}/healthz", headers={"Origin": url}).status_code == 200


def test_rate(guarded: Server) -> None:
    url = guarded.url.replace("0.0.0.0", "127.0.0.1")
    headers = {"X-API-Key": KEY}
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: guarded.http.get(f"{url}/v1/models", headers=headers), range(300)))
    refused = [each for each in found if each.status_code != 200]
    assert refused
    error_in(refused[0], 429, "RateError")
    assert int(refused[0].headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": "wrong-key-0123456789"}, {"Authorization": "Bearer wrong"}],
    ids=["none", "wrong", "wrong bearer"],
)
def test_the_rate_of_wrong_keys_is_limited(headers: dict[str, str]) -> None:
    """Those who try keys are refused, and clients with a key at the same address are not."""
    options = ServerOptions(api_keys=(KEY,), rate=0.01, workers=1)
    with TestClient(create_app(options), base_url="http://localhost") as client:
        error_in(client.get("/v1/models", headers=headers), 401, "AccessError")
        for _ in range(3):
            error_in(client.get("/v1/models", headers=headers), 429, "RateError")
        assert client.get("/v1/models", headers={"X-API-Key": KEY}).status_code == 200


def test_the_address_without_keys_is_limited_to_this_machine(start: Starter, photo: bytes) -> None:
    server = start("--workers", "1")
    for host in ("evil.com", "127.0.0.1.evil.com", "", "10.0.0.1"):  # DNS rebinding
        error_in(server.http.get("/healthz", headers={"Host": host}), 403, "OriginError")
    assert server.http.get("/healthz", headers={"Host": "localhost:1"}).status_code == 200


def test_requests_at_the_same_time_are_limited(start: Starter, photo: bytes) -> None:
    server = start("--workers", "1", "--max-requests", "2", "--max-seconds", "600")
    many = [("x.jpg", photo)] * 30
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda _: server.post(*many), range(12)))
    statuses = {each.status_code for each in found}
    assert statuses <= {200, 503}
    refused = next(each for each in found if each.status_code == 503)
    error_in(refused, 503, "UnavailableError")
    assert refused.headers["retry-after"]
    assert server.http.get("/healthz").status_code == 200


def test_slow_bodies(start: Starter) -> None:
    server = start("--workers", "1", "--max-seconds", "1")
    for path in ("/v1/analyze", "/v1/video"):
        with server.connect() as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nContent-Type: "
            kind = "application/json" if path == "/v1/analyze" else "video/mp4"
            connection.sendall(f"{head}{kind}\r\n\r\nhalf".encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"SlowRequestError" in answer


def test_jobs_are_limited(start: Starter, long_clip: Path, clip: Path) -> None:
    server = start("--workers", "1", "--max-jobs", "1", "--max-frames", "100", "--max-video-megabytes", "1")
    error_in(server.http.post("/v1/video", files={"video": long_clip.read_bytes()}), 413, "LimitError")
    sent = server.http.post("/v1/video?fps=2", files={"video": long_clip.read_bytes()})
    assert sent.status_code == 202
    refused = server.http.post("/v1/video", files={"video": clip.read_bytes()})
    if refused.status_code != 202:  # else the first one was done already
        error_in(refused, 503, "UnavailableError")
    headers = {"Content-Type": "video/mp4"}
    assert server.http.delete(sent.headers["location"]).status_code == 204
    error_in(server.http.post("/v1/video", content=b"x" * 1_100_000, headers=headers), 413, "LimitError")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "host: '0.0.0.0' can be reached from other machines"),
        ({"host": "::"}, "host: '::' can be reached"),
        ({"host": ""}, "host: '' can be reached"),
        ({"host": "no such host"}, "is not an address"),
        ({"port": 70_000}, "port: expected a number 0-65535"),
        ({"workers": 0}, "workers: expected a number from 1"),
        ({"batch": 0}, "batch: expected a number from 1"),
        ({"rate": 0.0}, "rate: expected"),
        ({"rate": float("nan")}, "rate: expected"),
        ({"allow_origin": ("example.org",)}, "allow_origin: expected scheme://host"),
        ({"allow_origin": ("*",)}, "allow_origin: expected scheme://host"),
        ({"keyfile": Path("x.pem")}, "keyfile: has no effect"),
        ({"api_key_file": Path("/no/such/file")}, "cannot be read"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace("*", r"\*")):
        ServerOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key"),
        ("# only a comment\n\n", "has no key"),
        ("short\n", "line 1 .* is not a key"),
        (f"{KEY}\ntwo words are not one key\n", "line 2 .* is not a key"),
        ("schlüssel-mit-umlaut-0123456789", "line 1 .* is not a key"),
    ],
)
def test_bad_key_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        ServerOptions(api_key_file=path)


@pytest.mark.parametrize("kind", ["missing", "a folder", "not text"])
def test_key_files_that_cannot_be_read_say_how_to_make_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys"
    if kind == "a folder":
        path.mkdir()
    elif kind == "not text":
        path.write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(ConfigError, match="cannot be read") as found:
        ServerOptions(api_key_file=path)
    assert found.value.hint == f"write one key per line: openssl rand -hex 32 > {path}"


def test_keys_are_not_shown() -> None:
    assert KEY not in repr(ServerOptions(api_keys=(KEY,)))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("10.1.1.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_the_command_names_the_option(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "mien", "serve", "--host", "0.0.0.0"], capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 2
    assert found.stderr.startswith("error: --host: '0.0.0.0' can be reached")
    assert "--api-key-file" in found.stderr


def test_a_port_in_use(start: Starter) -> None:
    port = start("--workers", "1").url.rpartition(":")[2]
    found = subprocess.run(
        [sys.executable, "-m", "mien", "serve", "--port", port], capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 2
    assert "address already in use" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("host", "port", "hint"),
    [
        ("192.0.2.1", 0, "--host 127.0.0.1"),  # an address for documentation: no machine has it
        ("198.51.100.7", 0, "--host 127.0.0.1"),
        ("2001:db8::1", 0, "--host 127.0.0.1"),
        ("127.0.0.1", None, "--port 0"),
    ],
)
def test_the_hint_names_the_option_that_is_wrong(host: str, port: int | None, hint: str) -> None:
    with bind(ServerOptions(port=0)) as used:
        used.listen()
        options = ServerOptions(host=host, port=used.getsockname()[1] if port is None else port, api_keys=(KEY,))
        with pytest.raises(ConfigError, match="cannot listen on") as found:
            bind(options)
    assert hint in found.value.hint


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    for content in (None, "", "no certificate"):
        if content is not None:
            certificate.write_text(content)
        options = ServerOptions(port=0, certfile=certificate)
        with pytest.raises(ConfigError, match="cannot be used"):
            serve(FastAPI(), options)
