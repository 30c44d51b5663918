"""The public surface, and what importing it costs."""

import subprocess
import sys

import pytest

import mien

HEAVY = ("torch", "lightning", "fastapi", "ray", "pandas", "matplotlib", "h5py", "onnx", "sklearn", "pydantic")


def _run(program: str) -> str:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600)
    return result.stdout


def test_the_exported_members() -> None:
    assert set(mien.__all__) <= set(dir(mien))
    for name in mien.__all__:
        assert getattr(mien, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mien.nothing  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    touched = "import sys, mien; [getattr(mien, name) for name in mien.__all__]; import mien.analyzer"
    loaded = set(_run(f"{touched}; print(*sys.modules)").split())
    assert "mien.analyzer" in loaded
    assert not loaded & set(HEAVY)


def test_the_command_loads_nothing_heavy() -> None:
    program = "import sys; from mien.cli import build_app; build_app(); print(*sys.modules)"
    assert not set(_run(program).split()) & ((set(HEAVY) | {"onnxruntime", "cv2", "dlib"}) - {"h5py"})


def test_importing_changes_nothing_in_the_process() -> None:
    program = """
import os, threading, warnings
import numpy, cv2, onnxruntime, PIL.Image  # what libraries change on their own is not ours
before = dict(os.environ), threading.active_count(), list(warnings.filters), cv2.getNumThreads()
import mien.analyzer
[getattr(mien, name) for name in mien.__all__]
after = dict(os.environ), threading.active_count(), list(warnings.filters), cv2.getNumThreads()
print(before == after)
"""
    assert _run(program).strip() == "True"
