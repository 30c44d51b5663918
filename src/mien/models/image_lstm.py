"""The network for sequences of images: convolutions on each frame, then an LSTM over the frames.

As in classic programs for video: ten frames, a small convolutional network on each, an LSTM of 64 units, whose last
output the heads read. Here the LSTM also sees how the features of a frame differ from those of the frame before.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import ConvNorm, flat_size, initialise, named_stages, scaled
from mien.models.blocks.network import Network, full_precision

INPUTS: Final = ("images",)
WINDOWS: Final = True


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    widths: Sequence[int] = (16, 32, 64),
    dense: int = 128,
    units: int = 64,
    dropout: float = 0.3,
    width: float = 1.0,
) -> Network:
    """A stage of convolutions with pooling for each of `widths`, a dense layer, an LSTM of `units` (see `Changes`).

    Args:
        heads: Number of classes by head.
        input: Size and channels of the images.
        widths: Channels of the stages.
        dense: Features of a frame.
        units: Of the LSTM.
        dropout: Dropout of the features of a frame, and before the heads.
        width: Factor of all widths.
    """
    channels, stages = input.depth, {}
    for number, each in enumerate(scaled(widths, width), start=1):
        stages[f"stage{number}"] = [ConvNorm(channels, each, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels = each
    frame = named_stages(stages)
    size, units = scaled((dense, units), width)
    frame.add_module("flat", nn.Flatten())
    layers = [nn.Linear(flat_size(frame, input), size), nn.ReLU(), nn.Dropout(dropout)]
    frame.add_module("dense", nn.Sequential(*layers))
    initialise(frame)
    time = nn.Sequential(Changes(size), Recurrent(2 * size, (units,)))
    return Network(FramesThenTime(frame, time), units, heads, dropout=dropout)


class FramesThenTime(nn.Module):
    """A network on every frame of a window by itself, then one over the frames."""

    def __init__(self, frame: nn.Module, time: nn.Module) -> None:
        super().__init__()
        self.frame, self.time = frame, time

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (N, T, ...) of images or keypoints -> (N, F)."""
        count, frames = windows.shape[:2]
        features = self.frame(windows.flatten(0, 1))  # (N T, size)
        found: Tensor = self.time(features.reshape(count, frames, -1))
        return found


class Changes(nn.Module):
    """The features of each frame, and beside them their change from the frame before, each scaled to unit spread.

    Persons differ far more than one frame from the next: an LSTM on the features alone hardly finds the motion.

    Args:
        size: Features of a frame.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2 * size)

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, size) -> (N, T, 2 size)."""
        before = torch.cat([features[:, :1], features[:, :-1]], dim=1)
        joined = torch.cat([features, features - before], dim=2)
        scaled_features: Tensor = self.norm(joined.flatten(0, 1)).reshape(joined.shape)
        return scaled_features


class Recurrent(nn.Module):
    """LSTMs one after the other, each reading all outputs of the one before; gives the last output of the last.

    Args:
        size: Features of a frame.
        units: Units of each LSTM.
    """

    def __init__(self, size: int, units: Sequence[int]) -> None:
        super().__init__()
        sizes = [size, *units]
        self.layers = nn.ModuleList(nn.LSTM(before, after, batch_first=True) for before, after in pairwise(sizes))

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, size) -> (N, units[-1])."""
        with full_precision(features):  # short sums over long times need full precision
            outputs = features.float()
            for layer in self.layers:
                outputs, _ = layer(outputs)
        return outputs[:, -1]
