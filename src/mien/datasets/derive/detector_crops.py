"""A second copy of the training faces, cropped as a detector finds them.

The crops of a data set differ from those that a model gets behind a detector: behind a detector, landmarks bring faces
upright and to one size, each with a small error. A network that is trained on both kinds of crops classifies both.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.datasets import Samples
from mien.datasets.canvas import BORDERS, find_and_crop, like
from mien.datasets.derive import square_training_rows, with_crops
from mien.errors import DataError
from mien.faces.align import Aligner
from mien.faces.detectors import Detector
from mien.progress import Progress, unseen

CHUNK: Final = 240  # faces between two calls of `progress`, divided among the kinds of borders


def add_detector_crops(
    samples: Samples,
    detector: Detector,
    model: ModelInfo,
    *,
    progress: Progress = unseen,
) -> Samples:
    """Appends the crops that a detector gives of the training faces.

    Each face is placed on a canvas, with a border of grey, of its mirror image or of its repeated outermost pixels in
    turn, is found there and cropped, as in the evaluation behind a detector; see `with_crops`.

    Args:
        samples: With a train split; other splits stay unchanged, so that scores stay comparable.
        detector: The face detector; faces that it does not find have no copy.
        model: The model whose crop spec is used.
        progress: Called with the number of faces done and the number of all.

    Raises:
        ConfigError: The model has no crop spec, or the detector does not search for faces.
        DataError: There are no training faces, they are not square, or the detector finds none of them.
    """
    rows, width = square_training_rows(samples)
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
    about = {"detector_crops": len(copied), "detector_crops_by": detector.name}
    return with_crops(samples, copied[order], [copies[number] for number in order.tolist()], about)
