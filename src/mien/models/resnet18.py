"""ResNet-18 for small faces: a 3x3 stem at full size instead of the 7x7 stem with pooling.

He et al., "Deep residual learning for image recognition", CVPR 2016, table 1 (18 layers) and section 4.2 for small
images. 11,171,271 parameters for grey images and seven classes.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import DropPath, drop_rates, initialise, named_stages, scaled, shortcut
from mien.models.blocks.network import Network


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (2, 2, 2, 2),
    dropout: float = 0.0,
    width: float = 1.0,
    drop_path: float = 0.0,
) -> Network:
    """Stages of `depths` residual blocks and `widths` channels; all but the first halve the size.

    `width` multiplies all widths; `dropout` is applied to the averaged features; `drop_path` is the rate of stochastic
    depth at the last block.
    """
    sizes = scaled(widths, width)
    channels = sizes[0]
    stages: dict[str, list[nn.Module]] = {
        "stem": [nn.Conv2d(input.depth, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    }
    rates = iter(drop_rates(drop_path, sum(depths)))
    for number, (stage_width, depth) in enumerate(zip(sizes, depths, strict=True), start=1):
        blocks: list[nn.Module] = []
        for index in range(depth):
            stride = 2 if index == 0 and number > 1 else 1
            blocks.append(Residual(channels, stage_width, stride=stride, drop=next(rates)))
            channels = stage_width
        stages[f"stage{number}"] = blocks
    trunk = named_stages(stages)
    initialise(trunk)
    return Network(trunk, channels, heads, dropout=dropout)


class Residual(nn.Module):
    """Two 3x3 convolutions plus the identity, or plus a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, *, stride: int, drop: float = 0.0) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.drop = DropPath(drop)
        same = channels == width and stride == 1
        self.short = nn.Identity() if same else shortcut(channels, width, stride=stride)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H / stride, W / stride), rounded up."""
        return nn.functional.relu(self.drop(self.long(maps)) + self.short(maps))
