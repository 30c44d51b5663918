"""Losses and targets of the kinds of labels, all on distributions (N, C); rows of zeros are not counted.

The four modes of FER+ are those of Barsoum et al., "Training deep networks for facial expression recognition with
crowd-sourced label distribution", ICMI 2016, section 4.2.
"""

from typing import Final

import torch
from torch import Tensor, nn

from mien.datasets.ferplus import Mode

__all__ = ["MODES", "cross_entropy", "drawn", "multi_label", "smooth"]

# FER+'s modes by their names in recipes, and the label processing of each.
MODES: Final[dict[str, Mode]] = {
    "majority": "majority",
    "pld": "probability",
    "cel": "crossentropy",
    "multi": "multi_target",
}
EPSILON: Final = 0.001  # target of the classes that nobody chose, for multi-label targets


def smooth(target: Tensor, amount: float) -> Tensor:
    """Spreads `amount` of each row's mass evenly over all classes; rows of zeros stay."""
    if amount == 0:
        return target
    return target * (1 - amount) + amount * target.sum(dim=1, keepdim=True) / target.shape[1]


def drawn(target: Tensor) -> Tensor:
    """One class of each row, drawn by its distribution, with the row's whole mass; draws from torch's generator."""
    reach = target.cumsum(dim=1)  # (N, C)
    mass = reach[:, -1:]
    pointer = torch.rand(len(target), 1).to(target) * mass
    chosen = (reach <= pointer).sum(dim=1, keepdim=True).clamp(max=target.shape[1] - 1)
    return torch.zeros_like(target).scatter_(1, chosen, mass)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the target's mass of the cross-entropy, in nats."""
    each = -(target * nn.functional.log_softmax(logits.float(), dim=1)).sum(dim=1)  # (N,)
    return each.sum() / target.sum().clamp(min=1e-6)


def multi_label(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the rows of -log max(t p): any class with a share in the target is right, the likeliest counts.

    t is 1 for those classes and `EPSILON` for the others.
    """
    labels = (1 - EPSILON) * (target > 0) + EPSILON
    each = -(labels.log() + nn.functional.log_softmax(logits.float(), dim=1)).amax(dim=1)  # (N,)
    known = target.sum(dim=1) > 0
    return (each * known).sum() / known.sum().clamp(min=1)
