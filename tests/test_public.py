"""The public surface, and what importing it costs."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest

import mien
from mien.results import Face, Frame, FrameResult

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


def test_the_type_of_the_result_follows_from_what_is_analyzed(astronaut: Path) -> None:
    """mypy checks `assert_type`; running shows that the types are true."""
    image = np.zeros((48, 48, 3), np.uint8)
    crops = mien.Analyzer(detector="whole-image")
    assert isinstance(assert_type(mien.analyze(image), FrameResult), FrameResult)
    assert isinstance(assert_type(mien.analyze(str(astronaut), emotions=7), FrameResult), FrameResult)
    assert isinstance(assert_type(mien.analyze(astronaut, detector="mien"), FrameResult), FrameResult)
    assert isinstance(assert_type(mien.analyze(Frame(image), classifier="mien-s"), FrameResult), FrameResult)
    assert isinstance(assert_type(mien.analyze([image, image]), list[FrameResult]), list)
    assert isinstance(assert_type(mien.analyze((astronaut, str(astronaut))), list[FrameResult]), list)
    paths: list[Path] = [astronaut]
    assert isinstance(assert_type(mien.analyze(paths), list[FrameResult]), list)
    results = assert_type(mien.analyze(each for each in paths), Generator[FrameResult])
    assert assert_type(next(results), FrameResult).source == str(astronaut)
    with astronaut.open("rb") as file:
        assert isinstance(assert_type(crops.analyze(file), FrameResult), FrameResult)
    assert isinstance(assert_type(crops.analyze([image]), list[FrameResult]), list)
    assert_type(crops.analyze(iter([image])), Generator[FrameResult])
    assert_type(crops.stream([Frame(image)], max_delay=0), Generator[FrameResult])
    result = mien.analyze(astronaut)
    assert assert_type(result[0:1], tuple[Face, ...]) == (assert_type(result[0], Face),)
    (face,) = assert_type(mien.detect(astronaut, min_score=0.5, detector="mien"), list[Face])
    assert face.expression is None


def test_submodules_are_there_without_an_import_of_their_own() -> None:
    """`mien.media.open_frames` is what documents and hints write."""
    program = "import sys, mien; before = 'mien.media' in sys.modules; print(before, mien.media.open_frames.__module__)"
    assert _run(program).split() == ["False", "mien.media"]
    assert _run("import mien; print(mien.output.to_pandas.__module__)").strip() == "mien.output.tables"


def test_wrong_arguments_are_type_errors() -> None:
    with pytest.raises(TypeError):
        mien.analyze("a.png", modle="mien-s")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        mien.detect("a.png", score=1)  # type: ignore[arg-type]


ARGUMENTS = {
    "model": "write classifier='mien-s'",
    "min_score": r"write detector=DetectorOptions\(min_score=",
    "tta": r"write classifier=ClassifierOptions\(tta=",
    "fps": r"write video=VideoOptions\(fps=",
    "smooth": r"write options=AnalyzerOptions\(tracking=TrackingOptions\(smooth=",
    "largest_only": r"write options=AnalyzerOptions\(largest_only=",
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_another_place_is_told_where_it_belongs(name: str) -> None:
    analyze: Any = mien.analyze
    with pytest.raises(TypeError, match=f"analyze has no argument '{name}'; {ARGUMENTS[name]}"):
        analyze("a.png", **{name: 1})


OPTIONS = [
    ("mien-s", "got str; for a model write classifier='mien-s'"),
    (mien.DetectorOptions(), r"got DetectorOptions; write AnalyzerOptions\(detector=\.\.\.\)"),
    ({"keypoints": True}, r"got dict; write AnalyzerOptions\(\*\*options\)"),
    (7, "got int$"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_something_else_as_options_is_told_what_to_write(options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"options: expected AnalyzerOptions, {message}"):
        mien.Analyzer(options)
    with pytest.raises(TypeError, match=f"options: expected AnalyzerOptions, {message}"):
        mien.analyze("a.png", options=options)


def test_values_of_options_have_their_types() -> None:
    wrong: Any = "no"
    with pytest.raises(mien.errors.ConfigError, match="keypoints: expected True or False, got 'no'"):
        mien.AnalyzerOptions(keypoints=wrong)
    with pytest.raises(mien.errors.ConfigError, match="keypoints: expected True or False, got 'no'"):
        mien.Analyzer(keypoints=wrong)
    with pytest.raises(mien.errors.ConfigError, match=r"detector: expected DetectorOptions, got str \(write Det"):
        mien.AnalyzerOptions(detector=wrong)
    with pytest.raises(mien.errors.ConfigError, match=r"start: expected a number, got '0:01' \(write start=1\)"):
        mien.media.VideoOptions(start="0:01")  # type: ignore[arg-type]
    with pytest.raises(mien.errors.ConfigError, match="every: expected a whole number, got 'two'"):
        mien.media.VideoOptions(every="two")  # type: ignore[arg-type]
