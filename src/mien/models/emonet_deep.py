"""The deeper form of emonet: 13 convolutions and two dense layers of 2048."""

from collections.abc import Mapping

from mien.assets.manifest import InputSpec
from mien.models import emonet
from mien.models.blocks.network import Network

__all__ = ["build"]


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    dense_dropout: float = 0.5,
    slope: float = 0.3,
    width: float = 1.0,
) -> Network:
    """Two convolutions of 64 channels, three of 128, four of 256, four of 512; see `emonet` for the options."""
    return emonet.build(
        heads,
        input,
        widths=(64, 128, 256, 512),
        depths=(2, 3, 4, 4),
        hidden=(2048, 2048),
        dense_dropout=dense_dropout,
        slope=slope,
        width=width,
    )
