"""OpenCV beside mien: builds that overwrite each other are noticed, and a damaged one is an error that can be followed.

The environments here are folders in front of the real packages: the real OpenCV, and the records that pip leaves of the
builds it installed. `tests/test_neighbours.py` installs the real ones.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest

HEADLESS = "opencv-python-headless"


def environment(folder: Path, builds: Sequence[str]) -> dict[str, str]:
    """Variables for a Python that finds OpenCV in `folder`, with the records of these builds beside it."""
    (folder / "cv2").symlink_to(Path(cv2.__file__).parent)
    for build in builds:
        (folder / f"{build.replace('-', '_')}-4.14.0.94.dist-info").mkdir()
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def run(variables: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=600, env=variables)


WARNED = """
import warnings
from mien.faces.align import Aligner
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    Aligner("whole-image"), Aligner("whole-image")
print(*(f"{each.category.__name__}: {each.message}" for each in found), sep="\\n")
"""


def test_the_command_notes_it_once(tmp_path: Path, astronaut: Path) -> None:
    variables = environment(tmp_path, [HEADLESS, "opencv-python"])
    done = run(variables, "-m", "mien", "analyze", str(astronaut), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["error"] is None
    (note,) = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: several builds of OpenCV share one folder (opencv-python, opencv-python-headless)")
    assert "cv2.imshow and the other window functions. mien" in note
    remedy = "pip uninstall -y opencv-python opencv-python-headless; then pip install opencv-python==4.14.0.94"
    assert note.endswith(remedy)
    done = run(variables, "-m", "mien", "analyze", str(astronaut), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("builds", "lost", "remedy"),
    [
        ([HEADLESS, "opencv-contrib-python-headless"], "lacks OpenCV's contrib modules. mien", "-headless==4.14.0.94"),
        (
            [HEADLESS, "opencv-contrib-python"],
            "lacks cv2.imshow and the other window functions and OpenCV's contrib modules. mien",
            "pip install opencv-contrib-python==4.14.0.94",
        ),
        (
            ["opencv-python", "opencv-contrib-python-headless"],
            "lacks cv2.imshow and the other window functions and OpenCV's contrib modules. mien",
            "pip install opencv-contrib-python",  # of the builds, the one that has both
        ),
    ],
)
def test_in_python_it_is_one_warning(builds: list[str], lost: str, remedy: str, tmp_path: Path) -> None:
    done = run(environment(tmp_path, builds), "-c", WARNED)
    (warning,) = done.stdout.splitlines()
    assert warning.startswith("UserWarning: several builds of OpenCV")
    assert lost in warning
    assert warning.endswith(remedy)


@pytest.mark.parametrize("builds", [[], ["opencv-python"], [HEADLESS, "opencv_jupyter_ui"]])
def test_one_build_is_not_worth_a_note(builds: list[str], tmp_path: Path) -> None:
    assert run(environment(tmp_path, builds), "-c", WARNED).stdout == "\n"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("", "OpenCV is incomplete"),  # the folder that pip leaves when it uninstalls one of two builds
        ("raise ImportError('libGL.so.1: cannot open shared object file')", "libGL.so.1"),
        ("raise ModuleNotFoundError(\"No module named 'cv2'\")", "No module named 'cv2'"),
    ],
)
def test_an_opencv_that_does_not_load_is_an_error_with_a_remedy(
    module: str, reason: str, tmp_path: Path, astronaut: Path
) -> None:
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(module, encoding="utf-8")
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = run(variables, "-m", "mien", "analyze", str(astronaut))
    assert done.returncode == 6
    assert reason in done.stderr
    assert "pip install --force-reinstall --no-deps opencv-python-headless" in done.stderr
    assert "Traceback" not in done.stderr
