"""The Haar detector exists only in OpenCV 4: its message elsewhere, its work there."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from mien.errors import UnsupportedError
from mien.faces.detectors import load

OPENCV_4 = os.environ.get("MIEN_OPENCV4", "")


@pytest.mark.skipif(hasattr(cv2, "CascadeClassifier"), reason="this OpenCV has cascades")
def test_without_cascades_the_message_names_two_ways_out() -> None:
    with pytest.raises(UnsupportedError, match=f"needs OpenCV 4, found {cv2.__version__}") as caught:
        load("haar")
    assert caught.value.hint == "pip install 'opencv-python-headless<5', or use another detector"


@pytest.mark.skipif(not OPENCV_4, reason="MIEN_OPENCV4 names no folder with OpenCV 4")
def test_with_opencv_4_it_passes_the_conformance_suite() -> None:
    suite = Path(__file__).with_name("test_detectors.py")
    command = [sys.executable, "-m", "pytest", str(suite), "-q", "-k", "haar", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([OPENCV_4, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    assert "needs OpenCV 4" not in done.stdout  # it ran: none of its tests was skipped for want of cascades
