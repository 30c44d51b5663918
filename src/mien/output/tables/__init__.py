"""Finds the table format for a file name among the modules of this folder."""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from mien.errors import ConfigError
from mien.output.base import Output, TableFormat
from mien.output.styles import MIEN, style_named

__all__ = ["open_table", "table_formats"]


def table_formats() -> dict[str, TableFormat]:
    """The formats by suffix: the joined `TABLES` of all modules in this folder."""
    formats: dict[str, TableFormat] = {}
    for module in pkgutil.iter_modules(__path__):
        formats |= getattr(importlib.import_module(f"{__name__}.{module.name}"), "TABLES", {})
    return dict(sorted(formats.items()))


def open_table(path: str | Path, emotions: Sequence[str], *, kind: str | None = None, style: str = MIEN.name) -> Output:
    """The table that the suffix of `path` asks for, to be used in a `with` statement.

    Args:
        path: Where to write; "-" is standard output.
        emotions: The columns of probabilities; the results must have the same, in this order.
        kind: The format, by its suffix without the dot; None for what the path's suffix says, and CSV on standard
            output.
        style: Whose names the columns have: mien's, or those of another program.

    Raises:
        ConfigError: There is no such format or style.
        MissingExtraError: The format needs packages that are not installed.
    """
    formats = table_formats()
    names = style_named(style)
    if kind is not None:
        if f".{kind}" not in formats:
            known = ", ".join(suffix[1:] for suffix in formats)
            raise ConfigError(f"there is no table format '{kind}'", hint=f"choose one of {known}")
        return formats[f".{kind}"](path, emotions, names)
    suffix = ".csv" if str(path) == "-" else Path(path).suffix.lower()
    if suffix not in formats:
        found = f"'{suffix}'" if suffix else "none"
        raise ConfigError(f"no table format for '{path}': expected the suffix {' or '.join(formats)}, found {found}")
    return formats[suffix](path, emotions, names)
