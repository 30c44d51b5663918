"""Batches of scenes, composed by the loader's processes; they depend on the seed, the epoch and the step alone.

By default, a face is assigned to cells by its size and place alone: to the strides whose range holds its side (the root
of its box's area), and there to the cells near its middle ("centre sampling", Tian et al., "FCOS", ICCV 2019, in the
later version's section 3.2). If several faces claim a cell, the smallest gets it. Cells near the middle of a face that
is a little too large or too small for their stride are left out of the loss, as are cells in boxes to ignore, and cells
in a ring around those of the face if the recipe has one: which of two neighbouring cells is nearer to the middle of a
small face cannot be told for sure. With dynamic assignment, batches hold candidates, from which the module chooses.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.assets.signature import STRIDES
from mien.datasets import face_images
from mien.datasets.face_images import FaceImage
from mien.errors import DataError
from mien.faces.detectors.mien import grid
from mien.training.detection.recipe import AssignmentRecipe, DetectorRecipe
from mien.training.detection.scenes import Pool, Scene, compose, pool, pyramid

FREE: Final = -1
IGNORED: Final = -2
# Sides of the faces, in pixels, that are assigned to each stride; neighbouring ranges overlap.
RANGES: Final = {8: (0.0, 52.0), 16: (38.0, 128.0), 32: (94.0, np.inf)}
SLACK: Final = 1.35  # how far beyond the range of a stride its cells are ignored
RADIUS: Final = 1.5  # around the middle of a face, in cells
SHARE: Final = 0.3  # at most this share of the face's side, but always the nearest cell
WIDE: Final = 2.5  # around the middle of a face, in cells, for candidates of dynamic assignment
NO_BOXES: Final = np.empty((0, 4), np.float32)


class Batch(NamedTuple):
    """Scenes of one size with the targets of their cells.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        counted: (B, cells) bool: the cell's score is part of the loss.
        rows: (P,) int64: the scene of each of the P pairs of a cell and its face. With dynamic assignment, these are
            the candidates, and a cell may be a candidate of several faces.
        cells: (P,) int64: the number of the cell.
        faces: (P,) int64: the number of the face in the batch.
        boxes: (P, 4) float32 the face's box, xyxy pixels.
        landmarks: (P, 5, 2) float32 its landmarks; NaN if unknown.
        scores: (P,) float32 a teacher's score of it, 0-1; NaN if unknown.
        natural: (B,) bool: the scene is a photograph in its own light.
    """

    images: Tensor
    counted: Tensor
    rows: Tensor
    cells: Tensor
    faces: Tensor
    boxes: Tensor
    landmarks: Tensor
    scores: Tensor
    natural: Tensor


def batch_of(scenes: Sequence[Scene], recipe: AssignmentRecipe | None = None) -> Batch:
    """Stacks scenes of one size and assigns faces to their cells."""
    recipe = recipe or AssignmentRecipe()
    height, width = scenes[0].image.shape[:2]
    centres, strides = grid(height, width)
    if recipe.name == "dynamic":
        counted = np.stack([assign(NO_BOXES, scene.ignore, centres, strides) != IGNORED for scene in scenes])
        pairs = [candidates(scene.boxes, centres, strides) for scene in scenes]
        rows = np.repeat(np.arange(len(scenes)), [len(cells) for _, cells in pairs])
        index, cells = (np.concatenate(part) for part in zip(*pairs, strict=True))
    else:
        faces = np.stack([assign(scene.boxes, scene.ignore, centres, strides, recipe) for scene in scenes])
        counted = faces != IGNORED  # (B, cells)
        rows, cells = np.nonzero(faces > FREE)
        index = faces[rows, cells]
    number = np.cumsum([0, *(len(scene.boxes) for scene in scenes)])[rows] + index
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)  # (B, 3, S, S)
    return Batch(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        counted=torch.from_numpy(counted),
        rows=torch.from_numpy(rows),
        cells=torch.from_numpy(cells),
        faces=torch.from_numpy(number),
        boxes=torch.from_numpy(np.concatenate([scene.boxes for scene in scenes])[number]),
        landmarks=torch.from_numpy(np.concatenate([scene.landmarks for scene in scenes])[number]),
        scores=torch.from_numpy(np.concatenate([scene.scores for scene in scenes])[number]),
        natural=torch.tensor([scene.natural for scene in scenes]),
    )


class _Batches(Dataset[Batch]):
    """The batches of an epoch; the side of the scenes varies, the number of pixels hardly."""

    def __init__(self, images: Pool, recipe: DetectorRecipe, steps: int, seed: tuple[int, ...], world: int) -> None:
        self.images, self.recipe, self.steps, self.seed, self.world = images, recipe, steps, seed, world

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([*self.seed, index])
        sides = list(self.recipe.scenes.sizes)
        chances = np.array(list(self.recipe.scenes.sizes.values()))
        side = int(rng.choice(sides, p=chances / chances.sum()))
        middle = sorted(sides)[len(sides) // 2]
        count = max(2, round(self.recipe.batch_size / self.world * (middle / side) ** 2))
        scenes = [compose(self.images, side, self.recipe.scenes, rng) for _ in range(count)]
        return batch_of(scenes, self.recipe.assignment)


class DetectionData:
    """The scenes of the training and the validation split of labelled images."""

    def __init__(self, folder: Path, recipe: DetectorRecipe) -> None:
        self.recipe = recipe
        self._pools = {}
        for split in ("train", "valid"):
            images = [pyramid(image) for image in face_images.read(folder, split, doubt=recipe.doubt)]
            try:
                self._pools[split] = pool(images, recipe.scenes)
            except ValueError:
                raise DataError(
                    f"{folder}: no image of the split '{split}' has a face", hint="check labels.jsonl"
                ) from None

    def scenes(self, split: str, count: int, seed: int) -> list[Scene]:
        """Scenes of one split, which the seed decides, of the recipe's sizes in turn."""
        settings, rng = self.recipe.scenes, np.random.default_rng(seed)
        sides = sorted(settings.sizes)
        return [compose(self._pools[split], sides[number % len(sides)], settings, rng) for number in range(count)]

    def photographs(self, split: str) -> list[FaceImage]:
        """The labelled images of one split, unchanged."""
        images = self._pools[split]
        return [image.labels for image in (*images.faces, *images.empty)]

    def train_batches(
        self, epoch: int, part: tuple[int, int] = (0, 1), device: torch.device | None = None
    ) -> DataLoader[Batch]:
        """The batches of an epoch; each process composes its own scenes."""
        rank, world = part
        return self._loader("train", self.recipe.steps, (self.recipe.seed, epoch, *([rank] if rank else ())), world)

    def val_batches(self, device: torch.device | None = None) -> DataLoader[Batch]:
        """Always the same scenes, of validation images."""
        return self._loader("valid", self.recipe.validation_steps, (self.recipe.seed, 2**31))

    def _loader(self, split: str, steps: int, seed: tuple[int, ...], world: int = 1) -> DataLoader[Batch]:
        batches = _Batches(self._pools[split], self.recipe, steps, seed, world)
        return DataLoader(
            batches,
            batch_size=None,
            num_workers=self.recipe.workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if self.recipe.workers else None,
        )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def assign(
    boxes: NDArray[np.float32],
    ignore: NDArray[np.float32],
    centres: NDArray[np.float32],
    strides: NDArray[np.float32],
    recipe: AssignmentRecipe | None = None,
) -> NDArray[np.int64]:
    """For each cell the index of its face, by size and place; or `FREE` or `IGNORED`.

    Args:
        boxes: (N, 4) xyxy of faces.
        ignore: (M, 4) boxes that may hold a face.
        centres: (cells, 2) from `grid`.
        strides: (cells,) from `grid`.
        recipe: How far around the middle of a face its cells lie.

    Returns:
        (cells,) int64.
    """
    recipe = recipe or AssignmentRecipe()
    face = np.full(len(centres), FREE)
    for box in ignore:
        face[((centres >= box[:2]) & (centres <= box[2:])).all(axis=1)] = IGNORED
    if not len(boxes):
        return face
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    low = np.array([RANGES[stride][0] for stride in STRIDES])
    high = np.array([RANGES[stride][1] for stride in STRIDES])
    level = np.searchsorted(STRIDES, strides)  # (cells,)
    for index in np.argsort(-sides, kind="stable"):  # the smallest last: it gets the cells it claims
        side = sides[index]
        away = np.abs(centres - middles[index]).max(axis=1)
        reach = np.maximum(recipe.reach * strides, np.minimum(RADIUS * strides, SHARE * side))
        mine = (away <= reach) & (low[level] <= side) & (side < high[level])
        around = (away <= reach + recipe.ring * strides) & ~mine
        spared = around & (low[level] / SLACK <= side) & (side < high[level] * SLACK)
        face[spared & (face == FREE)] = IGNORED
        face[mine] = index
    return face


def candidates(
    boxes: NDArray[np.float32], centres: NDArray[np.float32], strides: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of a face and a cell among which dynamic assignment chooses: cells around the middle of the face.

    Args:
        boxes: (N, 4) xyxy of faces.
        centres: (cells, 2) from `grid`.
        strides: (cells,) from `grid`.

    Returns:
        (P,) indices of the faces and (P,) of the cells.
    """
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    low = np.array([RANGES[stride][0] / SLACK for stride in STRIDES])
    high = np.array([RANGES[stride][1] * SLACK for stride in STRIDES])
    level = np.searchsorted(STRIDES, strides)
    away = np.abs(centres[None] - middles[:, None]).max(axis=2)  # (N, cells)
    near = away <= np.minimum(WIDE * strides[None], np.maximum(0.5 * sides[:, None], 0.5 * strides[None]))
    fits = (low[level][None] <= sides[:, None]) & (sides[:, None] < high[level][None])
    face, cell = np.nonzero(near & fits)
    return face, cell
