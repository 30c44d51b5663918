"""Finds the table format for a file name among the modules of this folder."""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from mien.errors import ConfigError
from mien.output.contract import Output, TableFormat

__all__ = ["open_table", "table_formats"]


def table_formats() -> dict[str, TableFormat]:
    """The formats by suffix: the joined `TABLES` of all modules in this folder."""
    formats: dict[str, TableFormat] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        formats |= getattr(importlib.import_module(f"mien.output.{module.name}"), "TABLES", {})
    return formats


def open_table(path: str | Path, emotions: Sequence[str]) -> Output:
    """The table that the suffix of `path` asks for, to be used in a `with` statement.

    Args:
        path: Where to write; "-" is CSV on standard output.
        emotions: The columns of probabilities; the results must have the same, in this order.

    Raises:
        ConfigError: No format has this suffix.
    """
    formats = table_formats()
    suffix = ".csv" if str(path) == "-" else Path(path).suffix.lower()
    if suffix not in formats:
        found = f"'{suffix}'" if suffix else "none"
        raise ConfigError(f"no table format for '{path}': expected the suffix {' or '.join(formats)}, found {found}")
    return formats[suffix](path, emotions)
