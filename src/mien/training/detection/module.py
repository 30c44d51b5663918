"""The training module of a face detector: the network, its losses and its validation metrics."""

from typing import Any

import torch
from torch import Tensor

from mien.errors import ConfigError
from mien.faces.detectors.mien import grid
from mien.models.detection.face_detector import FaceDetector
from mien.training.detection.data import Batch
from mien.training.detection.losses import box_iou, decoded, generalised_iou, landmark_loss, score_loss
from mien.training.detection.recipe import DetectorRecipe
from mien.training.tasks import Sums, TrainingModule

__all__ = ["DetectorModule"]


class DetectorModule(TrainingModule):
    """Trains scores, boxes and landmarks together."""

    network: FaceDetector

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe=recipe)
        self.recipe = DetectorRecipe.model_validate(recipe)
        try:
            self.network = FaceDetector(**self.recipe.model.options)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"the detector cannot be built: {reason}", hint="see the options of the network in [model.options]"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8 RGB -> (N, cells, 15)."""
        found: Tensor = self.network((images.float() / 255).contiguous(memory_format=torch.channels_last))
        return found

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """The three losses, and the mean IoU of the boxes of cells that have a face."""
        rows = self(batch.images).float()  # (B, cells, 15)
        high, wide = batch.images.shape[2:]
        centres, strides = (torch.from_numpy(part).to(rows.device) for part in grid(high, wide))
        mine = rows[batch.rows, batch.cells]  # (P, 15)
        boxes, landmarks = decoded(mine, centres[batch.cells], strides[batch.cells])
        overlap, _ = box_iou(boxes.detach(), batch.boxes)
        target = torch.zeros_like(rows[..., 0])
        # At least .5 for each face, however badly its box still fits: small, blurred faces must not lose their score.
        target[batch.rows, batch.cells] = 0.5 + 0.5 * overlap
        count = max(1, len(mine))
        return {
            "score/loss": score_loss(rows[..., 0], target)[batch.counted].sum() / count,
            "box/loss": (1 - generalised_iou(boxes, batch.boxes)).sum() / count,
            "landmarks/loss": landmark_loss(landmarks, batch.landmarks, batch.boxes),
            "overlap": overlap.sum() / count,
        }

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        """Their weighted sum."""
        weights = self.recipe.loss
        return losses["score/loss"] + weights.box * losses["box/loss"] + weights.landmarks * losses["landmarks/loss"]

    def training_step(self, batch: Batch) -> tuple[Tensor, Sums]:
        """The weighted sum of the losses on new scenes."""
        total = self._total(self._losses(batch))
        count = len(batch.images)
        return total, {"train/loss": (total * count, count)}

    def validation_step(self, batch: Batch) -> Sums:
        """The losses on scenes of validation images."""
        losses, count = self._losses(batch), len(batch.images)
        values = {"loss": self._total(losses), **losses}
        return {f"val/{name}": (value * count, count) for name, value in values.items()}
