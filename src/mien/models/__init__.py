"""Architectures of networks for expressions, one file each; those of face detectors are in `detection`.

The module of an architecture has one function `build(heads, input, **options) -> Network`: `heads` maps the name of
each head to its number of classes, `input` is the `InputSpec`, and the options are keyword arguments with defaults.
An architecture with pretrained weights also has `load_pretrained(network, state)` and `WEIGHTS`, the name of their
table in `remote.toml`.
"""

import importlib
import inspect
import io
import pickle
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mien.assets.download import cached, remote_weights
from mien.assets.manifest import InputSpec
from mien.assets.store import verified
from mien.errors import ConfigError, MissingExtraError, WeightsError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("training and its networks", "train") from error

from mien.models.blocks.network import Network

__all__ = ["Network", "build", "load_pretrained", "names", "option_names"]


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


def load_pretrained(name: str, network: Network, source: str) -> None:
    """Loads pretrained weights into a network.

    Args:
        name: Name of the architecture.
        network: The network from `build`; changed in place.
        source: Name of the weights, as `mien models fetch` takes it, or the path of their file. The file must have the
            hash in `remote.toml`, and is read as plain tensors.

    Raises:
        ConfigError: The architecture has no pretrained weights, or not these.
        WeightsError: The weights are missing, are another file, or do not fit the network.
    """
    module = _module(name)
    known: str | None = getattr(module, "WEIGHTS", None)
    if known is None or (source != known and not Path(source).suffix):
        hint = f"set model.weights to '{known}' or to the path of its file" if known else "remove model.weights"
        raise ConfigError(f"the network '{name}' has no pretrained weights '{source}'", hint=hint)
    (file,) = remote_weights(known).files
    if source == known:
        data = cached(known)[file.name]
    else:
        data = verified(Path(source), file.sha256, hint=f"get the right file with `mien models fetch {known}`")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(
            f"{file.name}: is damaged, or contains more than weights (mien loads plain tensors only)"
        ) from error
    try:
        module.load_pretrained(network, state)
    except ValueError as error:
        raise WeightsError(
            f"{file.name}: does not fit the network '{name}': {error}", hint="see its options"
        ) from error


def _module(name: str) -> ModuleType:
    if name not in names():
        raise ConfigError(f"unknown network '{name}'", hint=f"choose one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")
