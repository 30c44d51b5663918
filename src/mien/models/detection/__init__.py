"""Architectures of face detectors, one file each.

The module of an architecture has one function `build(**options) -> DetectionNetwork`, whose options are keyword
arguments with defaults. One with pretrained weights also has `load_pretrained(network, state, images)`, and
`WITHOUT_STATISTICS` as in `mien.models`.
"""

from itertools import accumulate
from typing import Any, ClassVar, Final, Self

from torch import Tensor, nn

from mien.errors import ConfigError
from mien.models.blocks.architectures import Architectures
from mien.models.blocks.network import fuse, set_statistics
from mien.models.pretrained import Origin

__all__ = ["DetectionNetwork", "build", "lacks_statistics", "load_pretrained", "names", "takes_pretrained"]


class DetectionNetwork(nn.Module):
    """Images to the predictions of every cell of the strides 8, 16 and 32.

    Attributes:
        features: Number of channels of the deepest map.
        stages: Modules from stride to stride, to 8, 16 and 32.
        gains_from_int8: Whether 8-bit integers make the network faster on common processors.
    """

    gains_from_int8: ClassVar[bool] = True
    features: int
    stages: nn.ModuleList

    def levels(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) RGB, values 0-1, sides multiples of 32 -> maps (N, C, h, w) of strides 8, 16 and 32."""
        return list(accumulate(self.stages, lambda maps, stage: stage(maps), initial=self.start(images)))[1:]

    def start(self, images: Tensor) -> Tensor:
        """Images as `levels` takes them -> maps (N, C, h, w) of stride 4."""
        raise NotImplementedError

    def cells(self, levels: list[Tensor]) -> Tensor:
        """The maps of `levels` -> cells (N, cells, 15), the smallest stride first.

        Each stride has H / stride * W / stride cells, row by row.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Images as `levels` takes them -> cells as `cells` gives them."""
        return self.cells(self.levels(images))

    def fused(self) -> Self:
        """A copy in evaluation mode, every convolution fused with its norms."""
        return fuse(self)


_ARCHITECTURES: Final = Architectures(__name__, __path__, "detector")
names, lacks_statistics = _ARCHITECTURES.names, _ARCHITECTURES.lacks_statistics


def build(name: str, **options: Any) -> DetectionNetwork:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: No architecture has that name, or an option or its value is invalid.
    """
    network: DetectionNetwork = _ARCHITECTURES.build(name, **options)
    return network


def takes_pretrained(name: str) -> bool:
    """Whether an architecture has pretrained weights, which are given as a file."""
    return name in names() and hasattr(_ARCHITECTURES.module(name), "load_pretrained")


def load_pretrained(name: str, network: DetectionNetwork, source: str, images: Tensor, *, sha256: str = "") -> Origin:
    """Loads pretrained weights into a network of `build`.

    Args:
        name: Name of the architecture.
        network: Changed in place.
        source: Name of the weights or path of their file; see `pretrained.read`.
        images: (N, 3, H, W) RGB, values 0-1: on these it is measured how a narrower network comes nearest to the
            weights, and what the norms meet if the weights lack their statistics.
        sha256: Hash that the file must have; empty: any.

    Returns:
        Where the weights come from.

    Raises:
        ConfigError: The architecture has no pretrained weights.
        WeightsError: The weights are missing, are another file, or do not fit the network.
    """
    if not takes_pretrained(name):
        raise ConfigError(f"the detector '{name}' has no pretrained weights '{source}'", hint="remove model.weights")
    origin = _ARCHITECTURES.load_pretrained(name, network, source, sha256, images=images)
    if lacks_statistics(name):
        set_statistics(network, images)
    return origin
