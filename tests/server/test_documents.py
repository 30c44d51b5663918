"""What is written about the server is true: its examples run, and the container is what it should be."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
from tests.conftest import ROOT
from tests.server.conftest import Server, Starter

from mien.cli import build_app
from mien.errors import HTTP_STATUS
from mien.server.options import ServerOptions

DOCUMENT = ROOT / "docs" / "server.md"
DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture(scope="module")
def server(start: Starter) -> Server:
    return start("--workers", "1")


@pytest.fixture
def place(tmp_path: Path, photo: bytes, clip: Path) -> Path:
    """A folder with the files of the examples."""
    for name in ("photo.jpg", "party.jpg"):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    return tmp_path


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_examples_with_curl(server: Server, place: Path) -> None:
    blocks = [block for block in _blocks("bash") if "curl" in block]
    assert len(blocks) >= 3
    for block in blocks:
        script = "set -eu\n" + block.replace("http://127.0.0.1:8000", server.url).replace("curl ", "curl -sSf ")
        found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=place, timeout=600)
        assert found.returncode == 0, f"{block}\n{found.stderr}"
        answers = [json.loads(each) for each in re.split(r"(?<=\})(?=\{)", found.stdout.replace("\n", "")) if each]
        faces = [face for each in answers for result in each.get("results", ()) for face in result["faces"]]
        assert faces or [each["source"] for each in answers] == ["video"]  # a job


def test_examples_in_python(server: Server, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (block,) = _blocks("py")
    exec(compile(block.replace("http://127.0.0.1:8000", server.url), str(DOCUMENT), "exec"), {})


def test_every_status_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (\d+)(?:, \d+)? \| `(\w+)`", text, re.MULTILINE))
    names = {kind.__name__: status for kind, status in HTTP_STATUS.items()}
    assert {status: names[name] for status, name in table.items()} == {status: int(status) for status in table}
    assert {"400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503"} == set(table)
    assert json.loads(_blocks("json")[0])["error"]["status"] == 413


def _steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def test_the_container_does_not_run_as_root() -> None:
    last_stage = _steps()[max(number for number, (word, _) in enumerate(_steps()) if word == "FROM") :]
    (user,) = [rest for word, rest in last_stage if word == "USER"]
    assert int(user) > 0
    assert not [rest for word, rest in last_stage if word == "RUN" and ("pip" in rest or "curl" in rest)]


def test_the_container_starts_the_server() -> None:
    (entry,) = [json.loads(rest) for word, rest in _steps() if word == "ENTRYPOINT"]
    assert entry[:2] == ["mien", "serve"]
    command = typer.main.get_command(build_app()).commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in entry if word.startswith("--")} <= known
    (port,) = [int(rest) for word, rest in _steps() if word == "EXPOSE"]
    assert port == ServerOptions().port
    (health,) = [rest for word, rest in _steps() if word == "HEALTHCHECK"]
    assert f"127.0.0.1:{port}/healthz" in health


def test_the_container_has_what_it_copies() -> None:
    sources = [path for word, rest in _steps() if word == "COPY" and "--from" not in rest for path in rest.split()[:-1]]
    assert all((ROOT / path).exists() for path in sources)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{path}" for path in sources} <= set(ignored)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "serve" in project["optional-dependencies"]
    (build,) = [rest for word, rest in _steps() if word == "RUN" and "pip" in rest]
    assert ".[serve]" in build
