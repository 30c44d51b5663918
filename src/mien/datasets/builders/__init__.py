"""Data sets, one file each, and the store that they all write.

A data set's module has one function `build(...)` whose keyword-only arguments become the options of
`mien data build <name>`: each is annotated with its type and its help, `Annotated[Path, "help"]`; an argument before
the star is given by its place. It returns `Samples`, ready for the store. The folders beside the modules are no data
sets: `export` writes stores in the forms of others, `show` tells what a store holds.
"""

import importlib
import pkgutil
from collections.abc import Callable

from mien.datasets.samples import Samples
from mien.errors import ConfigError

__all__ = ["builder", "names"]


def names() -> list[str]:
    """The data sets that can be built, from the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def builder(name: str) -> Callable[..., Samples]:
    """The `build` function of the data set `name`.

    Raises:
        ConfigError: There is no such data set.
    """
    if name not in names():
        raise ConfigError(f"there is no data set '{name}'", hint=f"known: {', '.join(names())}")
    build: Callable[..., Samples] = importlib.import_module(f"{__name__}.{name}").build
    return build
