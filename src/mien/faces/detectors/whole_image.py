"""No detection: each image is the crop of one face. The command line's `--faces-are-crops` chooses this detector."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.faces.detectors import Detections, DetectorOptions
from mien.results import Frame

# Where the five landmarks lie in the faces of FER2013, as fractions of the side; medians of its training faces.
TYPICAL_LANDMARKS: Final = ((0.325, 0.400), (0.690, 0.393), (0.514, 0.594), (0.356, 0.767), (0.665, 0.761))


class WholeImageDetector:
    """Gives one face in every image: its box is the whole image, its score 1, and it has no landmarks.

    `mean_landmarks` is None, which says that a box of this detector is the crop: nothing is aligned.

    Raises:
        ConfigError: An option is set that only has a meaning for a detector that searches.
    """

    name = "whole-image"
    mean_landmarks = None

    def __init__(self, options: DetectorOptions) -> None:
        if given := [name for name in ("max_side", "min_face", "any_rotation") if getattr(options, name)]:
            raise ConfigError(
                f"{given[0]}: has no effect with the detector 'whole-image', which does not search for faces",
                hint="leave it out, or choose another detector",
            )

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        height, width = Frame(image).image.shape[:2]  # refuses other shapes and types
        return Detections(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


load = WholeImageDetector
