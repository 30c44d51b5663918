"""The light core as users get it: the built wheel in a separate environment, which `make test` sets up."""

import os
import subprocess
from pathlib import Path

import pytest

CORE = os.environ.get("MIEN_CORE_PYTHON")
pytestmark = pytest.mark.skipif(CORE is None, reason="MIEN_CORE_PYTHON is not set; `make test` sets it")


def _run(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs the core's Python, which must not see the source tree that this test may have on its path."""
    assert CORE is not None
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([CORE, *arguments], capture_output=True, text=True, timeout=600, cwd=folder, env=alone)


def _core(*arguments: str, folder: Path | None = None) -> str:
    result = _run(*arguments, folder=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_nothing_heavy_is_installed() -> None:
    installed = _core("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check").lower()
    names = {line.partition("==")[0] for line in installed.split()}
    assert "mien" in names
    assert not names & {"torch", "tensorflow", "keras", "pandas", "lightning", "matplotlib", "h5py", "scipy"}


def test_it_is_the_wheel_not_the_source_tree() -> None:
    assert "site-packages" in _core("-c", "import mien; print(mien.__file__)")


def test_it_analyzes_a_photograph(astronaut: Path, tmp_path: Path) -> None:
    printed = _core("-m", "mien", "analyze", str(astronaut), folder=tmp_path)
    assert "happiness" in printed


@pytest.mark.parametrize(
    "command", [["train", "x.toml", "--data", "x.h5"], ["evaluate", "x.h5"], ["models", "show", "vgg13"]]
)
def test_commands_for_training_name_the_extra_they_need(command: list[str]) -> None:
    result = _run("-m", "mien", *command)
    assert result.returncode == 6
    assert "pip install 'mien[" in result.stderr
    assert "Traceback" not in result.stderr
