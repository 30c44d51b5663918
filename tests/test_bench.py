"""`mien bench`: it measures what it says, on this machine."""

import json
import math
import subprocess
import sys

import pytest
from tests.commands import run_command


@pytest.mark.parametrize(
    ("options", "faces"),
    [
        ((), ["mien-x, one face", "mien-m-int8, one face of a video", "mien-x, faces in batches of 32"]),
        (("--model", "mien-s"), ["mien-s, one face", "mien-s, faces in batches of 32"]),
    ],
)
def test_the_command_prints_every_figure(options: tuple[str, ...], faces: list[str]) -> None:
    command = [sys.executable, "-m", "mien", "bench", "--repeats", "5", "--json", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    timings = json.loads(result.stdout)
    assert [timing["what"] for timing in timings[:-3]] == faces
    assert [timing["unit"] for timing in timings[-4:]] == ["faces/s", "ms", "s", "MB"]
    for timing in timings:
        assert math.isfinite(timing["value"])
        assert 0 < timing["low"] <= timing["value"] <= timing["high"]


def test_an_unknown_detector_is_an_error() -> None:
    result = run_command("bench", "--detector", "nose")
    assert result.returncode == 2
    assert "no detector 'nose'" in result.stderr
