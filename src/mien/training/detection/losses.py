"""What a detector learns from: scores that tell how well a box fits, boxes, landmarks."""

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["box_iou", "decoded", "generalised_iou", "landmark_loss", "score_loss"]

# Where an error of the landmarks turns from squared to linear, in sides of the face.
_BEND: Final = 0.02
_FOCUS: Final = 2.0


def decoded(rows: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """What cells say, in pixels.

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
    """GIoU (P,), -1..1 (Rezatofighi et al., CVPR 2019): far boxes feel a pull too."""
    overlap, union = box_iou(one, other)
    around = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(1).clamp(min=1e-6)
    return overlap - (around - union) / around


def score_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Quality focal loss (Li et al., "Generalized focal loss", NeurIPS 2020, equation 4), elementwise, in nats."""
    plain = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return plain * (target - torch.sigmoid(logits)).abs() ** _FOCUS


def landmark_loss(found: Tensor, known: Tensor, boxes: Tensor) -> Tensor:
    """Mean smooth distance of landmarks (P, 5, 2) from known ones, in sides of the face; nan ones do not count."""
    sure = torch.isfinite(known).all(dim=2).all(dim=1)
    if not sure.any():
        return found.sum() * 0
    side = (boxes[sure, 2:] - boxes[sure, :2]).prod(1).sqrt()[:, None, None]
    return nn.functional.smooth_l1_loss(found[sure] / side, known[sure] / side, beta=_BEND)
