"""Stores into the forms of others, one file each.

A form's module has one function `export(samples, out)`, which writes the folder or file `out`, whole or not at all,
and returns what it left out: a number by reason. `mien data export <name>` is made from it.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path

from mien.datasets.samples import Samples
from mien.errors import ConfigError

__all__ = ["Exporter", "exporter", "names"]

Exporter = Callable[[Samples, Path], Mapping[str, int]]


def names() -> list[str]:
    """The forms that can be written, from the modules of this folder."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def exporter(name: str) -> Exporter:
    """The `export` function of the form `name`.

    Raises:
        ConfigError: There is no such form.
    """
    if name not in names():
        raise ConfigError(f"there is no form '{name}' to export to", hint=f"known: {', '.join(names())}")
    export: Exporter = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").export
    return export
