"""Requests that are wrong: each has its status, one form of error, and leaves the server well."""

import base64
import inspect
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.server.conftest import Server, Starter, error_in

from mien.cli.options import command
from mien.cli.serve import serve
from mien.server.app import SERVE_OPTIONS


@pytest.fixture(scope="module")
def quiet(start: Starter) -> Server:
    return start("--workers", "1", "--max-megabytes", "1", "--max-pixels", "1000000", "--max-images", "3")


@pytest.fixture
def server(quiet: Server, photo: bytes) -> Iterator[Server]:
    """A server that must still work after each test."""
    yield quiet
    assert quiet.post(("photo.jpg", photo)).status_code == 200


def _image(width: int, height: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, height)).save(target, "PNG")
    return target.getvalue()


BAD_IMAGES = {
    "empty": b"",
    "text": b"hello",
    "cut": _image(300, 300)[:200],
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "a path on the server": b"/etc/passwd",
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_single_image_that_cannot_be_read(server: Server, name: str) -> None:
    error = error_in(server.post(("x.png", BAD_IMAGES[name])), 422, "InputError")
    assert "x.png" in error["message"]


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_one_of_several_does_not_lose_the_others(server: Server, photo: bytes, name: str) -> None:
    results = server.post(("x.png", BAD_IMAGES[name]), ("good.jpg", photo)).json()["results"]
    assert "x.png" in results[0]["error"]
    assert len(results[1]["faces"]) == 1


def test_too_many_pixels(server: Server, photo: bytes) -> None:
    large = _image(1001, 1000)
    assert "1,001,000 pixels" in error_in(server.post(("x.png", large)), 413, "LimitError")["message"]
    results = server.post(("x.png", large), ("good.jpg", photo)).json()["results"]
    assert "1,001,000 pixels" in results[0]["error"]
    assert len(results[1]["faces"]) == 1


def test_too_many_images(server: Server, photo: bytes) -> None:
    error_in(server.post(*[("x.jpg", photo)] * 4), 413, "LimitError")
    error_in(server.http.post("/v1/analyze", json={"images": ["", "", "", ""]}), 413, "LimitError")


@pytest.mark.parametrize("stated", [True, False])
def test_too_many_bytes(server: Server, stated: bool) -> None:
    """With the length in the head, and in chunks."""
    content = b"x" * 1_500_000
    headers = {"Content-Type": "application/json"}
    sent: Any = content if stated else iter([content[:700_000], content[700_000:]])
    error_in(server.http.post("/v1/analyze", content=sent, headers=headers), 413, "LimitError")


_CURL = "curl -F {0}=@{1} URL, or curl --data-binary @{1} -H 'Content-Type: {2}' URL"
_IMAGES_HINT = _CURL.format("images", "photo.jpg", "image/jpeg")
_VIDEO_HINT = _CURL.format("video", "clip.mp4", "video/mp4")


@pytest.mark.parametrize(
    ("path", "kind", "hint"),
    [
        ("/v1/analyze", "", _IMAGES_HINT),
        ("/v1/analyze", "text/plain", _IMAGES_HINT),
        ("/v1/analyze", "application/x-www-form-urlencoded", _IMAGES_HINT),  # curl without -H
        ("/v1/analyze", "video/mp4", "videos: POST /v1/video"),
        ("/v1/video", "", _VIDEO_HINT),
        ("/v1/video", "text/plain", _VIDEO_HINT),
        ("/v1/video", "application/x-www-form-urlencoded", _VIDEO_HINT),
        ("/v1/video", "image/jpeg", "images: POST /v1/analyze"),
    ],
)
def test_bodies_of_other_types(server: Server, photo: bytes, path: str, kind: str, hint: str) -> None:
    response = server.http.post(path, content=photo, headers={"Content-Type": kind})
    error = error_in(response, 415, "MediaTypeError")
    assert f"the body is '{kind}', expected" in error["message"] or not kind
    assert error["hint"] == hint


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream"])
def test_an_image_as_the_body_has_the_same_limits(server: Server, kind: str) -> None:
    def sent(content: Any) -> httpx.Response:
        return server.http.post("/v1/analyze", content=content, headers={"Content-Type": kind})

    error_in(sent(b"x" * 1_500_000), 413, "LimitError")
    error_in(sent(iter([b"x" * 700_000] * 2)), 413, "LimitError")
    assert "1,001,000 pixels" in error_in(sent(_image(1001, 1000)), 413, "LimitError")["message"]
    for content in BAD_IMAGES.values():
        assert "images[0]" in error_in(sent(content), 422, "InputError")["message"]
    assert error_in(sent(BAD_IMAGES["video"]), 422, "InputError")["hint"].startswith("POST /v1/video")


BAD_JSON = {
    "empty": b"",
    "not JSON": b"{images",
    "not UTF-8": b'{"images": ["\xff"]}',
    "a surrogate": b'{"images": ["\\ud800"]}',
    "a list": b"[]",
    "no images": b'{"images": []}',
    "null": b'{"images": null}',
    "a number": b'{"images": [5]}',
    "another key": b'{"images": ["aGVsbG8="], "image": 1}',
    "not base64": b'{"images": ["hello!"]}',
    "half a byte": b'{"images": ["aGVsbG8"]}',
    "a URL": b'{"images": ["http://localhost/x.png"]}',
    "a data URI without base64": b'{"images": ["data:image/png,hello"]}',
    "nested": b'{"images": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json(server: Server, name: str) -> None:
    headers = {"Content-Type": "application/json"}
    error = error_in(server.http.post("/v1/analyze", content=BAD_JSON[name], headers=headers), 422, "InputError")
    assert len(json.dumps(error)) < 2000


def _part(head: str, content: str = "x") -> bytes:
    return f"--B\r\n{head}\r\n\r\n{content}\r\n--B--\r\n".encode()


BAD_FORMS = {
    "empty": b"",
    "no boundary": b"hello",
    "no end": _part('Content-Disposition: form-data; name="images"; filename="x"')[:-10],
    "another field": _part('Content-Disposition: form-data; name="image"; filename="x"'),
    "text": _part('Content-Disposition: form-data; name="images"'),
    "much text": _part('Content-Disposition: form-data; name="images"', "x" * 5000),
    "no name": _part("Content-Disposition: form-data"),
    "no disposition": _part("X-Other: 1"),
    "no parts": b"--B--\r\n",
    "a wrong header": _part("\x00\x01: \x02"),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_bad_forms(server: Server, name: str) -> None:
    for path in ("/v1/analyze", "/v1/video"):
        kind = "multipart/form-data; boundary=B"
        response = server.http.post(path, content=BAD_FORMS[name], headers={"Content-Type": kind})
        error = error_in(response, 422, "InputError")
        if name == "much text":
            assert (error["message"], error["hint"][:24]) == (
                "a part of the form is text of more than 1,000 bytes, expected a file",
                "give the part a file name"[:24],
            )


def test_a_form_without_a_boundary(server: Server) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    error_in(server.http.post("/v1/analyze", content=b"--B--", headers=headers), 422, "InputError")


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("fps=0", 422, "InputError"),
        ("fps=nan", 422, "InputError"),
        ("fps=inf", 400, "ConfigError"),
        ("every=x", 422, "InputError"),
        ("every=2&fps=5", 400, "ConfigError"),
        ("start=5&end=4", 400, "ConfigError"),
    ],
)
def test_bad_options_of_videos(server: Server, photo: bytes, query: str, status: int, kind: str) -> None:
    error_in(server.http.post(f"/v1/video?{query}", files={"video": ("x.mp4", photo)}), status, kind)


@pytest.mark.parametrize(
    ("method", "address", "hint"),
    [
        ("POST", "/v1/analyze?emotions=7", "an option of the server, for all requests: mien serve --emotions"),
        ("POST", "/v1/analyze?min-score=0.9", "an option of the server, for all requests: mien serve --min-score"),
        ("POST", "/v1/analyze?fps=5", "this address has no parameters"),
        ("POST", "/v1/video?fp=5", "did you mean fps? expected every, fps, start, end"),
        ("POST", "/v1/video?fps=5&model=mien-s", "an option of the server, for all requests: mien serve --model"),
        ("GET", "/v1/video/x?wiat=3", "did you mean wait? expected wait"),
        ("GET", "/v1/video/x/result?part=1", "did you mean partial? expected partial"),
        ("DELETE", "/v1/video/x?force=1", "this address has no parameters"),
    ],
)
def test_parameters_that_an_address_does_not_have(server: Server, method: str, address: str, hint: str) -> None:
    """They would be ignored, and the answer be that to another question."""
    error = error_in(server.http.request(method, address), 422, "InputError")
    assert "in the query" in error["message"]
    assert error["hint"] == hint


def test_options_of_the_server_are_named_as_it_takes_them() -> None:
    assert set(SERVE_OPTIONS) <= set(inspect.signature(command(serve)).parameters)


def test_a_video_among_images_is_sent_elsewhere(server: Server) -> None:
    content = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    encoded = base64.b64encode(content).decode()
    for response in (
        server.post(("clip.mp4", content)),
        server.http.post("/v1/analyze", json={"images": [{"name": "clip.mp4", "data": encoded}]}),
    ):
        hint = error_in(response, 422, "InputError")["hint"]
        assert hint.startswith("POST /v1/video; ")
        assert "mien.analyze" not in hint


@pytest.mark.parametrize("content", [b"", b"hello", _image(20, 20), b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"])
def test_what_is_no_video(server: Server, content: bytes) -> None:
    response = server.http.post("/v1/video", files={"video": ("x.mp4", content)})
    if response.status_code == 202:  # it begins like one
        job = response.headers["location"]
        assert server.http.get(job, params={"wait": 30}).json()["state"] == "failed"
        response = server.http.get(f"{job}/result")
    error = error_in(response, 422, "InputError")
    assert "x.mp4" in error["message"]
    assert "/proc/" not in error["message"]


def test_addresses_and_methods_that_do_not_exist(server: Server) -> None:
    assert "'/v2'" in error_in(server.http.get("/v2"), 404, "NotFoundError")["message"]
    error_in(server.http.get("/v1/video/x/y/z"), 404, "NotFoundError")
    error_in(server.http.get("/v1/video/unknown"), 404, "NotFoundError")
    error_in(server.http.delete("/v1/video/unknown"), 404, "NotFoundError")
    error_in(server.http.get("/v1/analyze"), 405, "MethodError")
    error_in(server.http.put("/healthz"), 405, "MethodError")


@pytest.mark.parametrize(
    "head", [b"\0\xff\r\n\r\n", b"GET /" + b"x" * 100_000, b"POST / HTTP/1.1\r\nHost: a b\r\n\r\n"]
)
def test_what_is_not_http(server: Server, head: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 40")
