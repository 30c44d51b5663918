"""mien's own landmarks: a small network on the aligned crop; 68 points, two iris centres, head pose and a face score.

Its network is `mien.models.landmarks`, its training `mien.training.landmarks`; docs/benchmarks.md has its errors. It
runs on the crop that the detector's five landmarks place. If its own points move these five by more than `MOVED`, as
from a box without landmarks, it runs again on the crop that its points place, at most `MOST` times in all.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.assets.session import Session
from mien.assets.signature import FaceScore
from mien.assets.store import open_model
from mien.errors import UnsupportedError
from mien.faces.crop import crop_face, similarity
from mien.faces.detectors.whole_image import TYPICAL_LANDMARKS
from mien.faces.keypoints import five_of
from mien.faces.landmarks import Found, LandmarkOptions

MOST: Final = 4
MOVED: Final = 0.2  # distance of the five landmarks in eye distances, on average
_LEAST: Final = 1e-3  # distance of the eyes, in pixels, from which points can place a crop
_BATCH: Final = 64  # crops of one run of the network, so that a crowd needs no more memory


class MienLandmarker:
    """Finds points, pose and score of faces, batched over the faces of an image.

    Args:
        info: The description of the network.
        session: The network.
        most: How often it runs on a face at most; every run after the first is on a crop placed by the points before.
    """

    name = "mien"

    def __init__(self, info: ModelInfo, session: Session, *, most: int = MOST) -> None:
        self.scheme, self._count = info.landmarks.scheme, info.landmarks.count
        self._points = info.landmarks.name
        self._wanted = [part.name for part in info.outputs if part != info.features]
        self._pose = info.pose.name if info.pose else None
        self._score = info.face_score
        self._spec, self._input = info.crop_spec, info.input
        self._session, self._most = session, most

    @property
    def files(self) -> Mapping[str, str]:
        """The file of the network, with its SHA-256."""
        return self._session.files

    def __call__(self, image: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Found:
        """See `Landmarker`."""
        if not len(landmarks):
            return Found(np.empty((0, self._count, 2), np.float32))
        parts = [self._settled(image, landmarks[at : at + _BATCH]) for at in range(0, len(landmarks), _BATCH)]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Found(found["points"], found.get("pose"), found.get("scores"))

    def _settled(self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The points, the pose and the score of some faces, by name."""
        five, found = landmarks, self._once(image, landmarks)
        for _ in range(1, self._most):
            before, five = five, five_of(found["points"])
            apart = np.linalg.norm(five[:, 0] - five[:, 1], axis=1)
            moved = np.linalg.norm(five - before, axis=2).mean(axis=1)
            chosen = np.flatnonzero((moved > MOVED * apart) & (apart > _LEAST))
            if not len(chosen):
                break
            for name, values in self._once(image, five[chosen]).items():
                found[name][chosen] = values
        return found

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a crop."""
        return self._input.depth, self._spec.size, self._spec.size

    def run(self, crops: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The outputs of the network for normalised crops (N, C, size, size), by name."""
        return self._session.run(crops, outputs=self._wanted)

    def face_scores(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The face scores (N,) of images (H, W, 3) uint8 RGB that should be cropped faces, from one run on each.

        Raises:
            UnsupportedError: The network gives no face scores.
        """
        if self._score is None:
            raise UnsupportedError("this landmark network gives no face scores", hint="use the one in the package")
        typical = [np.array(TYPICAL_LANDMARKS) * image.shape[1::-1] for image in images]
        crops = [self._crops(image, five[None].astype(np.float32)) for image, five in zip(images, typical, strict=True)]
        return self._scores(self.run(np.concatenate(crops))[self._score.name], self._score)

    @staticmethod
    def _scores(logits: NDArray[np.float32], score: FaceScore) -> NDArray[np.float32]:
        """Scores 0-1 (N,), 0.5 at the operating point."""
        chances = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
        return np.interp(chances, (0, score.operating_point, 1), (0, 0.5, 1)).astype(np.float32)

    def _once(self, image: NDArray[np.uint8], five: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What one run of the network finds in faces whose crops these landmarks (N, 5, 2) place."""
        matrices = [similarity(each, self._spec.points) for each in five]  # from the image to the crop
        given = self.run(self._crops(image, five))
        places = given[self._points] * self._spec.size
        found = {"points": np.stack([_back(matrix, each) for matrix, each in zip(matrices, places, strict=True)])}
        if self._pose is not None:
            turns = np.array([np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) for matrix in matrices], np.float32)
            found["pose"] = given[self._pose].copy()
            found["pose"][:, 2] = (found["pose"][:, 2] - turns + 180) % 360 - 180
        if self._score is not None:
            found["scores"] = self._scores(given[self._score.name], self._score)
        return found

    def _crops(self, image: NDArray[np.uint8], five: NDArray[np.float32]) -> NDArray[np.float32]:
        """The input of the network (N, 1 or 3, size, size) for faces with these landmarks (N, 5, 2)."""
        spec = self._input
        crops = np.stack([crop_face(image, each, self._spec) for each in five])
        values = (crops[..., None] if self._spec.grey else crops).astype(np.float32) / 255
        normal = (values - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), np.float32)


def _back(matrix: NDArray[np.float64], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points of the image, from their places in the crop."""
    return ((places - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).astype(np.float32)


def load(options: LandmarkOptions, *, most: int = MOST) -> MienLandmarker:
    """Loads the network in the package or that of an exported file.

    Args:
        options: Which file.
        most: See `MienLandmarker`.

    Raises:
        WeightsError: The weights are missing, damaged, or not of a landmark network that mien exported.
    """
    info, session = open_model(options.weights, task="landmarks")
    return MienLandmarker(info, session, most=most)
