"""Architectures of networks for expressions, one file each; those of face detectors are in `detection`.

The module of an architecture has one function `build(heads, input, **options) -> Network`: `heads` maps the name of
each head to its number of classes, `input` is the `InputSpec`, and the options are keyword arguments with defaults.
An architecture with pretrained weights also has `load_pretrained(network, state, input)` and `WEIGHTS`, the names of
their tables in `assets/packages.toml` or `assets/remote.toml`, and `WITHOUT_STATISTICS = True` if they lack the
statistics of batch norms.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mien.assets.manifest import InputSpec
from mien.errors import ConfigError, MissingExtraError

try:
    import torch as _torch
except ImportError as error:
    raise MissingExtraError("training and its networks", "train") from error

from mien.models import pretrained
from mien.models.blocks.architectures import Architectures
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


_ARCHITECTURES: Final = Architectures(__name__, __path__, "network", frozenset({"heads", "input"}))
names, option_names = _ARCHITECTURES.names, _ARCHITECTURES.option_names
lacks_statistics = _ARCHITECTURES.lacks_statistics
_module = _ARCHITECTURES.module


def build(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Network:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: No architecture has that name, or an option or its value is invalid.
    """
    network: Network = _ARCHITECTURES.build(name, heads, input, **options)
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
    return _ARCHITECTURES.load_pretrained(name, network, source, sha256, images=input)


def takes_pretrained(name: str) -> tuple[str, ...]:
    """Names of the pretrained weights of an architecture, or none if it does not take any."""
    weights: tuple[str, ...] = getattr(_module(name), "WEIGHTS", ()) if name in names() else ()
    return weights
