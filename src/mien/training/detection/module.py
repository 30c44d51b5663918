"""The training module of a face detector: losses of scores, boxes and landmarks, and the validation metrics."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.faces.detectors.mien import grid
from mien.models import Origin, detection
from mien.models.detection import DetectionNetwork
from mien.training.detection.data import Batch
from mien.training.detection.recipe import DetectorRecipe
from mien.training.tasks import Sums, TrainingModule

# Where an error of the landmarks turns from squared to linear, in sides of the face.
_BEND: Final = 0.02
_FOCUS: Final = 2.0
# Dynamic assignment: a face takes at most this many cells; from this IoU, others are left out of the loss.
_MOST: Final = 10
_GOOD: Final = 0.5
# Distillation: from this score, the teacher's box and landmarks count; where their errors turn linear, in strides.
_SURE: Final = 0.3
_NEAR: Final = 0.1


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


def chosen(batch: Batch, overlap: Tensor, probability: Tensor) -> Tensor:
    """Dynamic assignment: which pairs (P,) of a face and a candidate cell are used, as a mask.

    Each face takes the cells that predict it best, as many as its ten best IoUs sum to, at least one (Ge et al.,
    "YOLOX", 2021, section 2.1, "SimOTA"); best by probability times the cube of the IoU (in the manner of Feng et al.,
    "TOOD", ICCV 2021, equation 1). A cell that several faces take goes to the one that it predicts best.

    Args:
        batch: The candidates.
        overlap: (P,) IoU of the predicted box with the face.
        probability: (P,) predicted by the cell.
    """
    metric = ((probability + 1e-6) * (overlap + 1e-3) ** 3).cpu().numpy()
    faces, overlaps = batch.faces.cpu().numpy(), overlap.cpu().numpy()
    place = batch.rows.cpu().numpy() * batch.counted.shape[1] + batch.cells.cpu().numpy()
    best_ten = _rank(faces, overlaps) < _MOST
    count = np.bincount(faces, weights=np.where(best_ten, overlaps, 0))
    taken = _rank(faces, metric) < np.maximum(1, count.astype(int))[faces]
    # Among the pairs that are taken, the first of each cell.
    taken &= _rank(place, np.where(taken, metric, -1.0)) == 0
    return torch.from_numpy(taken).to(overlap.device)


def _rank(groups: NDArray[np.int64], values: NDArray[np.floating]) -> NDArray[np.int64]:
    """The rank (P,) of each value in its group: 0 for the largest."""
    order = np.lexsort((-values, groups))
    ordered = groups[order]
    start = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[start, len(ordered)])
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(start, sizes)
    return rank


def landmark_loss(found: Tensor, known: Tensor, boxes: Tensor) -> Tensor:
    """Mean smooth distance of landmarks (P, 5, 2) from known ones, in sides of the face, without NaN ones."""
    sure = torch.isfinite(known).all(dim=2).all(dim=1)
    if not sure.any():
        return found.sum() * 0
    side = (boxes[sure, 2:] - boxes[sure, :2]).prod(1).sqrt()[:, None, None]
    return nn.functional.smooth_l1_loss(found[sure] / side, known[sure] / side, beta=_BEND)


class DetectorModule(TrainingModule):
    """Trains scores, boxes and landmarks together."""

    network: DetectionNetwork

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe=recipe)
        self.recipe = DetectorRecipe.model_validate(recipe)
        self.network = detection.build(self.recipe.model.name, **self.recipe.model.options)
        # In a list, so that it is no part of the module: neither trained nor stored.
        self._teacher: list[DetectionNetwork] | None = None

    def load_pretrained(self, images: Tensor) -> Origin:
        """Loads the published weights that the recipe names; see `detection.load_pretrained`.

        Args:
            images: (N, 3, H, W) uint8 RGB, on which the statistics of the norms are measured if the weights lack them.
        """
        model = self.recipe.model
        pixels = images.float() / 255
        return detection.load_pretrained(model.name, self.network, model.weights, pixels, sha256=model.weights_sha256)

    @property
    def _distils(self) -> bool:
        """Whether the published weights are the teacher: not of runs that start from other weights."""
        return self.recipe.loss.distil > 0 and not self.recipe.init_from

    def _published(self) -> DetectionNetwork:
        """The network of the published weights with its own widths, for the loss `distil`."""
        if self._teacher is None:
            model = self.recipe.model
            network = detection.build(model.name)
            images = torch.zeros(1, 3, 64, 64)
            detection.load_pretrained(model.name, network, model.weights, images, sha256=model.weights_sha256)
            self._teacher = [network.fused().to(memory_format=torch.channels_last)]  # type: ignore[call-overload]
        return self._teacher[0]

    def _distance(self, rows: Tensor, images: Tensor) -> Tensor:
        """The distance of outputs (B, cells, 15) to those of the published weights: of scores, boxes and landmarks.

        Only natural scenes are compared: the teacher misses faces in the dark, turned or covered.
        """
        if not len(images):
            return rows.sum() * 0
        with torch.no_grad():
            taught = self._published()((images.float() / 255).contiguous(memory_format=torch.channels_last))
            chance = torch.sigmoid(taught[..., 0])
            weight = torch.where(chance > _SURE, chance, torch.zeros(()))
            count = weight.sum().clamp(min=1)
        score = score_loss(rows[..., 0], chance).sum()
        place = nn.functional.smooth_l1_loss(rows[..., 1:], taught[..., 1:], reduction="none", beta=_NEAR).mean(dim=2)
        return (score + (place * weight).sum()) / count

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
        counted = batch.counted
        if self.recipe.assignment.name == "dynamic" and len(mine):
            used = chosen(batch, overlap, torch.sigmoid(mine[:, 0].detach()))
            # Candidates that are not used, but predict a face well, are no background either.
            good = (overlap >= _GOOD) & ~used
            counted = counted.index_put((batch.rows[good], batch.cells[good]), torch.tensor(False))
            counted = counted.index_put((batch.rows[used], batch.cells[used]), torch.tensor(True))
            boxes, landmarks, overlap = boxes[used], landmarks[used], overlap[used]
            pairs = ("rows", "cells", "faces", "boxes", "landmarks", "scores")
            chosen_pairs = {name: getattr(batch, name)[used] for name in pairs}
            batch = batch._replace(counted=counted, **chosen_pairs)
        target = torch.zeros_like(rows[..., 0])
        target[batch.rows, batch.cells] = self._quality(overlap, batch.scores)
        count = max(1, len(boxes))
        return {
            "score/loss": score_loss(rows[..., 0], target)[counted].sum() / count,
            "box/loss": (1 - generalised_iou(boxes, batch.boxes)).sum() / count,
            "landmarks/loss": landmark_loss(landmarks, batch.landmarks, batch.boxes),
            "overlap": overlap.sum() / count,
        } | ({"distil/loss": self._distance(rows[batch.natural], batch.images[batch.natural])} if self._distils else {})

    def _quality(self, overlap: Tensor, scores: Tensor) -> Tensor:
        """The targets (P,) of the scores of cells with a face.

        They are well above 0, however badly the box still fits: small, blurred faces must not lose their score.
        """
        weights = self.recipe.loss
        own = (1 - weights.quality) + weights.quality * overlap
        mixed = (1 - weights.teacher) * own + weights.teacher * scores
        return torch.where(torch.isfinite(scores), mixed, own)

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        """Their weighted sum."""
        weights = self.recipe.loss
        total = losses["score/loss"] + weights.box * losses["box/loss"] + weights.landmarks * losses["landmarks/loss"]
        return total + weights.distil * losses["distil/loss"] if self._distils else total

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
