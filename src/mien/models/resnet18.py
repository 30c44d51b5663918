"""ResNet-18 for small faces: a 3x3 stem at full size in place of the 7x7 one and its pooling.

He et al., "Deep residual learning for image recognition", CVPR 2016, table 1 (18 layers) and section 4.2 for small
images. 11,171,271 parameters for grey images and seven classes.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.models.blocks.layers import initialised, scaled, shortcut, stacked
from mien.models.blocks.network import Network

__all__ = ["build"]


def build(
    heads: Mapping[str, int],
    input: InputSpec,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (2, 2, 2, 2),
    dropout: float = 0.0,
    width: float = 1.0,
) -> Network:
    """Stages of `depths` blocks and `widths` channels, each but the first halving the size.

    `width` multiplies all widths; `dropout` is that of the averaged features.
    """
    sizes = scaled(widths, width)
    before = sizes[0]
    stages: dict[str, list[nn.Module]] = {
        "stem": [nn.Conv2d(input.depth, before, 3, padding=1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
    }
    for number, (after, depth) in enumerate(zip(sizes, depths, strict=True), start=1):
        blocks: list[nn.Module] = []
        for index in range(depth):
            blocks.append(Residual(before, after, stride=2 if index == 0 and number > 1 else 1))
            before = after
        stages[f"stage{number}"] = blocks
    trunk = stacked(stages)
    initialised(trunk)
    return Network(trunk, before, heads, dropout=dropout)


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity, or beside a 1x1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.short = nn.Identity() if same else shortcut(before, after, stride=stride)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride), rounded up."""
        return nn.functional.relu(self.long(maps) + self.short(maps))
