"""Networks, one file each.

A network's module has one function `build(heads, input, **options) -> Network`: `heads` maps each head's name to its
number of classes, `input` is the `InputSpec`, and the options are keyword arguments with defaults.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError, MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("training and its networks", "train") from error

from mien.models.network import Network

__all__ = ["Network", "build", "names"]

# Modules of this folder that are not networks for expressions.
_SUPPORT = {"detector", "network"}


def names() -> list[str]:
    """The networks that can be built, from the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SUPPORT)


def build(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Network:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: There is no such network, or it has no such option or no such value of one.
    """
    if name not in names():
        raise ConfigError(f"there is no network '{name}'", hint=f"known: {', '.join(names())}")
    function = importlib.import_module(f"{__name__}.{name}").build
    known = set(inspect.signature(function).parameters) - {"heads", "input"}
    if unknown := sorted(set(options) - known):
        raise ConfigError(
            f"the network '{name}' has no option {', '.join(unknown)}",
            hint=f"known: {', '.join(sorted(known))}",
        )
    try:
        network: Network = function(heads, input, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"the network '{name}' cannot be built: {reason}", hint="see its options' values") from error
    return network
