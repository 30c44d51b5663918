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
    del found["results"][0]["faces"][0]["box"]
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(_schema(document, "Results"), found)


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
