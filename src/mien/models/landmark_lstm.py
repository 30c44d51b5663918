"""The network for sequences of keypoints: the shape of the face in each frame, then LSTMs of 32 and 64 units.

As in classic programs for video, which read ten frames of 68 points; here the points become shape features first
(`blocks.shape`), so that a head that moves, turns or comes closer is no motion of the face.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import scaled
from mien.models.blocks.network import Network
from mien.models.blocks.shape import COUNT, VALUES, ShapeNorm
from mien.models.image_lstm import FramesThenTime, Recurrent

INPUTS: Final = ("keypoints",)
WINDOWS: Final = True


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    dense: int = 64,
    units: Sequence[int] = (32, 64),
    dropout: float = 0.3,
    width: float = 1.0,
) -> Network:
    """A dense layer on the shape features of each frame, then an LSTM for each of `units`.

    Args:
        heads: Number of classes by head.
        input: Of images, which this network does not take.
        dense: Features of a frame.
        units: Units of the LSTMs.
        dropout: Dropout of the features of a frame, and before the heads.
        width: Factor of all widths.
    """
    del input
    (size,), units = scaled((dense,), width), scaled(units, width)
    trunk = FramesThenTime(ShapeDense(size, dropout), Recurrent(size, units))
    return Network(trunk, units[-1], heads, dropout=dropout)


class ShapeDense(nn.Module):
    """One dense layer on the shape features of a face.

    Args:
        size: Number of features.
        dropout: Dropout of them.
    """

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.shape = ShapeNorm()
        self.dense = nn.Sequential(nn.Linear(COUNT * VALUES, size), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, points: Tensor) -> Tensor:
        """Keypoints (N, K, 2) -> (N, size)."""
        features: Tensor = self.dense(self.shape(points).flatten(1))
        return features
