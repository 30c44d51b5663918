"""The training module of a face detector: targets of the cells, losses, and the validation metrics.

A face is assigned to cells by its size and place alone: to the strides whose range holds its side (the root of its
box's area), and there to the cells near its middle ("centre sampling", Tian et al., "FCOS", ICCV 2019, in the later
version's section 3.2). If several faces claim a cell, the smallest gets it. Cells near the middle of a face that is a
little too large or too small for their stride are left out of the loss, as are cells in boxes to ignore.
"""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.assets.signature import STRIDES
from mien.errors import ConfigError
from mien.faces.detectors.mien import grid
from mien.models.detection.face_detector import FaceDetector
from mien.training.detection.data import Batch
from mien.training.detection.recipe import DetectorRecipe
from mien.training.tasks import Sums, TrainingModule

FREE: Final = -1
IGNORED: Final = -2
# Sides of the faces, in pixels, that are assigned to each stride; neighbouring ranges overlap.
RANGES: Final = {8: (0.0, 52.0), 16: (38.0, 128.0), 32: (94.0, np.inf)}
SLACK: Final = 1.35  # how far beyond the range of a stride its cells are ignored
RADIUS: Final = 1.5  # around the middle of a face, in cells
SHARE: Final = 0.3  # at most this share of the face's side, but always the nearest cell
# Where an error of the landmarks turns from squared to linear, in sides of the face.
_BEND: Final = 0.02
_FOCUS: Final = 2.0


def assign(
    boxes: NDArray[np.float32],
    ignore: NDArray[np.float32],
    centres: NDArray[np.float32],
    strides: NDArray[np.float32],
) -> NDArray[np.int64]:
    """For each cell the index of its face, `FREE` or `IGNORED`.

    Args:
        boxes: (N, 4) xyxy of faces.
        ignore: (M, 4) boxes that may hold a face.
        centres: (cells, 2) from `grid`.
        strides: (cells,) from `grid`.

    Returns:
        (cells,) int64.
    """
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
        near = away <= np.maximum(0.5 * strides, np.minimum(RADIUS * strides, SHARE * side))
        mine = near & (low[level] <= side) & (side < high[level])
        spared = near & ~mine & (low[level] / SLACK <= side) & (side < high[level] * SLACK)
        face[spared & (face == FREE)] = IGNORED
        face[mine] = index
    return face


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
