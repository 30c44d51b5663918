"""Small forms of the networks, for tests of seconds: the same layers, narrower."""

from typing import Any, Final

SMALL: Final[dict[str, dict[str, Any]]] = {
    "emonet": {"width": 0.125},
    "emonet_deep": {"width": 0.03125},
    "fourlayer": {"width": 0.125},
    "inception_v1": {"width": 0.125},
    "mini_xception": {"width": 0.5},
    "plain": {"stem": 4, "widths": [6, 8], "depths": [2, 2]},
    "resnet18": {"width": 0.125},
    "tflearn": {"width": 0.0625},
    "vgg13": {"width": 0.125},
    "vgg16": {"width": 0.125},
    "vgg16_imagenet": {"width": 0.125},
}
