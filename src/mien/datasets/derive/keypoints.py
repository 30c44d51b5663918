"""Keypoints of the faces of a store, found by a landmark method: training places covers by them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from mien.datasets import Samples
from mien.datasets.canvas import rgb
from mien.faces.align import SURE
from mien.faces.detectors.whole_image import TYPICAL_LANDMARKS
from mien.faces.keypoints import COUNTS
from mien.faces.landmarks import Landmarker

CHUNK: Final = 256  # faces between two calls of `progress`


def add_keypoints(
    samples: Samples,
    landmarker: Landmarker,
    *,
    least: float = SURE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """The samples with the keypoints of their faces; nan where the method is not sure.

    Args:
        samples: Existing keypoints are replaced.
        landmarker: Finds the points.
        least: Lowest face score, 0-1, if the method gives scores.
        progress: Called with the number of faces done and the number of all.
    """
    points = np.full((len(samples), COUNTS[landmarker.scheme], 2), np.nan, np.float32)
    height, width = samples.images.shape[1:3]
    box = np.array([[0, 0, width, height]], np.float32)
    five = np.array([TYPICAL_LANDMARKS], np.float32) * np.array([width, height], np.float32)
    for row, image in enumerate(samples.images):
        found = landmarker(rgb(image), box, five)
        if found.scores is None or found.scores[0] >= least:
            points[row] = found.points[0]
        if (row + 1) % CHUNK == 0 or row + 1 == len(samples):
            progress(row + 1, len(samples))
    about = {**samples.about, "keypoints_by": landmarker.name}
    return replace(samples, keypoints=points, keypoint_scheme=landmarker.scheme, about=about)
