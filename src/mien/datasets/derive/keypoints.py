"""Keypoints of the faces of a store: found by a landmark method, or read from a file that others have made.

Networks that read keypoints learn from them, and training places covers by them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from mien.datasets import Samples
from mien.datasets.canvas import rgb
from mien.datasets.landmark_faces import FER_SIDE, by_row
from mien.errors import DataError
from mien.faces.align import SURE
from mien.faces.detectors.whole_image import TYPICAL_LANDMARKS
from mien.faces.keypoints import COUNTS, POINTS_70
from mien.faces.landmarks import Landmarker
from mien.progress import Progress, unseen

CHUNK: Final = 256  # faces between two calls of `progress`


def add_keypoints(
    samples: Samples,
    landmarker: Landmarker,
    *,
    least: float = SURE,
    progress: Progress = unseen,
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


def read_keypoints(samples: Samples, path: Path) -> Samples:
    """The samples of FER2013 with the keypoints of a file; nan for faces that it lacks or doubts.

    Args:
        samples: Built without votes: rows are named by their number in fer2013.csv. Existing keypoints are replaced.
        path: The file: an .npz as `mien.datasets.landmark_faces` describes it, with the array `row`.

    Raises:
        InputError: There is no such file.
        DataError: The file has another form, the samples are not those of FER2013, or no face has keypoints.
    """
    known = by_row(path)
    if samples.images.shape[1:3] != (FER_SIDE, FER_SIDE):
        raise DataError(
            f"{path}: has the keypoints of faces of {FER_SIDE}x{FER_SIDE} pixels, and the faces of the store are "
            f"{samples.images.shape[2]}x{samples.images.shape[1]}",
            hint="find them by a landmark network: leave out --points",
        )
    points = np.full((len(samples), COUNTS[POINTS_70], 2), np.nan, np.float32)
    for place, name in enumerate(samples.names.tolist()):
        if not name.isdecimal():
            raise DataError(
                f"the rows of the store are not named by their number in fer2013.csv ('{name}')",
                hint="build it without --votes: mien data build fer2013 --csv fer2013.csv",
            )
        labels = known.get(int(name))
        if labels is not None and labels.ok:
            points[place] = labels.points
    if not np.isfinite(points).any():
        raise DataError(f"{path}: has keypoints for none of the faces of the store", hint="give FER2013's file")
    about = {**samples.about, "keypoints_by": path.name}
    return replace(samples, keypoints=points, keypoint_scheme=POINTS_70, about=about)
