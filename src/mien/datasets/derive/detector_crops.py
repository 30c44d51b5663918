"""The training faces a second time, as a detector and the crop function cut them out.

A data set's own crop_spec is not what a model meets at work: a detector's landmarks set faces upright and to one size,
each a little off. A network that learns from both crop_specs reads both.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.datasets import Samples
from mien.datasets.canvas import BORDERS, find_and_crop
from mien.datasets.samples import SPLITS
from mien.errors import DataError
from mien.faces.detectors import Detector

__all__ = ["add_detector_crops"]

CHUNK: Final = 240  # faces between two reports, as many in each surrounding


def add_detector_crops(
    samples: Samples,
    detector: Detector,
    model: ModelInfo,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """The samples, and after them their training faces once more as the detector's crops.

    Each face is padded onto a larger image, in turn by plain grey, its mirror image and its outermost pixels, is
    found there and cut out, as when a model is judged behind a detector. The copies have all that is known of the
    originals: label, votes, soft targets, name.

    Args:
        samples: With a train split; other splits stay as they are, so that scores stay those of the data set.
        detector: What finds the faces; those it misses have no copy.
        model: The model whose crop_spec the crops shall have.
        progress: Called with the number of faces done and of all.

    Raises:
        ConfigError: The model names no landmarks by which faces could be framed.
        DataError: There are no training faces, the detector finds none of them, or they are not square.
    """
    samples.only("train")
    rows = np.flatnonzero(samples.split == SPLITS.index("train"))
    height, width = samples.images.shape[1:3]
    if height != width:
        raise DataError(f"the faces are {width}x{height}: expected square ones", hint="build the data again")
    crop_spec = model.crop_spec.resized(width)
    copies: list[NDArray[np.uint8]] = []
    kept: list[NDArray[np.int64]] = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        for turn, border in enumerate(BORDERS):
            mine = part[turn :: len(BORDERS)]
            crops, found = find_and_crop(samples.images[mine], detector, crop_spec, border)
            copies += [_like(samples.images, crop) for crop in crops[found]]
            kept.append(mine[found])
        progress(min(start + CHUNK, len(rows)), len(rows))
    again = np.concatenate(kept)
    if not len(again):
        raise DataError("the detector finds none of the training faces", hint="choose another --detector")
    order = np.argsort(again)
    joined = samples.subset(np.concatenate([np.arange(len(samples)), again[order]]))
    return replace(
        joined,
        images=np.concatenate([samples.images, np.stack(copies)[order]]),
        about={**samples.about, "detector_crops": len(again), "detector_crops_by": detector.name},
    )


def _like(faces: NDArray[np.uint8], crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGB crop, grey where the faces are."""
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8) if faces.ndim == 3 else crop
