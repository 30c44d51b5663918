"""mien's own landmarks: a small network on the aligned crop; 68 points, two iris centres, head pose and a face score.

Its network is `mien.models.landmarks`, its training `mien.training.landmarks`; docs/benchmarks.md has its errors. It
runs twice: on the crop that the detector's five landmarks place, and on the one that its own points place.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.assets.session import Session
from mien.assets.store import open_model
from mien.faces.crop import crop_face, similarity
from mien.faces.keypoints import five_of
from mien.faces.landmarks import Found, LandmarkOptions

PASSES: Final = 2
_GREY: Final = np.array([[0.299], [0.587], [0.114]], np.float32)  # ITU-R BT.601, as in the crops of the training
_BATCH: Final = 64  # crops of one run of the network, so that a crowd needs no more memory


class MienLandmarker:
    """Finds points, pose and score of faces, batched over the faces of an image.

    Args:
        info: The description of the network.
        session: The network.
        passes: How often it runs on each face; every run after the first is on a crop placed by the points before.
    """

    name = "mien"

    def __init__(self, info: ModelInfo, session: Session, *, passes: int = PASSES) -> None:
        self.scheme, self._count = info.landmarks.scheme, info.landmarks.count
        self._points = info.landmarks.name
        self._wanted = [part.name for part in info.outputs if part != info.features]
        self._pose = info.pose.name if info.pose else None
        self._score = info.face_score
        self._spec, self._input = info.crop_spec, info.input
        self._session, self._passes = session, passes

    def __call__(self, image: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Found:
        """See `Landmarker`."""
        if not len(landmarks):
            return Found(np.empty((0, self._count, 2), np.float32))
        parts = [self._part(image, landmarks[start : start + _BATCH]) for start in range(0, len(landmarks), _BATCH)]
        return Found(
            np.concatenate([part.points for part in parts]),
            None if parts[0].pose is None else np.concatenate([part.pose for part in parts if part.pose is not None]),
            None
            if parts[0].scores is None
            else np.concatenate([part.scores for part in parts if part.scores is not None]),
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a crop."""
        return self._input.depth, self._spec.size, self._spec.size

    def run(self, crops: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The outputs of the network for normalised crops (N, C, size, size), by name."""
        return self._session.run(crops, outputs=self._wanted)

    def _part(self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> Found:
        """Some faces of an image."""
        five = landmarks
        for _ in range(self._passes):
            matrices = [similarity(each, self._spec.points) for each in five]  # from the image to the crop
            found = self.run(self._crops(image, five))
            places = found[self._points] * self._spec.size
            points = np.stack([_back(matrix, each) for matrix, each in zip(matrices, places, strict=True)])
            five = five_of(points)
        pose = None
        if self._pose is not None:
            turns = [np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) for matrix in matrices]
            pose = found[self._pose] - np.array([(0.0, 0.0, turn) for turn in turns], np.float32)
            pose[:, 2] = (pose[:, 2] + 180) % 360 - 180
        scores = None
        if self._score is not None:
            chances = 1 / (1 + np.exp(-found[self._score.name][:, 0].astype(np.float64)))
            scores = np.interp(chances, (0, self._score.operating_point, 1), (0, 0.5, 1)).astype(np.float32)
        return Found(points, pose, scores)

    def _crops(self, image: NDArray[np.uint8], five: NDArray[np.float32]) -> NDArray[np.float32]:
        """The input of the network (N, 1 or 3, size, size) for faces with these landmarks (N, 5, 2)."""
        spec = self._input
        crops = np.stack([crop_face(image, each, self._spec) for each in five]).astype(np.float32) / 255
        values = crops @ _GREY if spec.channels == "grey" else crops
        normal = (values - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), np.float32)


def _back(matrix: NDArray[np.float64], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points of the image, from their places in the crop."""
    return ((places - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).astype(np.float32)


def load(options: LandmarkOptions, *, passes: int = PASSES) -> MienLandmarker:
    """Loads the network in the package or that of an exported file.

    Args:
        options: Which file.
        passes: See `MienLandmarker`.

    Raises:
        WeightsError: The weights are missing, damaged, or not of a landmark network that mien exported.
    """
    info, session = open_model(options.weights, task="landmarks")
    return MienLandmarker(info, session, passes=passes)
