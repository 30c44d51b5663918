"""dlib's 68 points (Kazemi and Sullivan, "One millisecond face alignment", CVPR 2014; King 2009).

Its weights were trained on 300-W, which excludes commercial use, and do not ship with mien. They are read from the
package face_recognition_models, if it is installed, or from a file.
"""

import functools
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MissingExtraError, WeightsError
from mien.faces.crop import similarity
from mien.faces.detectors.hog import MEAN_LANDMARKS
from mien.faces.keypoints import POINTS_68
from mien.faces.landmarks import Found, LandmarkOptions
from mien.files import sha256
from mien.results import Frame

try:
    import dlib
except ImportError:  # an extra
    dlib = None

PACKAGE: Final = "face_recognition_models"
FILE: Final = "shape_predictor_68_face_landmarks.dat"
_HINT: Final = (
    f"install {PACKAGE}, or name the file {FILE} with --landmark-weights; its training data, 300-W, excludes "
    "commercial use"
)


class DlibLandmarker:
    """Finds the 68 points of faces; no pose and no score.

    The predictor expects the boxes of dlib's own detector; they are made from the five landmarks of any detector.

    Args:
        path: The weights.

    Raises:
        MissingExtraError: dlib is not installed.
        WeightsError: dlib cannot read the weights.
    """

    name = "dlib"
    scheme = POINTS_68

    def __init__(self, path: Path) -> None:
        self._path = path
        if dlib is None:
            raise MissingExtraError("the keypoints of dlib", "dlib")
        if not path.is_file():
            raise WeightsError(f"{path}: no such weights file", hint=_HINT)
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise WeightsError(f"{path}: is not a shape predictor of dlib: {reason}", hint=_HINT) from error

    @functools.cached_property
    def files(self) -> Mapping[str, str]:
        """The file of the weights, with its SHA-256."""
        return {str(self._path): sha256(self._path)}

    def __call__(self, image: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Found:
        """See `Landmarker`."""
        pixels = np.ascontiguousarray(Frame(image).image)
        points = np.zeros((len(landmarks), 68, 2), np.float32)
        for row, five in zip(points, landmarks, strict=True):
            matrix = similarity(np.array(MEAN_LANDMARKS), five)
            middle, half = matrix[:, :2] @ (0.5, 0.5) + matrix[:, 2], np.hypot(*matrix[:, 0]) / 2
            x0, y0, x1, y1 = np.rint([*(middle - half), *(middle + half)]).astype(int).tolist()
            shape = self._predictor(pixels, dlib.rectangle(x0, y0, x1 - 1, y1 - 1))
            row[:] = [(point.x + 0.5, point.y + 0.5) for point in shape.parts()]  # dlib counts from pixels' centres
        return Found(points)


def load(options: LandmarkOptions) -> DlibLandmarker:
    """Loads the weights of the options, or those of the package.

    Raises:
        MissingExtraError: dlib is not installed.
        WeightsError: There are no weights, or dlib cannot read them.
    """
    if dlib is None:
        raise MissingExtraError("the keypoints of dlib", "dlib")
    path = options.weights or _installed()
    if path is None:
        raise WeightsError(f"the weights of dlib's keypoints are not installed ({FILE})", hint=_HINT)
    return DlibLandmarker(path)


def _installed() -> Path | None:
    """The file in the package, which cannot be imported with a recent setuptools, and need not be."""
    found = find_spec(PACKAGE)
    path = Path(found.origin).parent / "models" / FILE if found and found.origin else None
    return path if path and path.is_file() else None
