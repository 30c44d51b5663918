"""Small forms of the networks, for tests of seconds: the same layers, narrower."""

import importlib
import inspect
from typing import Any, Final

# Those without an option `width`, and those that an eighth of it would leave with a channel or two.
_OWN: Final[dict[str, dict[str, Any]]] = {
    "dlib_resnet": {"width": 0.125, "depths": [1, 2, 1, 1, 1]},
    "mini_xception": {"width": 0.5},
    "plain": {"stem": 4, "widths": [6, 8], "depths": [2, 2]},
}


def small(name: str) -> dict[str, Any]:
    """Options that make the network `name` small, if it has any."""
    options = inspect.signature(importlib.import_module(f"mien.models.{name}").build).parameters
    return _OWN.get(name, {"width": 0.125} if "width" in options else {})
