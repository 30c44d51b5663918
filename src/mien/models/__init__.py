"""Networks, one file each.

A network's module has one function `build(heads, input, **options) -> Network`: `heads` maps each head's name to its
number of classes, `input` is the `InputSpec`, and the options are keyword arguments with defaults. One that can begin
with published weights has `load_pretrained(network, state)` and names their table of `fetchable.toml` as `WEIGHTS`.
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

from mien.assets.manifest import InputSpec
from mien.assets.remote import cached, fetchable
from mien.assets.store import verified
from mien.errors import ConfigError, MissingExtraError, WeightsError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("training and its networks", "train") from error

from mien.models.blocks.network import Network

__all__ = ["Network", "build", "load_pretrained", "names", "option_names"]

# Modules that are no networks for expressions; what networks are made from is in the package `blocks`.
_SUPPORT = {"detector"}


def names() -> list[str]:
    """The networks that can be built, from the modules of this folder."""
    modules = (module for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    return sorted(module.name for module in modules if module.name not in _SUPPORT)


def option_names(name: str) -> list[str]:
    """The options of the network `name`.

    Raises:
        ConfigError: There is no such network.
    """
    return sorted(set(inspect.signature(_module(name).build).parameters) - {"heads", "input"})


def build(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Network:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: There is no such network, or it has no such option or no such value of one.
    """
    if unknown := sorted(set(options) - set(known := option_names(name))):
        raise ConfigError(f"the network '{name}' has no option {', '.join(unknown)}", hint=f"known: {', '.join(known)}")
    try:
        network: Network = _module(name).build(heads, input, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"the network '{name}' cannot be built: {reason}", hint="see its options' values") from error
    return network


def load_pretrained(name: str, network: Network, source: str) -> None:
    """Gives a network the published weights it can begin with.

    Args:
        name: Of the network.
        network: What `build` made of it; changed in place.
        source: The weights' name, as `mien models fetch` takes it, or the path of their file. Either way the file must
            have the hash that `fetchable.toml` names, and is read as plain tensors.

    Raises:
        ConfigError: The network has no published weights, or not those.
        WeightsError: They are not here, are another file, or do not fit the network.
    """
    module = _module(name)
    known: str | None = getattr(module, "WEIGHTS", None)
    if known is None or (source != known and not Path(source).suffix):
        hint = f"model.weights: '{known}', or the path of that .pth file" if known else "leave model.weights out"
        raise ConfigError(f"the network '{name}' cannot begin with the weights '{source}'", hint=hint)
    (file,) = fetchable(known).files
    if source == known:
        data = cached(known)[file.name]
    else:
        data = verified(Path(source), file.sha256, hint=f"mien models fetch {known} brings the right file")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{file.name}: is damaged, or holds more than weights, which mien does not load") from error
    try:
        module.load_pretrained(network, state)
    except ValueError as error:
        raise WeightsError(
            f"{file.name}: does not fit the network '{name}': {error}", hint="see its options"
        ) from error


def _module(name: str) -> ModuleType:
    """The module of the network `name`.

    Raises:
        ConfigError: There is none.
    """
    if name not in names():
        raise ConfigError(f"there is no network '{name}'", hint=f"known: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")
