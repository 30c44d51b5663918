"""The res10 SSD's reader on a made-up network of the same form; it needs OpenCV 4."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.faces.caffe_network import DEFINITION, PLAIN_DEFINITION, write_network

from mien.errors import UnsupportedError, WeightsError
from mien.faces.detectors import Detector, DetectorOptions, load

OPENCV_4 = os.environ.get("MIEN_OPENCV4", "")
READS_CAFFE = hasattr(cv2.dnn, "readNetFromCaffe")
here = pytest.mark.skipif(not READS_CAFFE, reason="this OpenCV cannot read Caffe networks")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def loaded(path: Path) -> Detector:
    return load(DetectorOptions("ssd", weights=path))


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)
    return caught.value.message


@pytest.mark.skipif(READS_CAFFE, reason="this OpenCV reads Caffe networks")
def test_without_caffe_the_message_names_two_ways_out() -> None:
    with pytest.raises(UnsupportedError, match=f"needs OpenCV 4, found {cv2.__version__}") as caught:
        load("ssd")
    assert caught.value.hint == "pip install 'opencv-python-headless<5', or use another detector"


@pytest.mark.skipif(not OPENCV_4 or READS_CAFFE, reason="MIEN_OPENCV4 names no folder with OpenCV 4")
def test_with_opencv_4_it_passes_the_conformance_suite() -> None:
    suites = [str(Path(__file__).with_name("test_detectors.py")), __file__]
    command = [sys.executable, "-m", "pytest", *suites, "-q", "-k", "ssd", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([OPENCV_4, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    assert "needs OpenCV 4" not in done.stdout  # it ran: nothing was skipped for want of Caffe networks


@here
def test_boxes_are_in_pixels_of_the_image_and_colours_in_order(tmp_path: Path) -> None:
    detector = loaded(write_network(tmp_path))
    image = np.zeros((600, 900, 3), np.uint8)
    image[120:240, 270:450] = RED
    image[360:480, 540:720] = BLUE
    found = detector.detect(image)
    assert found.landmarks is None
    assert np.allclose(found.boxes, [[270, 120, 450, 240]], atol=0.1)
    assert found.scores[0] > 0.99


@here
def test_several_and_the_smaller_left_out(tmp_path: Path) -> None:
    write_network(tmp_path)
    image = np.zeros((300, 300, 3), np.uint8)
    image[30:90, 30:90] = RED
    image[150:210, 180:240] = RED
    for min_face, expected in ((None, 2), (59, 2), (61, 0)):
        detector = load(DetectorOptions("ssd", weights=tmp_path, min_face=min_face))
        assert len(detector.detect(image)) == expected


@here
def test_the_definition_is_found_beside_the_weights(tmp_path: Path) -> None:
    path = write_network(tmp_path)
    assert loaded(path).name == "ssd"
    assert loaded(tmp_path).name == "ssd"
    (tmp_path / "deploy.prototxt").rename(tmp_path / "red.prototxt")
    (tmp_path / "other.prototxt").write_text("another network's")
    assert loaded(path).name == "ssd"  # the one with the same name
    (tmp_path / "red.prototxt").unlink()
    (tmp_path / "other.prototxt").unlink()
    assert "found 1 .caffemodel and 0 .prototxt" in refused(path)
    assert "no such weights" in refused(tmp_path / "nothing.caffemodel")


@here
@pytest.mark.parametrize("kept", [0, 5, 40_000, 170_000])
def test_half_downloaded_weights_are_refused(tmp_path: Path, kept: int) -> None:
    path = write_network(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "is not a Caffe network that matches its definition" in refused(path)


@here
@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (PLAIN_DEFINITION, r"is not a face detector: its output is (1, 2, 9, 9), expected (1, 1, N, 7)"),
        (DEFINITION.replace('"conf" type', '"other" type'), "is not a Caffe network that matches its definition"),
        ("nonsense {", "is not a Caffe network that matches its definition"),
        ("", "is not a Caffe network that matches its definition"),
    ],
    ids=["another network", "another's weights", "nonsense", "empty"],
)
def test_another_network_is_refused(tmp_path: Path, definition: str, message: str) -> None:
    assert message in refused(write_network(tmp_path, definition=definition))


@here
def test_an_onnx_network_is_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path)
    path.write_bytes((Path(__file__).parents[2] / "src" / "mien" / "assets" / "mien-s.onnx").read_bytes())
    assert "is not a Caffe network" in refused(path)
