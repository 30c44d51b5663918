"""The core beside the other packages of the field, in one real environment each, as their latest releases resolve.

uv resolves the neighbour alone, which gives its latest release, and then both together: one environment exists. Their
frameworks (PyTorch, TensorFlow) are gigabytes, so what is installed is smaller: the core from its wheel, the neighbour
without its dependencies, and of these, at the versions that uv chose, those that the core uses too.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

pytestmark = pytest.mark.long

# What the core and its neighbours share: the packages of the core, and the builds of OpenCV.
SHARED = re.compile(r"opencv[a-z-]*|numpy|pillow|onnxruntime|protobuf|flatbuffers|rich|typer|click|platformdirs")


def run(*command: str | Path, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs a command that must not see the source tree."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | (env or {})
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, env=outside)


def done(*command: str | Path) -> str:
    result = run(*command)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout[-2000:]}{result.stderr[-4000:]}"
    return result.stdout


def pip(python: Path, *arguments: str | Path) -> None:
    done(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", *arguments)


def new_environment(folder: Path, *options: str) -> Path:
    """The Python of a new environment."""
    done(sys.executable, "-m", "venv", *options, folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The Python of an environment with uv, and the wheel of the core.

    Without a package index these tests cannot run, which is a reason to skip them and no failure.
    """
    folder = tmp_path_factory.mktemp("tools")
    python = new_environment(folder / "uv")
    found = run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "platformdirs")
    if found.returncode:
        pytest.skip(f"no package index: {found.stderr.strip().splitlines()[-1]}")
    pip(python, "uv")
    done(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("mien-*.whl")
    return python, wheel


def uv(tools: Path, *arguments: str | Path) -> str:
    return done(tools, "-m", "uv", "pip", *arguments, "--quiet", "--native-tls")


def resolved(tools: Path, folder: Path, *requirements: str) -> dict[str, str]:
    """The versions of all packages of an environment for these requirements."""
    (folder / "wanted.in").write_text("\n".join(requirements), encoding="utf-8")
    options = ("--no-header", "--no-annotate", "--python", sys.executable)
    text = uv(tools, "compile", *options, folder / "wanted.in")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


@pytest.fixture
def shared_environment(tools: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with the core and a neighbour."""
    python, wheel = tools
    name = str(request.param)
    alone = resolved(python, tmp_path, name)
    latest = {part: version for part, version in alone.items() if part in ("fer", "facenet-pytorch", "deepface", name)}
    together = resolved(python, tmp_path, *(f"{part}=={version}" for part, version in latest.items()), str(wheel))
    own = new_environment(tmp_path / "environment", "--without-pip")
    versions = [f"{part}=={version}" for part, version in together.items() if SHARED.fullmatch(part)]
    uv(python, "install", "--python", own, *versions)
    uv(python, "install", "--python", own, "--no-deps", f"{name}=={latest[name]}")
    uv(python, "install", "--python", own, wheel, *versions)  # fails if the core and these versions conflict
    return own


def core_works(python: Path, image: Path) -> "subprocess.CompletedProcess[str]":
    """Analyzes a photograph; the help shows that typer, click and rich fit."""
    assert "--detector" in done(python, "-m", "mien", "analyze", "--help")
    result = run(python, "-m", "mien", "analyze", image, "--json")
    assert result.returncode == 0, result.stderr
    (face,) = json.loads(result.stdout)["faces"]
    assert face["emotion"] == "happiness"
    return result


@pytest.mark.parametrize("shared_environment", ["fer", "facenet-pytorch", "deepface"], indirect=True)
def test_the_core_works_beside(shared_environment: Path, astronaut: Path) -> None:
    core_works(shared_environment, astronaut)


def test_opencv_python_keeps_its_windows(tools: tuple[Path, Path], tmp_path: Path, astronaut: Path) -> None:
    """Installed after it, the core's build of OpenCV replaces the user's. The note's own commands bring it back."""
    python, build = new_environment(tmp_path / "environment"), "import cv2; print(cv2.getBuildInformation())"
    gui = re.compile(r"^\s+GUI:\s+(\w+)", re.MULTILINE)
    pip(python, "opencv-python")
    assert gui.findall(done(python, "-c", build)) != ["NONE"]
    pip(python, tools[1])
    assert gui.findall(done(python, "-c", build)) == ["NONE"]
    (note,) = [line for line in core_works(python, astronaut).stderr.splitlines() if line.startswith("note: ")]
    for command in re.findall(r"pip ((?:un)?install [^;]+)", note):
        done(python, "-m", "pip", *command.split())
    assert gui.findall(done(python, "-c", build)) != ["NONE"]
    assert "note: " not in core_works(python, astronaut).stderr


@pytest.mark.parametrize(
    "pins", [["numpy<2", "pillow<10.3"], ["numpy==1.24.2", "pillow==10.1.0", "rich==12.3.0", "click<8.2"]]
)
def test_the_core_installs_beside_old_pins(
    pins: list[str], tools: tuple[Path, Path], tmp_path: Path, astronaut: Path
) -> None:
    python = new_environment(tmp_path / "environment", "--without-pip")
    uv(tools[0], "install", "--python", python, tools[1], *pins)
    core_works(python, astronaut)
