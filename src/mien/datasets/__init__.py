"""Data sets, one file each, and the store that they all write.

A data set's module has one function `build(...)` whose keyword arguments become the options of
`mien data build <name>`: each is annotated with its type and its help, `Annotated[Path, "help"]`.
It returns `Samples`, ready for the store.
"""

import importlib
import pkgutil
from collections.abc import Callable

from mien.datasets.samples import Samples
from mien.errors import ConfigError

__all__ = ["Samples", "builder", "names"]

# Modules of this folder that are not data sets.
_SUPPORT = {"ferplus", "samples", "store"}


def names() -> list[str]:
    """The data sets that can be built, from the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SUPPORT)


def builder(name: str) -> Callable[..., Samples]:
    """The `build` function of the data set `name`.

    Raises:
        ConfigError: There is no such data set.
    """
    if name not in names():
        raise ConfigError(f"there is no data set '{name}'", hint=f"known: {', '.join(names())}")
    build: Callable[..., Samples] = importlib.import_module(f"{__name__}.{name}").build
    return build
