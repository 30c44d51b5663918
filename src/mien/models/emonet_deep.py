"""The deeper form of emonet: 13 convolutions and two dense layers of 2048."""

from collections.abc import Mapping, Sequence

from mien.assets.manifest import InputSpec
from mien.models import emonet
from mien.models.blocks.network import Network


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    dropouts: Sequence[float] = (0.3, 0.3, 0.25, 0.25, 0.5),
    slope: float = 0.3,
    width: float = 1.0,
) -> Network:
    """Two convolutions of 64 channels, three of 128, four of 256, four of 512; see `emonet` for the options."""
    widths, depths, hidden = (64, 128, 256, 512), (2, 3, 4, 4), (2048, 2048)
    return emonet.build(
        heads, input, widths=widths, depths=depths, hidden=hidden, dropouts=dropouts, slope=slope, width=width
    )
