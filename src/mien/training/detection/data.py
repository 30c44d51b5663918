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

from mien.datasets import facepictures
from mien.faces.detectors.mien import grid
from mien.training.detection.recipe import DetectorRecipe
from mien.training.detection.scenes import Pyramid, Scene, compose, pyramid
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

    def __init__(self, pictures: Sequence[Pyramid], recipe: DetectorRecipe, steps: int, seed: tuple[int, ...]) -> None:
        holds = [bool(len(picture.labels.boxes) or len(picture.labels.ignore)) for picture in pictures]
        self.faces = [picture for picture, has in zip(pictures, holds, strict=True) if has]
        self.empty = [picture for picture, has in zip(pictures, holds, strict=True) if not has]
        self.recipe, self.steps, self.seed = recipe, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([*self.seed, index])
        sides = list(self.recipe.scenes.sizes)
        chances = np.array(list(self.recipe.scenes.sizes.values()))
        side = int(rng.choice(sides, p=chances / chances.sum()))
        middle = sorted(sides)[len(sides) // 2]
        count = max(2, round(self.recipe.batch_size * (middle / side) ** 2))
        return batch_of([compose(self.faces, self.empty, side, self.recipe.scenes, rng) for _ in range(count)])


class Scenes(lightning.LightningDataModule):
    """Training and validation scenes from labelled pictures."""

    def __init__(self, folders: Sequence[Path], recipe: DetectorRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self._pictures = {
            split: [
                pyramid(picture)
                for folder in folders
                for picture in facepictures.read(folder, split, doubt=recipe.doubt)
            ]
            for split in ("train", "valid")
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        """This epoch's batches; the trainer asks anew each epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader("train", self.recipe.steps, (self.recipe.seed, epoch))

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same scenes, of pictures held back, each time."""
        return self._loader("valid", self.recipe.validation_steps, (self.recipe.seed, 2**31))

    def _loader(self, split: str, steps: int, seed: tuple[int, ...]) -> DataLoader[Batch]:
        batches = _Batches(self._pictures[split], self.recipe, steps, seed)
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
