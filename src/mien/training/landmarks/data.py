"""From stored crops to batches in memory, in an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.datasets.landmark_faces import DENSE, FIVE, NO_FACE, LandmarkFaces
from mien.errors import DataError
from mien.training.landmarks.recipe import LandmarkRecipe, ShareRecipe

_HELD: Final = 256  # crops of a batch of the validation split
FER2013: Final = "fer2013"


class Batch(NamedTuple):
    """Stored crops with their labels, see `LandmarkFaces`; lengths are fractions of the side of the stored crop.

    Attributes:
        crops: (B, 1, S, S) uint8.
        points: (B, 70, 2) float32.
        inside: (B, 70) float32, 1 for points in the image.
        five: (B, 5, 2) float32.
        pose: (B, 3) float32, degrees.
        eye_distance: (B,) float32.
        kind: (B,) uint8.
        fer2013: (B,) bool.
    """

    crops: Tensor
    points: Tensor
    inside: Tensor
    five: Tensor
    pose: Tensor
    eye_distance: Tensor
    kind: Tensor
    fer2013: Tensor


class LandmarkData:
    """The batches of the training and the validation split.

    Raises:
        DataError: A split has no face with dense landmarks.
    """

    def __init__(self, faces: LandmarkFaces, recipe: LandmarkRecipe) -> None:
        self.recipe, self.places, self.room = recipe, faces.places, faces.room
        self._splits = {split: faces.only(split) for split in ("train", "val")}
        for split, part in self._splits.items():
            if not (part.kind == DENSE).any():
                raise DataError(f"the split '{split}' has no face with dense landmarks", hint="make the data again")
        self._chances = _chances(self._splits["train"], recipe.shares)

    def mean_shape(self) -> NDArray[np.float64]:
        """(70, 2) mean place of the points in a network's crop, as fractions of its side; of the training split."""
        train = self._splits["train"]
        points = train.points[train.kind == DENSE].mean(axis=0, dtype=float) / train.crops.shape[1]
        return np.asarray((points - 0.5) * self.room + 0.5)

    def train_batches(
        self, epoch: int, part: tuple[int, int] = (0, 1), device: torch.device | None = None
    ) -> "LandmarkBatches":
        """The batches of an epoch: `steps` of them, drawn by the shares of the recipe."""
        rng = np.random.default_rng((self.recipe.seed, epoch))
        size = self.recipe.batch_size
        drawn = rng.choice(len(self._chances), (self.recipe.steps, size), p=self._chances)
        return LandmarkBatches(self._splits["train"], tuple(drawn[:, part[0] :: part[1]]))

    def val_batches(self, device: torch.device | None = None) -> "LandmarkBatches":
        """The validation split in its order."""
        part = self._splits["val"]
        return LandmarkBatches(part, tuple(np.array_split(np.arange(len(part)), -(-len(part) // _HELD))))


def _chances(faces: LandmarkFaces, shares: ShareRecipe) -> NDArray[np.float64]:
    """(N,) the probabilities with which the rows are drawn."""
    fer = faces.source == (faces.sources.index(FER2013) if FER2013 in faces.sources else -1)
    groups = {
        "images": (faces.kind == DENSE) & ~fer,
        "fer2013": (faces.kind == DENSE) & fer,
        "five": faces.kind == FIVE,
        "no_face": faces.kind == NO_FACE,
    }
    chances = np.zeros(len(faces))
    for name, chosen in groups.items():
        chances[chosen] = getattr(shares, name) / max(1, chosen.sum())
    if not chances[faces.kind == DENSE].any():
        raise DataError("no face with dense landmarks has a share above 0", hint="change [shares] of the recipe")
    return np.asarray(chances / chances.sum())


@dataclass(frozen=True, eq=False)
class LandmarkBatches:
    """Batches of the given rows of a split."""

    faces: LandmarkFaces
    rows: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Batch]:
        faces = self.faces
        side = faces.crops.shape[1]
        fer = faces.sources.index(FER2013) if FER2013 in faces.sources else -1
        for rows in self.rows:
            yield Batch(
                crops=torch.from_numpy(faces.crops[rows])[:, None],
                points=torch.from_numpy(faces.points[rows]) / side,
                inside=torch.from_numpy(faces.inside[rows]).float(),
                five=torch.from_numpy(faces.five[rows]) / side,
                pose=torch.from_numpy(faces.pose[rows]),
                eye_distance=torch.from_numpy(faces.eye_distance[rows]) / side,
                kind=torch.from_numpy(faces.kind[rows]),
                fer2013=torch.from_numpy(faces.source[rows] == fer),
            )
