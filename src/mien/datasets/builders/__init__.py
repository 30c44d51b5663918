"""Builders of data sets, one file each; the folder is the list.

The module of a data set has

- `build(...)`, which returns `Samples` for the store. Its arguments become those of `mien data build <name>`: each is
  annotated with its help, `Annotated[Path, "Help text."]`, or is an option dataclass whose fields are. Keyword-only
  arguments become options. An argument `progress: Progress = unseen` is called with what is done, for the bar of the
  command.
- `YIELDS`, the optional columns of `Samples` that it can fill (votes, subjects, keypoints) besides images and labels.

One conformance suite runs over all of them (tests/datasets/builders/test_conformance.py).
"""

import importlib
import pkgutil
from collections.abc import Callable

from mien.datasets.samples import Samples
from mien.errors import ConfigError

__all__ = ["builder", "names"]


def names() -> list[str]:
    """The data sets that can be built: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def builder(name: str) -> Callable[..., Samples]:
    """The `build` function of a data set.

    Raises:
        ConfigError: No data set has that name.
    """
    if name not in names():
        raise ConfigError(f"unknown data set '{name}'", hint=f"choose one of {', '.join(names())}")
    build: Callable[..., Samples] = importlib.import_module(f"{__name__}.{name}").build
    return build
