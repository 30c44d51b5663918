"""A second copy of the training faces, cropped as a detector finds them.

The crops of a data set differ from those that a model gets behind a detector: a detector's landmarks bring faces
upright and to one size, each with a small error. A network that is trained on both kinds of crops classifies both.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.datasets import Samples
from mien.datasets.canvas import BORDERS, find_and_crop, like
from mien.datasets.samples import SPLITS
from mien.errors import DataError
from mien.faces.align import Aligner
from mien.faces.detectors import Detector

CHUNK: Final = 240  # faces between two calls of `progress`, divided among the kinds of borders


def add_detector_crops(
    samples: Samples,
    detector: Detector,
    model: ModelInfo,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Appends the crops that a detector gives of the training faces.

    Each face is placed on a canvas, with a border of grey, of its mirror image or of its repeated outermost pixels in
    turn, is found there and cropped, as in the evaluation behind a detector. A copy keeps everything known about its
    original: label, votes, soft targets, subject, name. Keypoints are dropped: they do not fit the crops.

    Args:
        samples: With a train split; other splits stay unchanged, so that scores stay comparable.
        detector: The face detector; faces that it does not find have no copy.
        model: The model whose crop spec is used.
        progress: Called with the number of faces done and the number of all.

    Raises:
        ConfigError: The model has no crop spec, or the detector does not search for faces.
        DataError: There are no training faces, they are not square, or the detector finds none of them.
    """
    samples.only("train")
    rows = np.flatnonzero(samples.split == SPLITS.index("train"))
    height, width = samples.images.shape[1:3]
    if height != width:
        raise DataError(f"expected square faces, got {width}x{height} pixels", hint="build the data again")
    aligner = Aligner(detector, [model.crop_spec.resized(width)])
    copies: list[NDArray[np.uint8]] = []
    kept: list[NDArray[np.int64]] = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        for turn, border in enumerate(BORDERS):
            mine = part[turn :: len(BORDERS)]
            (crops,), found = find_and_crop(samples.images[mine], aligner, border)
            copies += [like(crop, samples.images) for crop in crops[found]]
            kept.append(mine[found])
        progress(min(start + CHUNK, len(rows)), len(rows))
    copied = np.concatenate(kept)
    if not len(copied):
        raise DataError("the detector finds none of the training faces", hint="choose another --detector")
    order = np.argsort(copied)
    joined = samples.subset(np.concatenate([np.arange(len(samples)), copied[order]]))
    return replace(
        joined,
        keypoints=None,
        keypoint_scheme="",
        images=np.concatenate([samples.images, np.stack(copies)[order]]),
        about={**samples.about, "detector_crops": len(copied), "detector_crops_by": detector.name},
    )
