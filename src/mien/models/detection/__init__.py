"""Architectures of face detectors, one file each.

The module of an architecture has one function `build(**options) -> DetectionNetwork`, whose options are keyword
arguments with defaults. One with pretrained weights also has `load_pretrained(network, state, images)`, and
`WITHOUT_STATISTICS` as in `mien.models`.
"""

import importlib
import inspect
import pkgutil
from itertools import accumulate
from types import ModuleType
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from mien.errors import ConfigError, WeightsError
from mien.models import pretrained
from mien.models.blocks.network import fuse, set_statistics

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


def names() -> list[str]:
    """The architectures that can be built: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build(name: str, **options: Any) -> DetectionNetwork:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: No architecture has that name, or an option or its value is invalid.
    """
    known = sorted(inspect.signature(_module(name).build).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(
            f"the detector '{name}' has no option {', '.join(unknown)}", hint=f"its options: {', '.join(known)}"
        )
    try:
        network: DetectionNetwork = _module(name).build(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the detector cannot be built: {reason}", hint="see the options of the network in [model.options]"
        ) from error
    return network


def takes_pretrained(name: str) -> bool:
    """Whether an architecture has pretrained weights, which are given as a file."""
    return name in names() and hasattr(_module(name), "load_pretrained")


def lacks_statistics(name: str) -> bool:
    """Whether the pretrained weights of an architecture come without the statistics of its batch norms."""
    return getattr(_module(name), "WITHOUT_STATISTICS", False)


def load_pretrained(
    name: str, network: DetectionNetwork, source: str, images: Tensor, *, sha256: str = ""
) -> pretrained.Origin:
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
    found = pretrained.read(source, sha256)
    try:
        _module(name).load_pretrained(network, found.state, images)
    except ValueError as error:
        raise WeightsError(
            f"{source}: does not fit the detector '{name}': {error}", hint="check [model.options] and the file"
        ) from error
    if lacks_statistics(name):
        set_statistics(network, images)
    return found.origin


def _module(name: str) -> ModuleType:
    if name not in names():
        raise ConfigError(f"unknown detector '{name}'", hint=f"choose one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")
