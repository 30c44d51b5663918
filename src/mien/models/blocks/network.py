"""What every network shares: a trunk that ends in features, and one linear head for each way of labelling."""

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Fusible", "Network", "fuse"]

_Net = TypeVar("_Net", bound=nn.Module)


class Fusible(nn.Module):
    """A block whose training form can be replaced by an equal, cheaper one."""

    def fused(self) -> nn.Module:
        """The inference form: the same function in evaluation mode."""
        raise NotImplementedError


class Network(nn.Module):
    """A trunk from images (N, C, H, W) to features, and one linear head for each way of labelling.

    Args:
        trunk: Gives maps (N, features, h, w), which are averaged, or vectors (N, features).
        features: Number of features.
        heads: Number of classes by head.
        dropout: Dropout of the features during training.
    """

    def __init__(self, trunk: nn.Module, features: int, heads: Mapping[str, int], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(features, classes) for name, classes in heads.items()})

    def features(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) -> features of the trunk (N, F), before dropout and heads."""
        maps: Tensor = self.trunk(images)  # (N, F, h, w) or (N, F)
        return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Features (N, F) -> logits (N, classes) by head."""
        features = self.dropout(features)
        return {name: head(features) for name, head in self.heads.items()}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (N, C, H, W) -> logits (N, classes) by head."""
        return self.classify(self.features(images))

    def fused(self) -> "Network":
        """A copy in evaluation mode with every `Fusible` block in its inference form."""
        return fuse(self)


def fuse(network: _Net) -> _Net:
    """A copy of a network in evaluation mode with every `Fusible` block in its inference form."""
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        _fuse(network)
    return network


def _fuse(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Fusible):
            setattr(module, name, child.fused())
        else:
            _fuse(child)
