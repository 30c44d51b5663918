"""The OpenAPI document: valid, complete, and what the server does (Schemathesis)."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.server.conftest import Server, Starter

from mien import errors


@pytest.fixture(scope="module")
def server(start: Starter) -> Server:
    return start("--workers", "1")


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get("/openapi.json").json()
    return found


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A schema of the document on its own."""
    return {"$ref": f"#/components/schemas/{name}", "components": copy.deepcopy(document["components"])}


def test_results_fit_their_schema(server: Server, document: dict[str, Any], photo: bytes) -> None:
    found = server.post(("a.jpg", photo), ("b.jpg", b"nothing")).json()
    jsonschema_rs.validate(_schema(document, "Results"), found)
    for result in found["results"]:
        assert set(result) == set(document["components"]["schemas"]["FrameResult"]["properties"])
    (face,) = found["results"][0]["faces"]
    assert set(face) == set(document["components"]["schemas"]["Face"]["properties"])
    for key in list(face):  # the server always sends all of them
        broken = copy.deepcopy(found)
        del broken["results"][0]["faces"][0][key]
        with pytest.raises(jsonschema_rs.ValidationError, match=key):
            jsonschema_rs.validate(_schema(document, "Results"), broken)


def test_the_emotion_of_a_face_is_never_null(server: Server, document: dict[str, Any], photo: bytes) -> None:
    face = server.post(("a.jpg", photo)).json()["results"][0]["faces"][0]
    for key in ("emotion", "confidence", "uncertain", "emotions", "affect"):
        is_null = jsonschema_rs.is_valid(_schema(document, "Face"), face | {key: None})
        assert is_null == (key == "affect")  # classes without coordinates have none


def test_a_file_as_the_body_is_documented(document: dict[str, Any]) -> None:
    for path, kind in {"/v1/analyze": "image/*", "/v1/video": "video/*"}.items():
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert {kind, "application/octet-stream", "multipart/form-data"} <= set(content)


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    components = document["components"]
    examples = [(each, each["example"]) for each in components["schemas"].values() if "example" in each]
    for methods in document["paths"].values():
        for operation in methods.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                examples += [(media["schema"], media["example"])] if "example" in media else []
    assert len(examples) >= 3
    for schema, example in examples:
        jsonschema_rs.validate(schema | {"components": components}, example)


def test_every_documented_error_has_the_one_form(document: dict[str, Any]) -> None:
    statuses = set(errors.HTTP_STATUS.values())
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert int(status) in statuses, (path, status)
                    assert response["content"]["application/json"]["schema"]["$ref"].endswith("/Error")


def _schemathesis(server: Server, folder: Path, seconds: int) -> None:
    """Requests that fit the document, and such that do not: no status and no body may be another than documented."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    options = ["--phases", "examples,coverage,fuzzing", "--max-time", str(seconds), "--seed", "17", "--no-color"]
    options += ["--exclude-checks", "unsupported_method,positive_data_acceptance", "--request-timeout", "600"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    found = subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=folder, env=environment, timeout=3000
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert re.search(r"\d+ (generated|passed)", found.stdout), found.stdout[-2000:]


def test_schemathesis(server: Server, tmp_path: Path) -> None:
    _schemathesis(server, tmp_path, 20)


@pytest.mark.long
def test_schemathesis_for_longer(server: Server, tmp_path: Path) -> None:
    _schemathesis(server, tmp_path, 120)
