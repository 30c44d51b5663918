"""The light core as a user gets it: the built wheel in an environment of its own, which `make test` sets up."""

import os
import subprocess
from pathlib import Path

import pytest

CORE = os.environ.get("MIEN_CORE_PYTHON")
pytestmark = pytest.mark.skipif(CORE is None, reason="MIEN_CORE_PYTHON is not set; `make test` sets it")


def _core(*arguments: str, **options: str) -> str:
    assert CORE is not None
    result = subprocess.run([CORE, *arguments], capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, result.stderr
    return str(result.stdout)


def test_nothing_heavy_is_installed() -> None:
    installed = _core("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check").lower()
    names = {line.partition("==")[0] for line in installed.split()}
    assert "mien" in names
    assert not names & {"torch", "tensorflow", "keras", "pandas", "lightning", "matplotlib", "h5py", "scipy"}


def test_it_is_the_wheel_not_the_source_tree() -> None:
    assert "site-packages" in _core("-c", "import mien; print(mien.__file__)")


def test_it_reads_a_photograph(astronaut: Path, tmp_path: Path) -> None:
    printed = _core("-m", "mien", "analyze", str(astronaut), cwd=str(tmp_path))
    assert "happiness" in printed


@pytest.mark.parametrize(
    "command", [["train", "x.toml", "--data", "x.h5"], ["evaluate", "x.h5"], ["models", "show", "vgg13"]]
)
def test_teaching_names_what_it_needs(command: list[str]) -> None:
    assert CORE is not None
    result = subprocess.run([CORE, "-m", "mien", *command], capture_output=True, text=True, timeout=600)
    assert result.returncode == 6
    assert "pip install 'mien[" in result.stderr
    assert "Traceback" not in result.stderr
