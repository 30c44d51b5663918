"""Batches of scenes, composed by the loader's processes; they depend on the seed, the epoch and the step alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.datasets import face_images
from mien.errors import DataError
from mien.faces.detectors.mien import grid
from mien.training.detection.module import FREE, IGNORED, assign
from mien.training.detection.recipe import DetectorRecipe
from mien.training.detection.scenes import Pool, Scene, compose, pool, pyramid


class Batch(NamedTuple):
    """Scenes of one size with the targets of their cells.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        counted: (B, cells) bool: the cell's score is part of the loss.
        rows: (P,) int64: the scene of each of the P cells that have a face.
        cells: (P,) int64: the number of each of these cells.
        boxes: (P, 4) float32 their faces' boxes, xyxy pixels.
        landmarks: (P, 5, 2) float32 their landmarks; NaN if unknown.
    """

    images: Tensor
    counted: Tensor
    rows: Tensor
    cells: Tensor
    boxes: Tensor
    landmarks: Tensor


def batch_of(scenes: Sequence[Scene]) -> Batch:
    """Stacks scenes of one size and assigns faces to their cells."""
    height, width = scenes[0].image.shape[:2]
    centres, strides = grid(height, width)
    faces = np.stack([assign(scene.boxes, scene.ignore, centres, strides) for scene in scenes])  # (B, cells)
    rows, cells = np.nonzero(faces > FREE)
    index = faces[rows, cells]
    first = np.cumsum([0, *(len(scene.boxes) for scene in scenes)])[rows]
    boxes = np.concatenate([scene.boxes for scene in scenes])[first + index]
    landmarks = np.concatenate([scene.landmarks for scene in scenes])[first + index]
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)  # (B, 3, S, S)
    return Batch(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        counted=torch.from_numpy(faces != IGNORED),
        rows=torch.from_numpy(rows),
        cells=torch.from_numpy(cells),
        boxes=torch.from_numpy(boxes),
        landmarks=torch.from_numpy(landmarks),
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
        return batch_of([compose(self.images, side, self.recipe.scenes, rng) for _ in range(count)])


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
