"""Batches of scenes, made by the loader's processes, in an order that depends on seed, epoch and step alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.datasets import face_images
from mien.errors import DataError
from mien.faces.detectors.mien import grid
from mien.training.detection.recipe import DetectorRecipe
from mien.training.detection.scenes import Pool, Scene, compose, pool, pyramid
from mien.training.detection.targets import FREE, IGNORED, assign

__all__ = ["Batch", "Scenes", "batch_of"]


class Batch(NamedTuple):
    """Scenes of one size with what their cells shall say.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        counted: (B, cells) bool: the cell's score is learnt from.
        rows: (P,) int64 of the P cells that answer for a face: the scene.
        cells: (P,) int64 likewise: the cell.
        boxes: (P, 4) float32 their faces' boxes, xyxy pixels.
        landmarks: (P, 5, 2) float32 their landmarks; nan where unknown.
    """

    images: Tensor
    counted: Tensor
    rows: Tensor
    cells: Tensor
    boxes: Tensor
    landmarks: Tensor


def batch_of(scenes: Sequence[Scene]) -> Batch:
    """Stacks scenes of one size, each cell with its face."""
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
    """Batch number `index` of an epoch; sides vary, the number of pixels does not."""

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


class Scenes(lightning.LightningDataModule):
    """Training and validation scenes from labelled images."""

    def __init__(self, folder: Path, recipe: DetectorRecipe) -> None:
        super().__init__()
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
        """Scenes of one split, always the same for one seed, of the recipe's sizes by turns."""
        settings, rng = self.recipe.scenes, np.random.default_rng(seed)
        sides = sorted(settings.sizes)
        return [compose(self._pools[split], sides[number % len(sides)], settings, rng) for number in range(count)]

    def train_dataloader(self) -> DataLoader[Batch]:
        """This epoch's batches; the trainer asks anew each epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return self._loader("train", self.recipe.steps, (self.recipe.seed, epoch, *([rank] if rank else ())), world)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same scenes, of images held back, each time."""
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
