"""Architectures of networks for expressions, one file each; those of face detectors are in `detection`.

The module of an architecture has one function `build(heads, input, **options) -> Network`: `heads` maps the name of
each head to its number of classes, `input` is the `InputSpec`, and the options are keyword arguments with defaults.
An architecture with pretrained weights also has `load_pretrained(network, state, input)` and `WEIGHTS`, the names of
their tables in `assets/packages.toml` or `assets/remote.toml`, and `WITHOUT_STATISTICS = True` if they lack the
statistics of batch norms.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError, MissingExtraError, WeightsError

try:
    import torch as _torch
except ImportError as error:
    raise MissingExtraError("training and its networks", "train") from error

from mien.models import pretrained
from mien.models.blocks.network import Network
from mien.models.pretrained import Origin

__all__ = [
    "Network",
    "Origin",
    "build",
    "lacks_statistics",
    "load_pretrained",
    "names",
    "option_names",
    "takes_pretrained",
]

del _torch


def names() -> list[str]:
    """The architectures that can be built: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def option_names(name: str) -> list[str]:
    """The options of the architecture `name`; a ConfigError if there is none."""
    return sorted(set(inspect.signature(_module(name).build).parameters) - {"heads", "input"})


def build(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Network:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: No architecture has that name, or an option or its value is invalid.
    """
    if unknown := sorted(set(options) - set(known := option_names(name))):
        raise ConfigError(
            f"the network '{name}' has no option {', '.join(unknown)}", hint=f"its options: {', '.join(known)}"
        )
    try:
        network: Network = _module(name).build(heads, input, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the network '{name}' cannot be built: {reason}", hint="check the values in [model.options]"
        ) from error
    return network


def load_pretrained(name: str, network: Network, source: str, *, input: InputSpec, sha256: str = "") -> Origin:
    """Loads pretrained weights into a network.

    Args:
        name: Name of the architecture.
        network: The network from `build`; changed in place.
        source: Name of the weights or path of their file; see `pretrained.read`.
        input: The images of the network; for grey ones, the first convolution sums over the colours.
        sha256: Hash that the file must have; empty: any, unless the weights are named.

    Returns:
        Where the weights come from.

    Raises:
        ConfigError: The architecture has no pretrained weights, or not these.
        WeightsError: The weights are missing, are another file, or do not fit the network.
    """
    module = _module(name)
    known: tuple[str, ...] = getattr(module, "WEIGHTS", ())
    is_file = Path(source).suffix in pretrained.SUFFIXES
    if not known or not (source in known or is_file):
        hint = f"set model.weights to a file or to {' or '.join(known)}" if known else "remove model.weights"
        raise ConfigError(f"the network '{name}' has no pretrained weights '{source}'", hint=hint)
    found = pretrained.read(source, sha256)
    try:
        module.load_pretrained(network, found.state, input)
    except ValueError as error:
        raise WeightsError(
            f"{source}: does not fit the network '{name}': {error}", hint="check its options: `mien models show`"
        ) from error
    return found.origin


def takes_pretrained(name: str) -> tuple[str, ...]:
    """Names of the pretrained weights of an architecture, or none if it does not take any."""
    weights: tuple[str, ...] = getattr(_module(name), "WEIGHTS", ()) if name in names() else ()
    return weights


def lacks_statistics(name: str) -> bool:
    """Whether the pretrained weights of an architecture come without the statistics of its batch norms."""
    return getattr(_module(name), "WITHOUT_STATISTICS", False)


def _module(name: str) -> ModuleType:
    if name not in names():
        raise ConfigError(f"unknown network '{name}'", hint=f"choose one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")
