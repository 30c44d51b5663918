"""The training module of a face detector: losses of scores, boxes and landmarks, and the validation metrics."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.faces.detectors.mien import grid
from mien.models.detection.face_detector import FaceDetector
from mien.training.detection.data import Batch
from mien.training.detection.recipe import DetectorRecipe
from mien.training.tasks import Sums, TrainingModule

# Where an error of the landmarks turns from squared to linear, in sides of the face.
_BEND: Final = 0.02
_FOCUS: Final = 2.0


def decoded(rows: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Decodes the outputs of cells into pixels.

    Args:
        rows: (P, 15) outputs of the network.
        centres: (P, 2) middles of the cells, x, y.
        strides: (P,).

    Returns:
        Boxes (P, 4) xyxy and landmarks (P, 5, 2).
    """
    stride = strides[:, None]
    middle = centres + rows[:, 1:3] * stride
    half = torch.exp(rows[:, 3:5].clamp(-6, 6)) * stride / 2
    landmarks = centres[:, None] + rows[:, 5:].reshape(-1, 5, 2) * stride[:, None]
    return torch.cat([middle - half, middle + half], dim=1), landmarks


def box_iou(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and the union (both (P,)), of boxes (P, 4) with their partners (P, 4)."""
    common = (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])).clamp(min=0).prod(1)
    union = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - common
    return common / union.clamp(min=1e-6), union


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """GIoU (P,), -1..1 (Rezatofighi et al., CVPR 2019): boxes that do not overlap have a gradient, too."""
    overlap, union = box_iou(one, other)
    around = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(1).clamp(min=1e-6)
    return overlap - (around - union) / around


def score_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Quality focal loss (Li et al., "Generalized focal loss", NeurIPS 2020, equation 4), elementwise, in nats."""
    plain = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return plain * (target - torch.sigmoid(logits)).abs() ** _FOCUS


def landmark_loss(found: Tensor, known: Tensor, boxes: Tensor) -> Tensor:
    """Mean smooth distance of landmarks (P, 5, 2) from known ones, in sides of the face, without NaN ones."""
    sure = torch.isfinite(known).all(dim=2).all(dim=1)
    if not sure.any():
        return found.sum() * 0
    side = (boxes[sure, 2:] - boxes[sure, :2]).prod(1).sqrt()[:, None, None]
    return nn.functional.smooth_l1_loss(found[sure] / side, known[sure] / side, beta=_BEND)


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
