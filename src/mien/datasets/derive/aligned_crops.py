"""A second copy of faces, aligned by the project's own landmarks, for training on both kinds of crops.

The crops of a data set frame faces in its own way. `mien analyze --faces-are-crops` aligns crops where the landmark
network is sure of the face, so a network that is read in this way has to learn both kinds: the aligned crops, and the
data set's own, for faces that are not sure.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.datasets import Samples
from mien.datasets.canvas import like, rgb
from mien.datasets.derive import square_training_rows, with_crops
from mien.errors import DataError
from mien.faces.align import CropAligner
from mien.faces.landmarks import Landmarker
from mien.progress import Progress, unseen

CHUNK: Final = 256  # faces between two calls of `progress`


def add_aligned_crops(
    samples: Samples,
    model: ModelInfo,
    landmarker: Landmarker | None = None,
    *,
    least: float | None = None,
    progress: Progress = unseen,
) -> Samples:
    """Appends the training faces that are sure, aligned; see `with_crops`.

    Args:
        samples: With a train split; other splits stay unchanged, so that scores stay comparable: `evaluate_model` can
            align them.
        model: The model whose crop spec is used.
        landmarker: Finds the points; None: the method in the package.
        least: Lowest face score of a face that is aligned, 0-1; None: that of `CropAligner`.
        progress: Called with the number of faces done and the number of all.

    Raises:
        ConfigError: The model has no crop spec.
        DataError: There are no training faces, they are not square, or none of them is sure.
    """
    rows, width = square_training_rows(samples)
    aligner = CropAligner([model.crop_spec.resized(width)], landmarker, **({} if least is None else {"least": least}))
    copies: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    for start in range(0, len(rows), CHUNK):
        for row in rows[start : start + CHUNK].tolist():
            if (crops := aligner(rgb(samples.images[row]))) is not None:
                copies.append(like(crops[0], samples.images))
                kept.append(row)
        progress(min(start + CHUNK, len(rows)), len(rows))
    if not kept:
        raise DataError("the landmark network is sure of none of the training faces", hint="lower --least")
    about = {
        "aligned_crops": len(kept),
        "aligned_crops_by": aligner.landmarker.name,
        "aligned_crops_score": aligner.least,
    }
    return with_crops(samples, np.array(kept), copies, about)
