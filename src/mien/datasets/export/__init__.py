"""Exports of stores to other formats, one file each; the folder is the list.

The module of a format has one function `export(samples, out, progress)`, which writes the new folder `out` completely
or not at all, and returns the number of rows left out by reason; `progress` is called with the number of rows done and
the number of all. `mien data export <name>` is made from it.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from mien.datasets.samples import Samples
from mien.errors import ConfigError, OutputError
from mien.files import staging_folder
from mien.progress import Progress, unseen

__all__ = ["Exporter", "exporter", "names", "new_folder"]


class Exporter(Protocol):
    """The `export` function of a format."""

    def __call__(self, samples: Samples, out: Path, progress: Progress = unseen) -> Mapping[str, int]:
        """Writes the new folder, and returns the number of rows left out by reason."""


def names() -> list[str]:
    """The formats that can be written: the modules of this folder."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def exporter(name: str) -> Exporter:
    """The `export` function of a format.

    Raises:
        ConfigError: No format has that name.
    """
    if name not in names():
        raise ConfigError(f"unknown export format '{name}'", hint=f"choose one of {', '.join(names())}")
    export: Exporter = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").export
    return export


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder, which is renamed to `out` if the block ends without an error.

    Raises:
        OutputError: `out` exists and is not an empty folder, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"cannot write '{out}': it already exists", hint="give a new folder")
    with staging_folder(out) as staging:
        folder = staging / out.name
        folder.mkdir()
        yield folder
        folder.replace(out)
