"""What Lightning trains for a detector: the network, its losses, its validation figures."""

from typing import Any

import lightning
import torch
from torch import Tensor

from mien.errors import ConfigError
from mien.faces.detectors.mien import grid
from mien.models.detection.face_detector import FaceDetector
from mien.training.detection.data import Batch
from mien.training.detection.losses import box_iou, decoded, generalised_iou, landmark_loss, score_loss
from mien.training.detection.recipe import DetectorRecipe
from mien.training.optim import configured

__all__ = ["DetectorModule"]


class DetectorModule(lightning.LightningModule):
    """Learns scores, boxes and landmarks at once.

    Checkpoints hold plain types only, so that they load with `weights_only`.
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.recipe = DetectorRecipe.model_validate(recipe)
        try:
            self.network = FaceDetector(**self.recipe.model.options)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"the detector cannot be built: {reason}", hint="see the options of the network"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8 RGB -> (N, cells, 15)."""
        found: Tensor = self.network((images.float() / 255).contiguous(memory_format=torch.channels_last))
        return found

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The three losses, and how well the boxes fit (mean IoU) where there is a face."""
        rows = self(batch.images).float()  # (B, cells, 15)
        high, wide = batch.images.shape[2:]
        centres, strides = (torch.from_numpy(part).to(rows.device) for part in grid(high, wide))
        mine = rows[batch.rows, batch.cells]  # (P, 15)
        boxes, landmarks = decoded(mine, centres[batch.cells], strides[batch.cells])
        overlap, _ = box_iou(boxes.detach(), batch.boxes)
        target = torch.zeros_like(rows[..., 0])
        # A face is a face however badly its box fits as yet: small, blurred ones must not lose their score for it.
        target[batch.rows, batch.cells] = 0.5 + 0.5 * overlap
        count = max(1, len(mine))
        return {
            "score/loss": score_loss(rows[..., 0], target)[batch.counted].sum() / count,
            "box/loss": (1 - generalised_iou(boxes, batch.boxes)).sum() / count,
            "landmarks/loss": landmark_loss(landmarks, batch.landmarks, batch.boxes),
            "overlap": overlap.sum() / count,
        }

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Their weighted sum."""
        weights = self.recipe.loss
        return losses["score/loss"] + weights.box * losses["box/loss"] + weights.landmarks * losses["landmarks/loss"]

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, so that a resumed run goes on exactly as the one that was cut off; each process its own."""
        torch.manual_seed(self.recipe.seed * 100_003 + self.current_epoch + self.global_rank * 1_000_003)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The losses on fresh scenes."""
        total = self.total(self.losses(batch))
        self.log("train/loss", total, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch.images))
        return total

    def validation_step(self, batch: Batch, index: int) -> None:
        """The losses on scenes of images held back."""
        losses = self.losses(batch)
        self.log("val/loss", self.total(losses), batch_size=len(batch.images), prog_bar=True)
        for name, value in losses.items():
            self.log(f"val/{name}", value, batch_size=len(batch.images))

    def configure_optimizers(self) -> Any:
        """The optimiser and its rate."""
        return configured(self, self.recipe)
