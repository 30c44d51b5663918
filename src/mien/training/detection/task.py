"""What Lightning trains for a detector: the network, its losses, its validation figures."""

from typing import Any

import lightning
import torch
from torch import Tensor

from mien.faces.detectors.mien import grid
from mien.models.detector import FaceDetector
from mien.training.detection.data import Batch
from mien.training.detection.losses import box_iou, decoded, generalised_iou, landmark_loss, score_loss
from mien.training.detection.recipe import DetectorRecipe

__all__ = ["DetectorTask"]


class DetectorTask(lightning.LightningModule):
    """Learns scores, boxes and landmarks at once."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.recipe = DetectorRecipe.model_validate(recipe)
        self.network = FaceDetector(**self.recipe.options)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) uint8 RGB -> (N, cells, 15)."""
        return self.network((images.float() / 255).contiguous(memory_format=torch.channels_last))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The three losses, and how well boxes and landmarks fit where there is a face."""
        rows = self(batch.images).float()  # (B, cells, 15)
        centres, strides = (torch.from_numpy(part).to(rows.device) for part in grid(*batch.images.shape[2:]))
        mine = rows[batch.rows, batch.cells]  # (P, 15)
        boxes, landmarks = decoded(mine, centres[batch.cells], strides[batch.cells])
        overlap, _ = box_iou(boxes.detach(), batch.boxes)
        target = torch.zeros_like(rows[..., 0])
        target[batch.rows, batch.cells] = 0.5 + 0.5 * overlap
        count = max(1, len(mine))
        score = score_loss(rows[..., 0], target)[batch.counted].sum() / count
        box = (1 - generalised_iou(boxes, batch.boxes)).sum() / count
        return {
            "score": score,
            "box": box,
            "landmarks": landmark_loss(landmarks, batch.landmarks, batch.boxes),
            "overlap": overlap.sum() / count,
        }

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        return (
            losses["score"] + self.recipe.box_weight * losses["box"] + self.recipe.landmark_weight * losses["landmarks"]
        )

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self.recipe.seed * 100_003 + self.current_epoch)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        losses = self.losses(batch)
        total = self._total(losses)
        self.log("train/loss", total, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch.images))
        return total

    def validation_step(self, batch: Batch, index: int) -> None:
        losses = self.losses(batch)
        self.log("val/loss", self._total(losses), batch_size=len(batch.images), prog_bar=True)
        for name, value in losses.items():
            self.log(f"val/{name}", value, batch_size=len(batch.images), prog_bar=True)
