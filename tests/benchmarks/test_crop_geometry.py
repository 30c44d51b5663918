"""Crops of faces on canvases: as the classifier wants them, black for a face that is not found."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.crop_geometry import WAYS, find

from mien.expression import OnnxClassifier
from mien.faces import detectors
from mien.media import read_image


@pytest.mark.parametrize("grey", [True, False])
def test_faces_that_are_not_found_are_black(astronaut: Path, grey: bool) -> None:
    head = cv2.resize(read_image(astronaut)[30:210, 135:315], (48, 48), interpolation=cv2.INTER_AREA)
    face = np.asarray(cv2.cvtColor(head, cv2.COLOR_RGB2GRAY), np.uint8)
    spec = replace(OnnxClassifier().info.crop_spec, grey=grey)
    found = find([np.full((48, 48), 90, np.uint8), face], detectors.load(), spec, "grey", 0.0)
    assert found.rows.tolist() == [False, True]
    for way in WAYS:
        assert found.crops[way].shape == ((2, 48, 48) if grey else (2, 48, 48, 3))
        assert not found.crops[way][0].any()
        assert found.crops[way][1].std() > 20
